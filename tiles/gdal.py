"""GDAL's settings, made before GDAL is first used: importing this module is the point.

A blob named .tif may hold a VRT, a WMS description or another format that names files and
hosts of its own. Drivers that are not there cannot be tricked.
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
    # A blob may be replaced, removed and made again under its name: remember nothing of it, not
    # even its absence, once it is closed. VSI_CACHE lives as long as the open file.
    "CPL_VSIL_CURL_NON_CACHED": "/vsiaz/",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "5000000",
}

for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)

# GDAL reads the list of drivers to skip once, so another process, which skips none, lists them.
LISTING = "import rasterio\nwith rasterio.Env() as env: print(*env.drivers(), sep='\\n')"
listed = subprocess.run(
    [sys.executable, "-c", LISTING], check=True, capture_output=True, text=True
).stdout.splitlines()
os.environ["GDAL_SKIP"] = ",".join(sorted({*listed} - READ - WRITE - WORK))
