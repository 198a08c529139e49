"""The Python client of Geolathe: `Client(url, key).submit("process_raster", ...).wait()`."""

from geolathe.client import Client
from geolathe.errors import Error, Refused, Unreachable
from geolathe.job import Job, JobEnded

__all__ = ["Client", "Error", "Job", "JobEnded", "Refused", "Unreachable"]
