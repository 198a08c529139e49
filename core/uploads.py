"""Uploads: signed URLs with which clients send files straight to storage."""

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.errors import BlobNotFound, FieldError, InvalidRequest
from core.models import BlobName, BlobRef, ContainerName, Record
from core.ports import BlobStore
from core.sidecars import APPENDED, REPLACED

RASTERS = (".tif", ".tiff", ".gtiff", ".jp2", ".j2k", ".png", ".img", ".nc")
MAX_UPLOAD_BYTES = 128 * 2**30
BLOCK_BYTES = 8 * 2**20
MAX_NAME_LENGTH = 1024
LEVEL = 5_000
"""How many names of a folder are read for a list of its folders: a page of the storage API."""
MIN_BYTES_PER_SECOND = 2**20


class UploadRequest(BaseModel):
    """A file to upload."""

    model_config = ConfigDict(extra="forbid")

    name: BlobName = Field(
        max_length=MAX_NAME_LENGTH, description="the blob's name, with its folder"
    )
    size: int = Field(ge=1, le=MAX_UPLOAD_BYTES, strict=True, description="in bytes")
    content_md5: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9+/]{22}==$",
        description="Base64 of the MD5; the upload is skipped if the blob has the same content",
    )

    @field_validator("name")
    @classmethod
    def _is_raster(cls, value: str) -> str:
        if value != value.strip():
            raise ValueError("the name must not begin or end with a space")
        if not value.lower().endswith((*RASTERS, *APPENDED, *REPLACED)):
            raise ValueError(
                f"the name must end in {', '.join(RASTERS)},"
                " or in the ending of a sidecar, such as .aux.xml or .tfw"
            )
        return value


class Upload(Record):
    """Where to send the file: PUT it, or PUT its blocks and then their list.

    Use random block ids: the blocks of two clients that upload to one name at once would mix
    otherwise. Without `upload_url` the blob already has this content. Anyone with the URL can write
    this one blob until it expires, so keep it secret.
    """

    container_name: ContainerName
    blob_name: BlobName
    is_there: bool
    upload_url: str | None
    expires_at: datetime | None
    block_size: int = BLOCK_BYTES


def grant_upload(blobs: BlobStore, container: str, request: UploadRequest) -> Upload:
    """A URL that can write this one blob, unless the blob already has the content."""
    ref = BlobRef(container=container, name=request.name)
    if _is_there(blobs, ref, request):
        return Upload(
            container_name=container,
            blob_name=ref.name,
            is_there=True,
            upload_url=None,
            expires_at=None,
        )
    lifetime = timedelta(minutes=15, seconds=request.size // MIN_BYTES_PER_SECOND)
    return Upload(
        container_name=container,
        blob_name=ref.name,
        is_there=False,
        upload_url=blobs.upload_url(ref, lifetime),
        expires_at=datetime.now(UTC) + lifetime,
    )


class FolderList(Record):
    """The folders of one level of the container that uploads go to."""

    container_name: ContainerName
    prefix: str
    folders: tuple[str, ...] = Field(description="their prefixes, which end with a slash")
    is_complete: bool = Field(
        description=f"false if only the first {LEVEL:,} names of the level were read"
    )


def list_folders(blobs: BlobStore, container: str, prefix: str) -> FolderList:
    """The folders whose names begin with the prefix. Reads one page, however many blobs there are.

    Raises InvalidRequest for a prefix that no blob can have.
    """
    if len(prefix) > MAX_NAME_LENGTH:
        message = f"a blob name has at most {MAX_NAME_LENGTH:,} characters"
        raise InvalidRequest([FieldError("prefix", prefix, message)])
    page = blobs.list_page(container, prefix, None, limit=LEVEL, recursive=False)
    return FolderList(
        container_name=container,
        prefix=prefix,
        folders=tuple(page.folders),
        is_complete=page.next_marker is None,
    )


def _is_there(blobs: BlobStore, ref: BlobRef, request: UploadRequest) -> bool:
    if request.content_md5 is None:
        return False
    try:
        found = blobs.properties(ref)
    except BlobNotFound:
        return False
    return (found.size, found.content_md5) == (request.size, request.content_md5)
