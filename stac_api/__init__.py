"""The read-only STAC API over pgSTAC."""
