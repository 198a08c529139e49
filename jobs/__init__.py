"""What can be done: one file per job, and one entry in ALL_JOBS."""

from core.job import JobBase
from jobs.hello_world import HelloWorld
from jobs.process_raster import ProcessRaster
from jobs.process_raster_collection import ProcessRasterCollection
from jobs.reconcile_catalog import ReconcileCatalog
from jobs.unpublish_raster import UnpublishRaster
from jobs.unpublish_raster_collection import UnpublishRasterCollection
from jobs.validate_raster import ValidateRasterJob

ALL_JOBS: tuple[type[JobBase], ...] = (
    HelloWorld,
    ProcessRaster,
    ProcessRasterCollection,
    UnpublishRaster,
    UnpublishRasterCollection,
    ReconcileCatalog,
    ValidateRasterJob,
)
