"""The structure of raster files, read without GDAL: are they complete and self-contained?"""
