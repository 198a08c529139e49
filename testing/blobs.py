"""Blobs in memory."""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.errors import BlobChanged, BlobNotFound, BlocksMissing
from core.models import BlobProperties, BlobRef
from core.ports import AccessTier, BlobPage, Block


class MemoryBlobs:
    """The BlobStore port. Its URLs are well-formed, but nothing serves them."""

    def __init__(self, contents: Mapping[str, bytes] | None = None) -> None:
        """`contents` by name, such as `bronze-rasters/folder/name.tif`."""
        self.contents: dict[BlobRef, bytes] = {}
        self._properties: dict[BlobRef, BlobProperties] = {}
        self._staged: dict[BlobRef, dict[str, bytes]] = {}
        self._version = 0
        for name, content in (contents or {}).items():
            container, _, blob = name.partition("/")
            self._store(BlobRef(container=container, name=blob), content)

    def properties(self, ref: BlobRef) -> BlobProperties:
        if ref not in self._properties:
            raise BlobNotFound(f"blob {ref} not found")
        return self._properties[ref]

    def list(self, container: str, prefix: str) -> Iterable[BlobProperties]:
        return [
            found
            for ref, found in sorted(self._properties.items(), key=lambda item: item[0].name)
            if ref.container == container and ref.name.startswith(prefix)
        ]

    def list_page(
        self, container: str, prefix: str, marker: str | None, *, limit: int, recursive: bool
    ) -> BlobPage:
        """The marker is the first name of the next page."""
        found: dict[str, list[BlobProperties]] = {}
        for each in self.list(container, prefix):
            folder, slash, _ = each.ref.name.removeprefix(prefix).partition("/")
            if slash and not recursive:
                found[f"{prefix}{folder}/"] = []
            else:
                found[each.ref.name] = [each]
        names = sorted(name for name in found if name >= (marker or ""))
        blobs = [each for name in names[:limit] for each in found[name]]
        folders = [name for name in names[:limit] if not found[name]]
        return BlobPage(blobs, names[limit] if len(names) > limit else None, folders)

    def list_root(self, container: str) -> Iterable[BlobProperties]:
        return [found for found in self.list(container, "") if "/" not in found.ref.name]

    def folders(self, container: str) -> Iterable[str]:
        names = [found.ref.name for found in self.list(container, "")]
        return sorted({name.partition("/")[0] + "/" for name in names if "/" in name})

    def url(self, ref: BlobRef) -> str:
        return f"https://storage.test/{ref}"

    def signed_url(self, ref: BlobRef, lifetime: timedelta) -> str:
        return f"{self.url(ref)}?sig=read"

    def upload_url(self, ref: BlobRef, lifetime: timedelta) -> str:
        return f"{self.url(ref)}?sig=write"

    def download(self, ref: BlobRef, path: Path) -> None:
        self.properties(ref)
        path.write_bytes(self.contents[ref])

    def upload(
        self,
        ref: BlobRef,
        path: Path,
        *,
        content_type: str,
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
    ) -> BlobProperties:
        return self._store(ref, path.read_bytes(), content_type, access_tier, metadata or {})

    def replace(
        self,
        ref: BlobRef,
        path: Path,
        etag: str | None,
        *,
        content_type: str,
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
        confirm: Callable[[], None] | None = None,
    ) -> BlobProperties:
        if confirm is not None:
            confirm()
        self._expect(ref, etag)
        return self._store(ref, path.read_bytes(), content_type, access_tier, metadata or {})

    def read(self, ref: BlobRef) -> bytes:
        self.properties(ref)
        return self.contents[ref]

    def write(self, ref: BlobRef, content: bytes) -> None:
        self._store(ref, content)

    def delete_folder(self, container: str, prefix: str, kept: Collection[str] = ()) -> int:
        found = [each.ref for each in self.list(container, prefix)]
        return sum(self.delete(ref) for ref in found if ref.name not in kept)

    def stage_block(self, ref: BlobRef, block_id: str, content: bytes) -> None:
        self._staged.setdefault(ref, {})[block_id] = content

    def staged_blocks(self, ref: BlobRef) -> Sequence[Block]:
        return [Block(name, len(content)) for name, content in self._staged.get(ref, {}).items()]

    def commit_blocks(
        self,
        ref: BlobRef,
        blocks: Sequence[Block],
        etag: str | None,
        *,
        content_type: str,
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
    ) -> BlobProperties:
        self._expect(ref, etag)
        staged = self._staged.get(ref, {})
        if not staged.keys() >= {block.block_id for block in blocks}:
            raise BlocksMissing(f"blob {ref}: blocks are not staged")
        content = b"".join(staged[block.block_id] for block in blocks)
        return self._store(ref, content, content_type, access_tier, metadata or {})

    def discard_blocks(self, ref: BlobRef) -> bool:
        if ref in self._properties:
            return False
        self._staged.pop(ref, None)
        return True

    def _expect(self, ref: BlobRef, etag: str | None) -> None:
        found = self._properties.get(ref)
        if (found.etag if found else None) != etag:
            raise BlobChanged(f"blob {ref} has changed")

    def delete(self, ref: BlobRef, etag: str | None = None) -> bool:
        found = self._properties.get(ref)
        if found is None or etag not in (None, found.etag):
            return False
        del self._properties[ref], self.contents[ref]
        return True

    def _store(
        self,
        ref: BlobRef,
        content: bytes,
        content_type: str = "application/octet-stream",
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
    ) -> BlobProperties:
        self._version += 1
        self._staged.pop(ref, None)
        self.contents[ref] = content
        self._properties[ref] = BlobProperties(
            ref=ref,
            etag=f'"{self._version}"',
            size=len(content),
            last_modified=datetime.now(UTC),
            content_type=content_type,
            content_md5=b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
            access_tier=access_tier or "Hot",
            metadata=metadata or {},
        )
        return self._properties[ref]
