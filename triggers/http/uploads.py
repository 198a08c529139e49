"""Uploads: signed URLs with which a client writes a file to storage."""

import azure.functions as func

from core.ports import BlobStore
from core.uploads import (
    MAX_NAME_LENGTH,
    FolderList,
    Upload,
    UploadRequest,
    grant_upload,
    list_folders,
)
from core.validation import validate_body
from triggers.http.parameters import TEXT, Parameter
from triggers.http.payloads import read_json, respond
from triggers.http.route import Reply, RequestBody, Routes, route

PREFIX = Parameter(
    "prefix", "query", TEXT | {"maxLength": MAX_NAME_LENGTH}, "What the folders' names begin with"
)


class Uploads(Routes):
    """Uploads into one container, and the folders in it."""

    tag = "uploads"

    def __init__(self, blobs: BlobStore, container: str) -> None:
        self.blobs = blobs
        self.container = container

    @route(
        "POST",
        "uploads",
        "Get a short-lived URL to which one file can be uploaded",
        {
            201: Reply("PUT the file to `upload_url`", (Upload,)),
            200: Reply("The blob already has these bytes", (Upload,)),
        },
        problems=(400, 404, 413, 422, 503),
        body=RequestBody(UploadRequest, {"name": "folder/raster.tif", "size": 12_345_678}),
    )
    def grant_upload(self, req: func.HttpRequest) -> func.HttpResponse:
        request = validate_body(UploadRequest, read_json(req))
        upload = grant_upload(self.blobs, self.container, request)
        # Anyone who has the URL can write the blob until it expires.
        headers = {"Cache-Control": "no-store"}
        return respond(upload, 200 if upload.is_there else 201, headers)

    @route(
        "GET",
        "uploads/folders",
        "List the folders of one level of the container that uploads go to",
        {200: Reply("The folders", (FolderList,))},
        problems=(404, 422, 503),
        parameters=(PREFIX,),
    )
    def list_folders(self, req: func.HttpRequest) -> func.HttpResponse:
        return respond(list_folders(self.blobs, self.container, req.params.get("prefix", "")))
