"""Uploads: who may send which file, straight to storage."""

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.errors import BlobNotFound
from core.models import BlobName, BlobRef, ContainerName, Record
from core.ports import BlobStore

RASTERS = (".tif", ".tiff", ".gtiff", ".jp2", ".j2k", ".png", ".img", ".nc")
SIDECARS = (
    ".aux.xml", ".aux", ".msk", ".ovr", ".prj", ".wld", ".tfw", ".tifw", ".tiffw", ".pgw", ".pngw",
    ".j2w", ".jp2w", ".igw", ".rrd", ".ige", ".hdr",
)  # fmt: skip
MAX_UPLOAD_BYTES = 128 * 2**30
BLOCK_BYTES = 8 * 2**20
MIN_BYTES_PER_SECOND = 2**20


class UploadRequest(BaseModel):
    """A file that someone wants to send."""

    model_config = ConfigDict(extra="forbid")

    name: BlobName = Field(max_length=1024, description="the blob's name, with its folder")
    size: int = Field(ge=1, le=MAX_UPLOAD_BYTES, strict=True, description="in bytes")
    content_md5: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9+/]{22}==$",
        description="Base64 of the MD5; the same bytes are not asked for twice",
    )

    @field_validator("name")
    @classmethod
    def _is_raster(cls, value: str) -> str:
        if value != value.strip():
            raise ValueError("a raster's name neither begins nor ends with a space")
        if not value.lower().endswith(RASTERS + SIDECARS):
            raise ValueError(
                f"a raster's name ends in {', '.join(RASTERS)},"
                " or in what the files beside it end in, such as .aux.xml and .tfw"
            )
        return value


class Upload(Record):
    """Where to send the file: PUT it, or its blocks and then their list.

    Blocks need ids of the sender's own, for two who send to one name at once would mix theirs.
    Without `upload_url` the same bytes are there already. The address can write this one blob,
    read nothing, and must be kept from others while it lasts.
    """

    container_name: ContainerName
    blob_name: BlobName
    is_there: bool
    upload_url: str | None
    expires_at: datetime | None
    block_size: int = BLOCK_BYTES


def grant_upload(blobs: BlobStore, container: str, request: UploadRequest) -> Upload:
    """An address that can write this one blob, unless it holds those bytes already."""
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


def _is_there(blobs: BlobStore, ref: BlobRef, request: UploadRequest) -> bool:
    if request.content_md5 is None:
        return False
    try:
        found = blobs.properties(ref)
    except BlobNotFound:
        return False
    return (found.size, found.content_md5) == (request.size, request.content_md5)
