"""Source rasters and COGs in blob storage: fetching, sidecars and ownership."""
