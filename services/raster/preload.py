"""Loads the raster modules into the fork server, with only the drivers that we use."""

import numpy.ma  # noqa: F401 - numpy and rasterio import it late
import rasterio

from services.raster import cog as cog
from services.raster import estimate as estimate
from services.raster import facts as facts
from services.raster import gdal
from services.raster.mosaic import paste as paste
from services.raster.mosaic import piece as piece
from services.raster.windows import work as work

gdal.skip_other_drivers()
with rasterio.Env():
    """Registers the drivers, once for all children."""
