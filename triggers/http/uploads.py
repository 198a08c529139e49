"""Uploads over HTTP: an address in storage that can write one blob."""

import azure.functions as func

from core.ports import BlobStore
from core.uploads import UploadRequest, grant_upload
from core.validation import validate_body
from triggers.http.answers import answering_errors, json_answer, json_body


def blueprint(blobs: BlobStore, container: str) -> func.Blueprint:
    """The upload route into one container."""
    bp = func.Blueprint()

    @bp.route("uploads", methods=["POST"])
    @answering_errors
    def grant(req: func.HttpRequest) -> func.HttpResponse:
        upload = grant_upload(blobs, container, validate_body(UploadRequest, json_body(req)))
        # The address is a secret while it lasts.
        status = 200 if upload.is_there else 201
        return json_answer(upload, status, {"Cache-Control": "no-store"})

    return bp
