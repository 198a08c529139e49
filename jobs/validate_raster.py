"""validate_raster: check a raster and estimate its COGs, without writing anything."""

from typing import ClassVar

from pydantic import ConfigDict

from core.job import JobBase, stage
from core.models import Json, Record
from core.ports import Ports
from jobs.raster_parameters import RasterParameters, RasterSource, find_source, plan_validation
from services.estimate_cogs import EstimateCogs, estimate_cogs
from services.raster.model import CogEstimate, Estimates, RasterFacts, Tier
from services.validate_raster import ValidateRaster, validate_raster


class Submission(RasterSource, RasterParameters):
    """The parameters, with the source's version at the time of submission."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Result(Record):
    """The result of validate_raster."""

    job_type: str
    source_blob: str
    source_container: str
    facts: RasterFacts
    tiers: tuple[Tier, ...]
    """Tiers that process_raster would make with these parameters."""
    estimates: tuple[CogEstimate, ...]
    sampled_share: float
    """Share of the source's pixels that the estimates come from, 0 to 1."""


class ValidateRasterJob(JobBase):
    """Everything that process_raster would find out before it makes a COG."""

    job_type = "validate_raster"
    description = "Check a raster and estimate size, time and disk of its COGs; writes nothing"
    parameters = RasterParameters
    example: ClassVar[Json] = {
        "blob_name": "dctest.tif",
        "container_name": "bronze-rasters",
        "output_tier": "all",
    }

    def prepare(self, params: RasterParameters, ports: Ports) -> Submission:
        return Submission.model_validate(params.model_dump() | find_source(params, ports))

    @stage(validate_raster)
    def validate(self, params: Submission) -> ValidateRaster:
        """Read the header and samples, detect the type, collect warnings."""
        return plan_validation(params, params)

    @stage(estimate_cogs)
    def estimate(self, params: Submission, validate: list[RasterFacts]) -> EstimateCogs:
        """Encode samples for each tier."""
        [facts] = validate
        return EstimateCogs(
            facts=facts,
            tiers=params.choose_tiers(facts),
            target_crs=params.target_crs,
            jpeg_quality=params.jpeg_quality,
        )

    def finalize(
        self, params: Submission, validate: list[RasterFacts], estimate: list[Estimates]
    ) -> Result:
        [facts], [estimates] = validate, estimate
        return Result(
            job_type=self.job_type,
            source_blob=params.blob_name,
            source_container=params.container_name,
            facts=facts,
            tiers=params.choose_tiers(facts),
            estimates=estimates.cogs,
            sampled_share=estimates.sampled_share,
        )
