"""A VRT over the source with the bands, validity and georeference that the inspection found.

GDAL's copy and warp use everything a file says: RPCs next to a good affine, near infrared tagged
as alpha, a nodata value that the data type cannot hold. Reading through this view keeps such
metadata from them. https://gdal.org/en/stable/drivers/raster/vrt.html
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from services.raster.georeference import Georeference

_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
    "complex64": "CFloat32",
    "complex128": "CFloat64",
}
_COLORS = {
    "gray": "Gray",
    "palette": "Palette",
    "red": "Red",
    "green": "Green",
    "blue": "Blue",
    "alpha": "Alpha",
    "hue": "Hue",
    "saturation": "Saturation",
    "lightness": "Lightness",
}
Palette = dict[int, tuple[int, int, int, int]]


@dataclass(frozen=True)
class Band:
    """One band of the view."""

    source: int
    color: str = "undefined"
    nodata: float | None = None
    """The source band's own nodata value if it differs from the view's."""
    description: str | None = None
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    palette: Palette | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Mask:
    """The source of the view's mask or alpha band."""

    sources: tuple[str, ...]
    """Bands as VRT names them: "mask,1" or "5". A pixel is valid if any of them says so."""
    form: Literal["mask", "alpha"]
    soft: bool = False
    """Whether values between valid and not valid occur. A mask rounds them."""
    opaque: int | None = None
    """The value of fully valid pixels in the source, stretched to the data type's maximum."""
    nodata: float | None = None
    """The nodata value that the mask is made from. The sources are then the view's own bands."""


@dataclass(frozen=True)
class View:
    """A raster over `path`."""

    path: str
    georeference: Georeference
    dtype: str
    bands: Sequence[Band]
    nodata: float | None = None
    mask: Mask | None = None
    tags: dict[str, str] = field(default_factory=dict)
    ratio: float = 1.0
    """What the source's values are multiplied by."""
    roll: int = 0
    """Number of columns to move from the left edge to the right one."""
    is_padded: bool = False
    """Whether the outermost pixels of the source are repeated once at each side."""
    filled: tuple[int, int] | None = None
    """Columns and rows with pixels of the source. Those at the right and below are empty."""
    level: int = 0
    """Which overview of the source to read; 0 is the full size."""
    overviews: tuple[str, ...] = ()
    """Paths of rasters that are the view's overviews, the largest first."""

    def padded(self, copy: str) -> "View":
        """A view over a copy of this one that repeats its outermost pixels once at each side."""
        return replace(self.over(copy), georeference=self.georeference.padded, is_padded=True)

    def over(self, copy: str) -> "View":
        """The same raster, read from a copy that may be larger at the right and below."""
        mask = self.mask
        if mask:
            source = "mask,1" if mask.form == "mask" else str(len(self.bands) + 1)
            mask = Mask((source,), mask.form)
        return View(
            path=copy,
            georeference=self.georeference,
            dtype=self.dtype,
            bands=[replace(band, source=n, nodata=None) for n, band in enumerate(self.bands, 1)],
            nodata=self.nodata,
            mask=mask,
            tags=self.tags,
        )

    def aligned(self, side: int) -> "View":
        """A view with empty pixels at the right and below, up to multiples of `side`."""
        width, height = self.georeference.width, self.georeference.height
        columns, rows = (math.ceil(length / side) * side for length in (width, height))
        larger = replace(self.georeference, width=columns, height=rows)
        return replace(self, georeference=larger, filled=(width, height))

    def overview(self, level: int) -> "View":
        """An overview, read from the same one of the source. Level 1 has half the size."""
        width, height = self.georeference.width, self.georeference.height
        columns, rows = (math.ceil(length / 2**level) for length in (width, height))
        smaller = replace(self.georeference, width=columns, height=rows)
        return replace(self, georeference=smaller, level=level)

    @property
    def xml(self) -> str:
        georeference = self.georeference
        bands = [self._write_band(number, band) for number, band in enumerate(self.bands, 1)]
        return (
            f'<VRTDataset rasterXSize="{georeference.width}" rasterYSize="{georeference.height}">'
            f"{self._write_place()}{_write_metadata(self.tags)}{''.join(bands)}{self._write_mask()}</VRTDataset>"
        )

    def _write_place(self) -> str:
        """GDAL assumes x before y if no axis mapping is given, whatever the CRS says."""
        wkt = self.georeference.crs.to_wkt(version="WKT2_2019")
        if not self.georeference.gcps:
            numbers = ",".join(repr(float(v)) for v in self.georeference.transform.to_gdal())
            return f"<SRS>{escape(wkt)}</SRS><GeoTransform>{numbers}</GeoTransform>"
        points = "".join(
            f'<GCP Id="{n}" Pixel="{p.col!r}" Line="{p.row!r}" X="{p.x!r}" Y="{p.y!r}" Z="0"/>'
            for n, p in enumerate(self.georeference.gcps)
        )
        return f"<GCPList Projection={quoteattr(wkt)}>{points}</GCPList>"

    def _write_band(self, number: int, band: Band) -> str:
        nodata = (
            f"<NoDataValue>{_format_number(self.nodata)}</NoDataValue>"
            if self.nodata is not None
            else ""
        )
        return (
            f'<VRTRasterBand dataType="{_TYPES[self.dtype]}" band="{number}">'
            f"{_write_metadata(band.tags)}"
            f"{_write_text('Description', band.description)}{_write_text('UnitType', band.unit)}"
            f"{nodata}<ColorInterp>{_COLORS.get(band.color, 'Undefined')}</ColorInterp>"
            f"{_write_scaling(band)}{_write_colors(band.palette)}{self._write_source(band)}"
            f"{self._write_overviews(number)}</VRTRasterBand>"
        )

    def _write_source(self, band: Band) -> str:
        """Pixels that are NaN or hold the band's own nodata value become the view's nodata."""
        if self.ratio != 1.0:
            ratio = f"<ScaleOffset>0</ScaleOffset><ScaleRatio>{self.ratio!r}</ScaleRatio>"
            return self._write_pixels("ComplexSource", str(band.source), ratio)
        skipped = band.nodata
        if skipped is None and self.nodata is not None and np.dtype(self.dtype).kind == "f":
            skipped = None if math.isnan(self.nodata) else math.nan
        if skipped is None:
            return self._write_pixels("SimpleSource", str(band.source))
        return self._write_pixels(
            "ComplexSource", str(band.source), f"<NODATA>{_format_number(skipped)}</NODATA>"
        )

    def _write_mask(self) -> str:
        if self.mask is None:
            return ""
        lut = self._write_mask_lut(self.mask)
        kind = "ComplexSource" if lut else "SimpleSource"
        path = self._nodata_view if self.mask.nodata is not None else None
        sources = "".join(self._write_pixels(kind, name, lut, path) for name in self.mask.sources)
        derived = len(self.mask.sources) > 1
        function = "<PixelFunctionType>max</PixelFunctionType>" if derived else ""
        kind = ' subClass="VRTDerivedRasterBand"' if derived else ""
        if self.mask.form == "mask":
            return (
                f'<MaskBand><VRTRasterBand dataType="Byte"{kind}>{function}{sources}'
                "</VRTRasterBand></MaskBand>"
            )
        return (
            f'<VRTRasterBand dataType="{_TYPES[self.dtype]}" band="{len(self.bands) + 1}"{kind}>'
            f"<ColorInterp>Alpha</ColorInterp>{function}{sources}</VRTRasterBand>"
        )

    @property
    def _nodata_view(self) -> str:
        """A view with a nodata value in place of the mask, to make the mask from."""
        nodata = self.mask.nodata if self.mask else None
        return replace(self, nodata=nodata, mask=None, roll=0, tags={}).xml

    def _write_mask_lut(self, mask: Mask) -> str:
        if mask.opaque:
            return f"<LUT>0:0,{mask.opaque}:{np.iinfo(self.dtype).max}</LUT>"
        half = alpha_top(self.dtype) // 2
        return f"<LUT>0:0,{half}:0,{half + 1}:255,255:255</LUT>" if mask.soft else ""

    def _write_pixels(
        self, element: str, band: str, extra: str = "", path: str | None = None
    ) -> str:
        head = (
            f'<SourceFilename relativeToVRT="0">{escape(path or self.path)}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
        )
        if self.level:
            options = f'<OOI key="OVERVIEW_LEVEL">{self.level - 1}</OOI>'
            head += f"<OpenOptions>{options}</OpenOptions>"
        return "".join(
            f"<{element}>{head}{rectangle}{extra}</{element}>"
            for rectangle in self._list_rectangles()
        )

    def _write_overviews(self, band: int) -> str:
        """Those of the mask are the masks of these."""
        return "".join(
            f'<Overview><SourceFilename relativeToVRT="0">{escape(path)}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand></Overview>"
            for path in self.overviews
        )

    def _list_rectangles(self) -> list[str]:
        width, height = self.filled or (self.georeference.width, self.georeference.height)
        if self.is_padded:
            return [
                _write_rectangle(*across, *down) for down in _pad(height) for across in _pad(width)
            ]
        rest = width - self.roll
        across = [(self.roll, 0, rest), (0, rest, self.roll)]
        return [_write_rectangle(*part, 0, 0, height) for part in across if part[2]]


def _pad(size: int) -> list[tuple[int, int, int]]:
    """Start in the source, start in the padded view, and length of the parts along one side."""
    inside = size - 2
    return [(0, 0, 1), (0, 1, inside), (inside - 1, size - 1, 1)]


def _write_rectangle(
    column: int, to_column: int, width: int, row: int, to_row: int, height: int
) -> str:
    return (
        f'<SrcRect xOff="{column}" yOff="{row}" xSize="{width}" ySize="{height}"/>'
        f'<DstRect xOff="{to_column}" yOff="{to_row}" xSize="{width}" ySize="{height}"/>'
    )


def _format_number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "nan"
    # GDAL reads "-9.2e18" as -9 where pixels are integers.
    return repr(int(value)) if float(value).is_integer() and abs(value) <= 2**64 else repr(value)


def _write_text(element: str, value: str | None) -> str:
    if not value:
        return ""
    printable = "".join(char for char in value if char.isprintable())
    return f"<{element}>{escape(printable[:200])}</{element}>"


def _write_scaling(band: Band) -> str:
    if band.scale == 1.0 and band.offset == 0.0:
        return ""
    return f"<Offset>{band.offset!r}</Offset><Scale>{band.scale!r}</Scale>"


def _write_colors(palette: Palette | None) -> str:
    if not palette:
        return ""
    entries = "".join(
        f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="{a}"/>'
        for r, g, b, a in (palette.get(i, (0, 0, 0, 0)) for i in range(max(palette) + 1))
    )
    return f"<ColorTable>{entries}</ColorTable>"


def _write_metadata(tags: dict[str, str]) -> str:
    items = "".join(f"<MDI key={quoteattr(k)}>{escape(v)}</MDI>" for k, v in tags.items())
    return f"<Metadata>{items}</Metadata>" if items else ""


def alpha_top(dtype: str) -> int:
    """The value of a valid pixel when a mask is read into an alpha band of this type."""
    return 127 if dtype == "int8" else 255
