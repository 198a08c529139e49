"""The tile server: titiler-pgstac for catalogued items, and /cog for the project's own blobs."""
