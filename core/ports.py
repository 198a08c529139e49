"""What the rules ask of the world. infrastructure/ has the adapters, tests the contract."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol

from core.models import BlobProperties, BlobRef, Deployment, Json

AccessTier = Literal["Hot", "Cool", "Cold"]
ItemChange = Literal["created", "updated", "unchanged"]


class BlobStore(Protocol):
    """Blobs by name. A missing one raises BlobNotFound or ContainerNotFound."""

    def properties(self, ref: BlobRef) -> BlobProperties: ...

    def list(self, container: str, prefix: str) -> Iterable[BlobProperties]: ...

    def url(self, ref: BlobRef) -> str:
        """The plain https address, without a signature."""

    def signed_url(self, ref: BlobRef, lifetime: timedelta) -> str:
        """An address anyone can read for `lifetime`. Never stored, queued or logged."""

    def download(self, ref: BlobRef, path: Path) -> None:
        """Write the blob to `path` in blocks; memory stays flat."""

    def upload(
        self,
        ref: BlobRef,
        path: Path,
        *,
        content_type: str,
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
    ) -> BlobProperties:
        """Send the file in blocks, then show it at once: a reader never sees half of it."""

    def delete(self, ref: BlobRef) -> bool:
        """Remove the blob. False when there was none."""


class Catalog(Protocol):
    """STAC items in pgSTAC."""

    def put_item(self, item: Json, collection: Json) -> ItemChange:
        """Store the item, its collection when missing, and widen the collection's extent."""

    def get_item(self, collection_id: str, item_id: str) -> Json | None: ...

    def delete_item(self, collection_id: str, item_id: str) -> bool: ...


class Scratch(Protocol):
    """Local disk for the work of one task."""

    def folder(self, name: str, bytes_needed: int) -> AbstractContextManager[Path]:
        """An empty folder, removed at the end, also after a kill. Raises ScratchFull."""


@dataclass(frozen=True)
class Ports:
    """What handlers and jobs reach the world through."""

    blobs: BlobStore
    catalog: Catalog
    scratch: Scratch
    deployment: Deployment
