"""From COG to STAC item. Runs in a child process only: it imports GDAL, GEOS and pystac."""
