"""Settings of GDAL and rio-tiler, which the import of this module applies before they are first
used.

A blob named .tif may contain a VRT, a WMS description or another format that references files and
hosts. The drivers of these formats are disabled.
"""

import os
import subprocess
import sys

READ = {"GTiff", "COG"}
WRITE = {"PNG", "JPEG", "WEBP", "JP2OpenJPEG"}
WORK = {"MEM", "VRT"}
"""GDAL warps through VRTs in memory; see reader.py for those in files."""

SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    # https://developmentseed.org/titiler/advanced/performance_tuning/
    "GDAL_CACHEMAX": "200",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    # A blob may be replaced, removed and created again, so nothing about it is cached after it is
    # closed, not even its absence. VSI_CACHE is kept while the file is open.
    "CPL_VSIL_CURL_NON_CACHED": "/vsiaz/",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "5000000",
    # rio-tiler starts threads for each request, and GDAL opens the database of PROJ in each.
    "RIO_TILER_MAX_THREADS": "1",
}

for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)

# GDAL reads the list of drivers to skip once, so a separate process lists all drivers.
LISTING = "import rasterio\nwith rasterio.Env() as env: print(*env.drivers(), sep='\\n')"
listed = subprocess.run(
    [sys.executable, "-c", LISTING], check=True, capture_output=True, text=True
).stdout.splitlines()
os.environ["GDAL_SKIP"] = ",".join(sorted({*listed} - READ - WRITE - WORK))
