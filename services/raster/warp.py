"""The warp: multi-threaded, onto a tiled scratch file, with pixels outside the outline empty."""

from dataclasses import dataclass, replace
from typing import Any

import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.warp import reproject

from services.raster import gdal
from services.raster.antimeridian import describe_turn, turn_source
from services.raster.coverage import check_coverage
from services.raster.grid import Grid
from services.raster.operation import warp_options
from services.raster.profiles import BLOCK
from services.raster.vrt import View


@dataclass(frozen=True)
class Warp:
    """One view onto one grid."""

    view: View
    grid: Grid
    path: str
    name: str
    alpha: bool
    """Whether the file gets one more band, zero outside the footprint."""
    alpha_top: int
    resampling: str
    unified: bool
    """Whether a pixel is empty only when all its bands are."""
    interleave: str
    nodata: float | None
    """Of the pixels without data in the warped file."""

    @property
    def profile(self) -> dict[str, Any]:
        return {
            "driver": "GTiff",
            "dtype": self.view.dtype,
            "count": len(self.view.bands) + (1 if self.alpha else 0),
            "width": self.grid.width,
            "height": self.grid.height,
            "crs": self.grid.crs,
            "transform": self.grid.transform,
            "nodata": self.nodata,
            "tiled": True,
            "blockxsize": BLOCK,
            "blockysize": BLOCK,
            "interleave": self.interleave,
            "sparse_ok": True,
            "bigtiff": "IF_SAFER",
            "photometric": "MINISBLACK",
        }

    @property
    def options(self) -> dict[str, Any]:
        """https://gdal.org/en/stable/api/gdalwarp_cpp.html, papszWarpOptions and transformer."""
        options: dict[str, Any] = {"UNIFIED_SRC_NODATA": "YES" if self.unified else "NO"}
        if self.alpha:
            options |= {"SRC_ALPHA_MAX": self.alpha_top, "DST_ALPHA_MAX": self.alpha_top}
        if self.view.georeference.gcps:
            splines = self.view.georeference.splines
            options["SRC_METHOD"] = "GCP_TPS" if splines else "GCP_POLYNOMIAL"
        return options


def warp(job: Warp) -> None:
    """Warp the view's bands to the file. Raises TaskFailed where pixels are unreadable or lost."""
    place = job.view.georeference
    view = replace(job.view, georeference=turn_source(place))
    before = "" if view.georeference is place else describe_turn(place.crs)
    bands = len(job.view.bands)
    indexes = list(range(1, bands + 1))
    with (
        gdal.failing_as("PIXELS_UNREADABLE", f"{job.name} cannot be warped"),
        rasterio.open(view.xml, driver="VRT") as source,
        rasterio.open(job.path, "w", **job.profile) as target,
    ):
        if job.alpha:
            target.colorinterp = [ColorInterp.undefined] * bands + [ColorInterp.alpha]
        with gdal.listening():
            reproject(
                rasterio.band(source, indexes),
                rasterio.band(target, indexes),
                src_nodata=job.view.nodata,
                dst_nodata=job.nodata,
                src_alpha=bands + 1 if job.view.mask else 0,
                dst_alpha=bands + 1 if job.alpha else 0,
                resampling=Resampling[job.resampling],
                num_threads=gdal.THREADS,
                warp_mem_limit=gdal.WARP_MB,
                init_dest_nodata=True,
                **job.options,
                **warp_options(place, job.grid.crs, before=before),
            )
    with gdal.failing_as("PIXELS_UNREADABLE", f"{job.name} has pixels that cannot be decoded"):
        check_coverage(view.xml, job.view.georeference, job.path, job.grid.georeference, job.name)
