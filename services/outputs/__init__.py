"""Steps that several handlers share: making the COGs of a raster and describing them."""
