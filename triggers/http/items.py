"""Items: downloads of the COGs that STAC items reference."""

import azure.functions as func

from core.assets import AssetDownload, grant_download
from core.ports import BlobStore, Catalog
from triggers.http.media_types import JSON
from triggers.http.parameters import TEXT, Parameter, enumerate_values, read_names
from triggers.http.payloads import respond
from triggers.http.route import Reply, Routes, route

COLLECTION_ID = Parameter("collection_id", "path", TEXT, "Id of a STAC collection")
ITEM_ID = Parameter("item_id", "path", TEXT, "Id of a STAC item")
KEY = Parameter("key", "path", TEXT, "Key of an asset, such as data or analysis")
FORMAT = Parameter(
    "format",
    "query",
    enumerate_values(["json"]),
    "Respond with the URL as JSON instead of a redirect, as `Accept: application/json` does",
)


class Items(Routes):
    """The asset route over storage and the catalog."""

    tag = "items"

    def __init__(self, blobs: BlobStore, catalog: Catalog, container: str) -> None:
        self.blobs = blobs
        self.catalog = catalog
        self.container = container

    @route(
        "GET",
        "items/{collection_id}/{item_id}/assets/{key}",
        "Download an asset of a STAC item through a short-lived URL",
        {
            302: Reply("Redirect to the file", headers=("Location",)),
            200: Reply("The URL of the file", (AssetDownload,)),
        },
        problems=(404, 422, 503),
        parameters=(COLLECTION_ID, ITEM_ID, KEY, FORMAT),
    )
    def get_asset(self, req: func.HttpRequest) -> func.HttpResponse:
        as_json = read_names(req, "format", ["json"]) or _accepts_json(req)
        names = req.route_params
        path = (names["collection_id"], names["item_id"], names["key"])
        download = grant_download(self.blobs, self.catalog, self.container, path)
        # The signature is a secret until it expires.
        headers = {"Cache-Control": "no-store"}
        if as_json:
            return respond(download, headers=headers)
        return func.HttpResponse(status_code=302, headers=headers | {"Location": download.url})


def _accepts_json(req: func.HttpRequest) -> bool:
    """Whether the client asks for JSON by name: `*/*` matches the file as well."""
    accepted = req.headers.get("Accept", "").split(",")
    return JSON in [each.partition(";")[0].strip().lower() for each in accepted]
