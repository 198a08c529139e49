"""The georeference of a raster: how its pixels map to its CRS."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.transform import GCPTransformer

from services.raster.crs import Points
from services.raster.model import Bounds

GeoreferenceKind = Literal["affine", "rotated", "gcps"]

_EDGE = 65
_INSIDE = 17
# Degrees without a point of the lattice: what is wider was left out, not skipped over.
_GAP = 30.0
# Thin plate splines cost the cube of the number of points.
_SPLINE_LIMIT = 400


@dataclass(frozen=True)
class Georeference:
    """How pixels map to the CRS."""

    crs: CRS
    width: int
    height: int
    transform: Affine
    gcps: tuple[GroundControlPoint, ...] = field(default=())

    @property
    def kind(self) -> GeoreferenceKind:
        if self.gcps:
            return "gcps"
        skew = max(abs(self.transform.b), abs(self.transform.d))
        size = max(abs(self.transform.a), abs(self.transform.e))
        return "rotated" if skew > 1e-9 * size else "affine"

    @property
    def is_north_up(self) -> bool:
        straight = self.kind == "affine"
        return straight and self.transform.a > 0 and self.transform.e < 0

    @property
    def splines(self) -> bool:
        """Whether a polynomial misses the control points by more than half a pixel."""
        if not self.gcps or len(self.gcps) > _SPLINE_LIMIT:
            return False
        with GCPTransformer(list(self.gcps)) as polynomial:
            rows, columns = polynomial.rowcol(
                [p.x for p in self.gcps], [p.y for p in self.gcps], op=float
            )
        shift = np.hypot(
            np.array(columns) - [p.col for p in self.gcps],
            np.array(rows) - [p.row for p in self.gcps],
        )
        return bool(np.max(shift) > 0.5)

    def xy(self, columns: Points, rows: Points) -> tuple[Points, Points]:
        """Coordinates of pixel corners."""
        if not self.gcps:
            t = self.transform
            return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
        with GCPTransformer(list(self.gcps), tps=self.splines) as curve:
            xs, ys = curve.xy(rows, columns, offset="ul")
        return np.asarray(xs), np.asarray(ys)

    @property
    def padded(self) -> "Georeference":
        """The same place with one more pixel at each side."""
        return replace(
            self,
            width=self.width + 2,
            height=self.height + 2,
            transform=self.transform @ Affine.translation(-1, -1),
            gcps=tuple(
                GroundControlPoint(row=p.row + 1, col=p.col + 1, x=p.x, y=p.y, z=p.z)
                for p in self.gcps
            ),
        )

    @property
    def bounds(self) -> Bounds:
        """In its own CRS, edges ordered."""
        xs, ys = self.xy(*edge_points(self.width, self.height))
        return (float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max()))

    @property
    def corners(self) -> tuple[GroundControlPoint, ...]:
        """The control points, or the corners as control points: GDAL takes a rotation this way."""
        if self.gcps:
            return self.gcps
        corners = [(0, 0), (self.width, 0), (self.width, self.height), (0, self.height)]
        return tuple(
            GroundControlPoint(row=row, col=column, x=x, y=y, z=0.0)
            for column, row in corners
            for x, y in [self.transform @ (column, row)]
        )


def read_georeference(dataset: DatasetReader, crs: CRS) -> Georeference:
    """The place of an open raster. A geotransform takes precedence over control points."""
    gcps = () if has_affine(dataset) else _normalize_points(dataset.gcps[0], crs)
    return Georeference(crs, dataset.width, dataset.height, dataset.transform, gcps)


def _normalize_points(
    points: Sequence[GroundControlPoint], crs: CRS
) -> tuple[GroundControlPoint, ...]:
    """Distinct control points, with longitudes beyond 180 where they cross the antimeridian."""
    each = list({(p.row, p.col): p for p in points}.values())
    longitudes = [p.x for p in each]
    if not crs.is_geographic or max(longitudes) - min(longitudes) <= 180:
        return tuple(each)
    return tuple(
        GroundControlPoint(row=p.row, col=p.col, x=p.x + 360 * (p.x < 0), y=p.y, z=p.z)
        for p in each
    )


def has_affine(dataset: DatasetReader) -> bool:
    return not dataset.transform.is_identity


def edge_points(width: int, height: int, steps: int = _EDGE) -> tuple[Points, Points]:
    """Points along the edge of the image, in pixels."""
    columns, rows = np.linspace(0, width, steps), np.linspace(0, height, steps)
    left, top = np.zeros(steps), np.zeros(steps)
    return (
        np.concatenate([columns, left + width, columns[::-1], left]),
        np.concatenate([top, rows, top + height, rows[::-1]]),
    )


def grid_points(width: int, height: int, steps: int = _INSIDE) -> tuple[Points, Points]:
    """Points on the edge and inside."""
    columns, rows = np.meshgrid(np.linspace(0, width, steps), np.linspace(0, height, steps))
    edge = edge_points(width, height)
    return np.append(edge[0], columns.ravel()), np.append(edge[1], rows.ravel())


def enclose_longitudes(lons: Points) -> tuple[float, float]:
    """West and east: west is greater where the shorter way goes over the antimeridian."""
    west, east = float(lons.min()), float(lons.max())
    usual = west >= -180 and east <= 180
    if usual and east - west <= 180:
        return west, east
    if not usual and east - west >= 359:
        return -180.0, 180.0
    wrapped = np.sort((lons + 180) % 360 - 180)
    gaps = np.diff(wrapped)
    widest = int(gaps.argmax()) if gaps.size else 0
    if usual and (gaps.size == 0 or gaps[widest] < _GAP):
        return west, east
    if gaps.size == 0 or gaps[widest] <= 360 - (wrapped[-1] - wrapped[0]):
        return float(wrapped[0]), float(wrapped[-1])
    return float(wrapped[widest + 1]), float(wrapped[widest])
