"""OGC API - Processes, part 1: the same jobs under the names of that standard."""
