"""The files next to a raster that GDAL reads with it: masks, overviews, georeferencing."""

APPENDED = (".aux.xml", ".msk", ".msk.ovr", ".ovr")
"""Endings that follow the whole name of the raster: `a.tif.ovr`.

https://gdal.org/en/stable/development/rfc/rfc15_nodatabitmask.html
"""
WORLD_FILES = (".wld", ".tfw", ".tifw", ".tiffw", ".pgw", ".pngw", ".j2w", ".jp2w")
"""https://gdal.org/en/stable/drivers/raster/wld.html"""
REPLACED = (".aux", ".hdr", ".ige", ".prj", ".rrd", *WORLD_FILES)
"""Endings that replace the raster's own: `a.prj`."""
