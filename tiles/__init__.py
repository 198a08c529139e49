"""The tile server: titiler-pgstac for STAC items, and /cog for blobs of the account."""
