"""Uploads: signed URLs with which a client writes a file to storage."""

import azure.functions as func

from core.ports import BlobStore
from core.uploads import Upload, UploadRequest, grant_upload
from core.validation import validate_body
from triggers.http.payloads import read_json, respond
from triggers.http.route import Reply, RequestBody, Routes, route


class Uploads(Routes):
    """The upload route into one container."""

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
