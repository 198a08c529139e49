"""Which blobs the tile server opens."""

import pytest
from fastapi import HTTPException

from tiles.blobs import AllowedBlobs

ACCOUNT = "https://acct.blob.core.windows.net"
ALLOWED = AllowedBlobs(frozenset({"silver-cogs"}), ACCOUNT)


@pytest.mark.parametrize(
    ("asked", "opened"),
    [
        ("/vsiaz/silver-cogs/a/b c.tif", "/vsiaz/silver-cogs/a/b c.tif"),
        (f"{ACCOUNT}/silver-cogs/a/b%20c.tif", "/vsiaz/silver-cogs/a/b c.tif"),
        (f"{ACCOUNT}/silver-cogs/100%25.tif", "/vsiaz/silver-cogs/100%.tif"),
    ],
)
def test_blobs_in_the_containers_are_opened(asked: str, opened: str):
    assert ALLOWED.gdal_path(asked) == opened


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("/vsiaz/bronze/a.tif", 403),
        (f"{ACCOUNT}/bronze/a.tif", 403),
        ("/vsiaz/silver-cogs/../bronze/a.tif", 400),
        (f"{ACCOUNT}/silver-cogs/%2E%2E/bronze/a.tif", 400),
        (f"{ACCOUNT}/silver-cogs/a.tif?sig=x", 400),
        (f"{ACCOUNT}/silver-cogs/a.tif#x", 400),
        (f"{ACCOUNT}.example.org/silver-cogs/a.tif", 400),
        ("https://acct.blob.core.windows.net@example.org/silver-cogs/a.tif", 400),
        ("/vsicurl/https://example.org/a.tif", 400),
        ("/VSIAZ/silver-cogs/a.tif", 400),
        (" /vsiaz/silver-cogs/a.tif", 400),
        ("/vsiaz/silver-cogs/vsicurl/http://x/a.tif", 400),
        ("/vsiaz//vsicurl/http://x/a.tif", 400),
        ("/vsiaz/silver-cogs/a\n.tif", 400),
        ("/vsiaz/silver-cogs/", 400),
        ("silver-cogs/a.tif", 400),
        ("", 400),
    ],
)
def test_everything_else_is_rejected(asked: str, status: int):
    with pytest.raises(HTTPException) as rejected:
        ALLOWED.gdal_path(asked)
    assert rejected.value.status_code == status
