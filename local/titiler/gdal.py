"""GDAL's settings, made before GDAL is first used: importing this module is the point.

A blob named .tif may hold a VRT, a WMS description or another format that names files and
hosts of its own. Drivers that are not registered cannot be tricked.
"""

import os

import rasterio

READ = {"GTiff", "COG"}
WRITE = {"PNG", "JPEG", "WEBP", "MEM", "JP2OpenJPEG"}

SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    # https://developmentseed.org/titiler/advanced/performance_tuning/
    "GDAL_CACHEMAX": "200",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "5000000",
}

for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)

with rasterio.Env() as env:
    listed = set(env.drivers())
os.environ["GDAL_SKIP"] = ",".join(sorted(listed - READ - WRITE))
