"""process_raster: one raster in; a COG for each tier, one STAC item and a map link out."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import (
    ConfigDict,
    Field,
)

from core.errors import FieldError, InvalidRequest
from core.job import JobBase, stage
from core.models import BlobRef, ContainerName, Json, Record
from core.ports import Ports
from jobs.raster_parameters import (
    PublishingOptions,
    RasterParameters,
    RasterSource,
    find_source,
    plan_validation,
)
from services.create_cog import CreateCog, create_cog
from services.encode_window import EncodeWindow, encode_window
from services.extract_stac_metadata import ExtractStac, StacItem, extract_stac_metadata
from services.outputs.windows import discard_windows
from services.raster.model import (
    Cog,
    CrsOperation,
    RasterFacts,
    RasterType,
    RasterWarning,
    Tier,
    VerticalCrs,
)
from services.raster.windows.plan import WindowPlan
from services.stac.model import StacId
from services.storage.naming import RESERVED, describe_owner, name_cog, propose_locations
from services.storage.ownership import discard_outputs, verify_outputs
from services.validate_raster import ValidateRaster, validate_raster


class Parameters(PublishingOptions, RasterParameters):
    """What process_raster takes."""

    collection_id: StacId | None = Field(None, description="the STAC collection")
    item_id: StacId | None = Field(None, description="the STAC item; made from the name if absent")


class Submission(RasterSource, Parameters):
    """The parameters, completed with what the world said when the job was submitted."""

    # Jobs that another release submitted may have other fields.
    model_config = ConfigDict(extra="ignore", frozen=True)

    collection_id: StacId
    output_container: ContainerName
    location: str = ""
    """The folder and name of the COGs, without their tier."""
    request: str = ""
    """The id of the job that this request has in generation 0."""
    generation: int = 0
    """The number of jobs of this request whose outputs do not exist any more."""

    def target(self, tier: Tier) -> BlobRef:
        """{folder}/{name}_cog_{tier}.tif."""
        location = (
            self.location
            or propose_locations(self.source, self.output_folder, self.subdataset, self.target_crs)[
                0
            ]
        )
        return BlobRef(container=self.output_container, name=name_cog(location, tier))


def _reserve_location(params: Parameters, ports: Ports) -> str:
    """Where the COGs go, reserved for this source. Raises InvalidRequest."""
    source = params.source
    made_of = (params.subdataset, params.target_crs)
    proposed = propose_locations(source, params.output_folder, *made_of)
    if proposed[0].startswith(RESERVED):
        message = f"the COGs would be at {proposed[0]!r}, between files of jobs; choose a folder"
        raise InvalidRequest([FieldError("output_folder", params.output_folder, message)])
    owner = describe_owner(source, *made_of)
    location = ports.outputs.reserve_location(ports.deployment.silver_container, proposed, owner)
    if location is None:
        message = f"the COGs at {proposed[0]!r} are of another source; choose another folder"
        raise InvalidRequest([FieldError("output_folder", params.output_folder, message)])
    return location


class ValidationSummary(Record):
    """The findings of the validation."""

    warnings: tuple[RasterWarning, ...]
    raster_type: RasterType
    confidence: Literal["VERY_HIGH", "HIGH", "MEDIUM", "LOW"]
    source_crs: str
    crs_operation: CrsOperation | None = None
    bit_depth_efficient: bool

    @classmethod
    def of(cls, facts: RasterFacts) -> "ValidationSummary":
        return cls(
            warnings=facts.warnings,
            raster_type=facts.raster_type.applied_type,
            confidence=facts.raster_type.confidence,
            source_crs=facts.source_crs,
            crs_operation=facts.crs_operation,
            bit_depth_efficient=facts.bit_depth_check.efficient,
        )


class CogSummary(Record):
    """One of the COGs."""

    cog_blob: str
    cog_container: str
    cog_tier: Tier
    storage_tier: Literal["hot", "cool"]
    size_mb: float
    compression: str
    reprojection_performed: bool
    target_crs: str
    vertical_crs: VerticalCrs | None = None
    bounds_4326: tuple[float, float, float, float]
    shape: tuple[int, int]
    raster_type: RasterType
    checksum: str
    warnings: tuple[RasterWarning, ...] = Field((), description="found while making this COG")

    @classmethod
    def of(cls, cog: Cog) -> "CogSummary":
        fields = cog.model_dump() | {
            "cog_blob": cog.blob.name,
            "cog_container": cog.blob.container,
        }
        return cls.model_validate(fields)


class StacSummary(Record):
    """The STAC item."""

    item_id: str
    collection_id: str
    bbox: list[float]
    inserted_to_pgstac: bool
    ready_for_titiler: bool = True
    datetime: str | None = Field(None, description="date of the item; null for an interval")
    start_datetime: str | None = None
    end_datetime: str | None = None
    datetime_origin: str | None = Field(
        None,
        description="parameter, source_metadata, file_name, folder_name or last_modified",
    )

    @classmethod
    def of(cls, item: StacItem) -> "StacSummary":
        properties = item.stac_item["properties"]
        dates = {key: properties.get(key) for key in ("datetime", "start_datetime", "end_datetime")}
        origin = {"datetime_origin": properties.get("geolathe:datetime_origin")}
        return cls.model_validate(dict(item) | dates | origin)


class TaskCounts(Record):
    """Tasks by status. Every stage must succeed, so none have failed."""

    completed: int
    failed: int = 0


class Result(Record):
    """The result of process_raster."""

    job_type: str
    source_blob: str
    source_container: str
    validation: ValidationSummary
    cog: CogSummary = Field(description="the COG that the share URL shows")
    cogs: list[CogSummary] = Field(description="one for each tier")
    stac: StacSummary
    share_url: str = Field(description="a page with the map")
    titiler_urls: dict[str, str]
    stages_completed: int = Field(description="the number of stages that had tasks")
    total_tasks_executed: int
    tasks_by_status: TaskCounts


def _planned_windows(params: Submission, facts: RasterFacts) -> Iterator[tuple[Tier, WindowPlan]]:
    """The tiers to make whose COGs are made in windows."""
    for tier in params.choose_tiers(facts):
        if tier in facts.windows:
            yield tier, facts.windows[tier]


class ProcessRaster(JobBase):
    """Validate, make the COGs, catalogue them, and say where the map is."""

    job_type = "process_raster"
    version = 2
    description = "Turn a raster into Cloud-Optimized GeoTIFFs, a STAC item and a map link"
    parameters = Parameters
    example: ClassVar[Json] = {
        "blob_name": "dctest.tif",
        "container_name": "bronze-rasters",
        "output_tier": "analysis",
        "output_folder": "cogs/my_test",
    }

    def prepare(self, params: Parameters, ports: Ports) -> Submission:
        """A request whose outputs do not exist any more is a new job, of the next generation."""
        source = find_source(params, ports)
        known = (
            params.model_dump()
            | source
            | {
                "collection_id": params.collection_id or ports.deployment.default_collection,
                "output_container": ports.deployment.silver_container,
                "location": _reserve_location(params, ports),
            }
        )
        request = self.job_id(Submission.model_validate(known))
        verify_outputs(ports, request)
        generation = {"request": request, "generation": ports.outputs.generation(request)}
        return Submission.model_validate(known | generation)

    @stage(validate_raster)
    def validate(self, params: Submission) -> ValidateRaster:
        return plan_validation(params, params)

    @stage(encode_window)
    def encode_windows(
        self, params: Submission, validate: list[RasterFacts]
    ) -> Iterator[EncodeWindow]:
        """Encode each window of large COGs; no tasks for smaller ones."""
        [facts] = validate
        for tier, plan in _planned_windows(params, facts):
            for window in plan.windows(0):
                yield EncodeWindow(
                    target=params.target(tier),
                    tier=tier,
                    target_crs=params.target_crs,
                    jpeg_quality=params.jpeg_quality,
                    row=window.row,
                    column=window.column,
                )

    @stage(create_cog)
    def create_cog(self, params: Submission, validate: list[RasterFacts]) -> list[CreateCog]:
        [facts] = validate
        return [
            CreateCog(
                facts=facts,
                target=params.target(tier),
                tier=tier,
                target_crs=params.target_crs,
                jpeg_quality=params.jpeg_quality,
                in_memory=params.in_memory,
                request=params.request,
                generation=params.generation,
            )
            for tier in params.choose_tiers(facts)
        ]

    @stage(extract_stac_metadata)
    def create_stac(
        self, params: Submission, validate: list[RasterFacts], create_cog: list[Cog]
    ) -> ExtractStac:
        [facts] = validate
        return ExtractStac(
            facts=facts,
            cogs=tuple(create_cog),
            collection_id=params.collection_id,
            item_id=params.item_id,
            datetime=params.datetime,
        )

    def discard(self, params: Submission, ports: Ports, owner: str) -> None:
        """Remove windows, and COGs that this job made and that no STAC item shows."""
        discard_outputs(ports, owner)
        job, _, _ = owner.partition("-")
        discard_windows(ports, job, [params.target(tier) for tier in Tier])

    def finalize(
        self,
        params: Submission,
        validate: list[RasterFacts],
        create_cog: list[Cog],
        create_stac: list[StacItem],
    ) -> Result:
        [facts], [item] = validate, create_stac
        [shown] = [cog for cog in create_cog if cog.blob.name == item.blob_name]
        windows = sum(len(plan.windows(0)) for _, plan in _planned_windows(params, facts))
        executed = len(validate) + windows + len(create_cog) + len(create_stac)
        return Result(
            job_type=self.job_type,
            source_blob=params.blob_name,
            source_container=params.container_name,
            validation=ValidationSummary.of(facts),
            cog=CogSummary.of(shown),
            cogs=[CogSummary.of(cog) for cog in create_cog],
            stac=StacSummary.of(item),
            share_url=item.share_url,
            titiler_urls=item.titiler_urls,
            stages_completed=len(self.stages) - (windows == 0),
            total_tasks_executed=executed,
            tasks_by_status=TaskCounts(completed=executed),
        )
