"""The STAC API over pgSTAC, to search and to read."""
