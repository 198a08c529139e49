"""The overview of a collection: one coarse raster of all its members."""
