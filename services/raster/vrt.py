"""A virtual raster over another: the bands, roles, validity and place that we decided on.

GDAL's own copy and warp believe whatever a file says: RPCs beside a good affine, near infrared
tagged alpha, a nodata value its type cannot hold. They read this view, and it says only what was
understood. https://gdal.org/en/stable/drivers/raster/vrt.html
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    """The source band's own, where it differs from the view's."""
    description: str | None = None
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    palette: Palette | None = None


@dataclass(frozen=True)
class Mask:
    """What becomes the validity of the view, and whether as a mask or as an alpha band."""

    sources: tuple[str, ...]
    """Source bands, as VRT names them: "mask,1" or "5". A pixel is valid where any is."""
    form: Literal["mask", "alpha"]
    soft: bool = False
    """Whether there are half-valid values: a mask has none, so they are told apart at half."""
    opaque: int | None = None
    """What is valid to the full in the source, where its type could hold more: it is stretched."""


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
    roll: int = 0
    """Columns to move from the left edge to the right one."""

    @property
    def xml(self) -> str:
        georeference = self.georeference
        bands = [self._band(number, band) for number, band in enumerate(self.bands, 1)]
        return (
            f'<VRTDataset rasterXSize="{georeference.width}" rasterYSize="{georeference.height}">'
            f"{self._where()}{_metadata(self.tags)}{''.join(bands)}{self._mask()}</VRTDataset>"
        )

    def _where(self) -> str:
        """Without an axis mapping GDAL takes x before y, whatever order the CRS has."""
        wkt = self.georeference.crs.to_wkt(version="WKT2_2019")
        if not self.georeference.gcps:
            numbers = ",".join(repr(float(v)) for v in self.georeference.transform.to_gdal())
            return f"<SRS>{escape(wkt)}</SRS><GeoTransform>{numbers}</GeoTransform>"
        points = "".join(
            f'<GCP Id="{n}" Pixel="{p.col!r}" Line="{p.row!r}" X="{p.x!r}" Y="{p.y!r}" Z="0"/>'
            for n, p in enumerate(self.georeference.gcps)
        )
        return f"<GCPList Projection={quoteattr(wkt)}>{points}</GCPList>"

    def _band(self, number: int, band: Band) -> str:
        nodata = f"<NoDataValue>{_number(self.nodata)}</NoDataValue>" if self._has_nodata else ""
        return (
            f'<VRTRasterBand dataType="{_TYPES[self.dtype]}" band="{number}">'
            f"{_text('Description', band.description)}{_text('UnitType', band.unit)}"
            f"{nodata}<ColorInterp>{_COLORS.get(band.color, 'Undefined')}</ColorInterp>"
            f"{_scaling(band)}{_colors(band.palette)}{self._source(band)}</VRTRasterBand>"
        )

    @property
    def _has_nodata(self) -> bool:
        return self.nodata is not None

    def _source(self, band: Band) -> str:
        """Where a band's own nodata differs, its empty pixels are not copied, so they get ours."""
        if band.nodata is None:
            return self._pixels("SimpleSource", str(band.source))
        return self._pixels(
            "ComplexSource", str(band.source), f"<NODATA>{_number(band.nodata)}</NODATA>"
        )

    def _mask(self) -> str:
        if self.mask is None:
            return ""
        lut = self._mask_lut(self.mask)
        kind = "ComplexSource" if lut else "SimpleSource"
        sources = "".join(self._pixels(kind, name, lut) for name in self.mask.sources)
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

    def _mask_lut(self, mask: Mask) -> str:
        if mask.opaque:
            return f"<LUT>0:0,{mask.opaque}:{np.iinfo(self.dtype).max}</LUT>"
        half = alpha_top(self.dtype) // 2
        return f"<LUT>0:0,{half}:0,{half + 1}:255,255:255</LUT>" if mask.soft else ""

    def _pixels(self, element: str, band: str, extra: str = "") -> str:
        head = (
            f'<SourceFilename relativeToVRT="0">{escape(self.path)}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
        )
        return "".join(
            f"<{element}>{head}{rectangle}{extra}</{element}>" for rectangle in self._rectangles()
        )

    def _rectangles(self) -> list[str]:
        if not self.roll:
            return [""]
        width, height = self.georeference.width, self.georeference.height
        rest = width - self.roll
        return [
            _rectangle(self.roll, 0, rest, height),
            _rectangle(0, rest, self.roll, height),
        ]


def _rectangle(start: int, goes_to: int, width: int, height: int) -> str:
    return (
        f'<SrcRect xOff="{start}" yOff="0" xSize="{width}" ySize="{height}"/>'
        f'<DstRect xOff="{goes_to}" yOff="0" xSize="{width}" ySize="{height}"/>'
    )


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "nan"
    # GDAL reads "-9.2e18" as -9 where pixels are integers.
    return repr(int(value)) if float(value).is_integer() and abs(value) <= 2**64 else repr(value)


def _text(element: str, value: str | None) -> str:
    if not value:
        return ""
    printable = "".join(char for char in value if char.isprintable())
    return f"<{element}>{escape(printable[:200])}</{element}>"


def _scaling(band: Band) -> str:
    if band.scale == 1.0 and band.offset == 0.0:
        return ""
    return f"<Offset>{band.offset!r}</Offset><Scale>{band.scale!r}</Scale>"


def _colors(palette: Palette | None) -> str:
    if not palette:
        return ""
    entries = "".join(
        f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="{a}"/>'
        for r, g, b, a in (palette.get(i, (0, 0, 0, 0)) for i in range(max(palette) + 1))
    )
    return f"<ColorTable>{entries}</ColorTable>"


def _metadata(tags: dict[str, str]) -> str:
    items = "".join(f"<MDI key={quoteattr(k)}>{escape(v)}</MDI>" for k, v in tags.items())
    return f"<Metadata>{items}</Metadata>" if items else ""


def alpha_top(dtype: str) -> int:
    """What a mask reads in an alpha band of this type where a pixel is valid."""
    return 127 if dtype == "int8" else 255
