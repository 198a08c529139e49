"""What can be done: one file per job. Adding one: its file, and its line here."""

from core.job import JobBase
from jobs.hello_world import HelloWorld
from jobs.process_raster import ProcessRaster
from jobs.unpublish_raster import UnpublishRaster

ALL_JOBS: dict[str, type[JobBase]] = {
    "hello_world": HelloWorld,
    "process_raster": ProcessRaster,
    "unpublish_raster": UnpublishRaster,
}
