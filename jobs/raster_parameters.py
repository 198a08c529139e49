"""Parameters that jobs on one raster share: which blob, how to read it, and what COG is wanted."""

import math
import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from core.models import BlobName, BlobRef, ContainerName
from core.ports import Ports
from services.raster.crs_text import check_crs_text
from services.raster.model import NodataChoice, RasterFacts, RasterTypeChoice, Tier, TierChoice
from services.storage.naming import RESERVED
from services.storage.sidecars import find_sidecars
from services.validate_raster import ValidateRaster


def _target_crs(value: str) -> str:
    if value.lower() == "native":
        return "native"
    if not re.fullmatch(r"EPSG:\d{4,6}", value.upper()):
        raise ValueError("target_crs must be 'native' or 'EPSG:' and a code, such as 'EPSG:4326'")
    return value.upper()


def _nodata(value: object) -> object:
    """One value or a list of values, each a number or "nan"."""
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("nodata must have at least one value")
        return tuple(_nodata_value(part) for part in value)
    return None if value is None else _nodata_value(value)


def _nodata_value(value: object) -> int | float | str:
    if isinstance(value, str) and value.strip().lower() == "nan":
        return "nan"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError('nodata must be a number, "nan", or a list of these')
    try:
        number = value if isinstance(value, int) else float(value)
    except ValueError:
        raise ValueError(
            f'nodata must be a number, "nan", or a list of these, not {value!r}'
        ) from None
    if math.isnan(number):
        return "nan"
    if math.isinf(number) or abs(number) > 2**1023:
        raise ValueError("nodata must be a finite number or nan")
    return number


_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _timestamp(value: object) -> object:
    """Pydantic would take a number, or a text of digits, for seconds since 1970."""
    if value is None or isinstance(value, datetime):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if not _DATE.match(text):
        raise ValueError(
            "write an ISO 8601 date such as '2024-01-02', or a date and time with a time zone "
            "such as '2024-01-02T10:30:00Z'"
        )
    return f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text


def _folder(value: str) -> str:
    folder = value.strip("/")
    BlobRef(container="any", name=folder)
    for reserved in RESERVED:
        if f"{folder}/".startswith(reserved):
            raise ValueError(f"{reserved} holds files of jobs; choose another folder")
    return folder


class RasterOptions(BaseModel):
    """How to read rasters, and what COGs are wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    input_crs: Annotated[str, AfterValidator(check_crs_text)] | None = Field(
        None,
        min_length=1,
        description="the CRS of a raster that declares none: an authority's code such as "
        "EPSG:32618, WKT, PROJJSON or a PROJ string",
    )
    raster_type: RasterTypeChoice = Field("auto", description="what the pixels mean")
    output_tier: TierChoice = Field("analysis", description="what the COG is for")
    target_crs: Annotated[str, AfterValidator(_target_crs)] = Field(
        "EPSG:4326", description="the COG's CRS: EPSG:code, or native to keep the source's"
    )
    jpeg_quality: int = Field(
        85, ge=1, le=100, strict=True, description="of JPEG and WebP, 1 to 100"
    )
    strict_mode: bool = Field(False, strict=True, description="turn warnings into errors")
    nodata: Annotated[NodataChoice, BeforeValidator(_nodata)] = Field(
        None, description='nodata instead of the file\'s: a number, "nan", or one of these per band'
    )
    subdataset: str | None = Field(
        None, min_length=1, description="the variable of a NetCDF file that has several"
    )

    def choose_tiers(self, facts: RasterFacts) -> tuple[Tier, ...]:
        """The tiers to make: the one asked for, or every tier that suits the raster."""
        return facts.cog_tiers if self.output_tier == "all" else (Tier(self.output_tier),)


class PublishingOptions(BaseModel):
    """How COGs are made, where they are stored, and their date."""

    in_memory: bool | None = Field(
        None, strict=True, description="work in memory; for small rasters only"
    )
    output_folder: Annotated[str, AfterValidator(_folder)] | None = Field(
        None, description="the folder of the COG in the silver container"
    )
    datetime: Annotated[AwareDatetime | None, BeforeValidator(_timestamp)] = Field(
        None,
        description="acquisition time, before every date in the file: an ISO 8601 date, "
        "or a date and time with a time zone",
    )


class RasterName(BaseModel):
    """Which blob."""

    blob_name: BlobName = Field(description="the raster's blob, with its folder")
    container_name: ContainerName = Field(description="the container the blob lies in")

    @property
    def source(self) -> BlobRef:
        return BlobRef(container=self.container_name, name=self.blob_name)


class RasterParameters(RasterOptions, RasterName):
    """A raster in blob storage, how to read it, and what COG is wanted."""


class RasterSource(BaseModel):
    """The version of the source at the time of submission."""

    source_etag: str
    sidecars: dict[str, str] = {}
    """The ETags of the sidecars by name."""


def find_source(params: RasterParameters, ports: Ports) -> dict[str, Any]:
    """The fields of RasterSource. Raises BlobNotFound and ContainerNotFound."""
    found = ports.blobs.properties(params.source)
    return {"source_etag": found.etag, "sidecars": find_sidecars(ports.blobs, found.ref)}


def plan_validation(params: RasterParameters, version: RasterSource) -> ValidateRaster:
    """The parameters of the task that reads the raster's facts."""
    sidecars = (BlobRef(container=params.container_name, name=name) for name in version.sidecars)
    return ValidateRaster(
        source=params.source,
        source_etag=version.source_etag,
        sidecars=tuple(sidecars),
        input_crs=params.input_crs,
        raster_type=params.raster_type,
        output_tier=params.output_tier,
        target_crs=params.target_crs,
        strict_mode=params.strict_mode,
        subdataset=params.subdataset,
        nodata=params.nodata,
    )
