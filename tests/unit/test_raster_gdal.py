"""GDAL runs with the settings that we mean."""

from rasterio._env import get_gdal_config

from services.raster import gdal


def test_the_block_cache_is_megabytes_not_bytes():
    with gdal.environment("/nowhere.tif", sidecars=False):
        assert get_gdal_config("GDAL_CACHEMAX") == gdal.CACHE_BYTES == 64 * 2**20
