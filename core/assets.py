"""Downloads of assets: short-lived URLs for the COGs of STAC items."""

from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

from pydantic import ValidationError

from core.errors import AssetNotFound, BlobNotFound, ItemNotFound
from core.models import BlobName, BlobRef, ContainerName, Json, Record
from core.outputs import TASK
from core.ports import BlobStore, Catalog
from core.uploads import MIN_BYTES_PER_SECOND

MAIN_ASSET = "data"
"""The key of the asset that maps show."""
OVERVIEW_ASSET = "overview"
"""The key of a collection's asset that shows all its items, reduced."""
WATCH = "geolathe:watched_by"
"""The field of a collection whose items are being compared with its overview."""
MIN_LIFETIME = timedelta(minutes=15)


class AssetDownload(Record):
    """Where to download an asset. Anyone who has the URL can read the blob until it expires."""

    collection_id: str
    item_id: str
    key: str
    url: str
    expires_at: datetime
    container_name: ContainerName
    blob_name: BlobName
    media_type: str | None
    size: int
    etag: str
    checksum: str | None
    """As the item's `file:checksum` has it: a multihash in hexadecimal."""


def grant_download(
    blobs: BlobStore, catalog: Catalog, container: str, path: tuple[str, str, str]
) -> AssetDownload:
    """A URL for the asset at (collection, item, key), if it is a COG that the product wrote.

    Raises ItemNotFound and AssetNotFound.
    """
    collection_id, item_id, key = path
    item = catalog.get_item(collection_id, item_id)
    if item is None:
        raise ItemNotFound(f"collection {collection_id!r} has no item {item_id!r}")
    asset = _get_asset(item, key)
    blob = blob_at(asset["href"], container, blobs)
    if blob is None:
        raise AssetNotFound(
            f"asset {key!r} of item {item_id!r} is not a file in {container!r};"
            f" open its href instead: {asset['href']}"
        )
    return _sign(blobs, blob, asset, path)


def _get_asset(item: Json, key: str) -> Json:
    assets: Json = item["assets"]
    if key not in assets:
        expected = ", ".join(sorted(assets))
        raise AssetNotFound(f"item {item['id']!r} has no asset {key!r}; expected one of {expected}")
    found: Json = assets[key]
    return found


def _sign(
    blobs: BlobStore, blob: BlobRef, asset: Json, path: tuple[str, str, str]
) -> AssetDownload:
    collection_id, item_id, key = path
    try:
        properties = blobs.properties(blob)
    except BlobNotFound:
        raise AssetNotFound(f"the file of asset {key!r} was deleted: {blob}") from None
    if TASK not in properties.metadata:
        raise AssetNotFound(f"the file of asset {key!r} was not written by this service: {blob}")
    lifetime = MIN_LIFETIME + timedelta(seconds=properties.size // MIN_BYTES_PER_SECOND)
    return AssetDownload(
        collection_id=collection_id,
        item_id=item_id,
        key=key,
        url=blobs.signed_url(blob, lifetime),
        expires_at=datetime.now(UTC) + lifetime,
        container_name=blob.container,
        blob_name=blob.name,
        media_type=asset.get("type"),
        size=properties.size,
        etag=properties.etag,
        checksum=asset.get("file:checksum"),
    )


def blob_at(href: str, container: str, blobs: BlobStore) -> BlobRef | None:
    """The blob of the container that has this plain URL; None for any other URL."""
    folder = blobs.url(BlobRef(container=container, name="x")).removesuffix("x")
    if not href.startswith(folder):
        return None
    try:
        blob = BlobRef(container=container, name=unquote(href.removeprefix(folder)))
    except ValidationError:
        return None
    return blob if blobs.url(blob) == href else None
