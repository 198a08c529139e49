"""Blobs in Azure Storage, or in its emulator Azurite."""

import uuid
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    DecodeError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
)
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobPrefix,
    BlobSasPermissions,
    BlobServiceClient,
    BlockState,
    ContentSettings,
    ExponentialRetry,
    StandardBlobTier,
    UserDelegationKey,
    generate_blob_sas,
)
from azure.storage.blob import BlobProperties as AzureProperties

from core.errors import (
    BlobChanged,
    BlobNotFound,
    BlocksMissing,
    ContainerNotFound,
    TaskFailed,
    Unavailable,
)
from core.models import BlobProperties, BlobRef
from core.ports import BLOCK_ID_LENGTH, AccessTier, BlobPage, Block
from core.telemetry import measure, operation
from infrastructure.identity import managed_identity

BLOCK = 8 * 2**20
CONCURRENCY = 4
KEY_LIFETIME = timedelta(hours=12)


class AzureBlobs:
    """The BlobStore port over one storage account.

    `account` is a connection string, or the account's URL: then the managed identity signs in.
    """

    def __init__(self, account: str) -> None:
        self._service = _connect(account)
        self._delegation: tuple[UserDelegationKey, datetime] | None = None

    def properties(self, ref: BlobRef) -> BlobProperties:
        with _translated(ref.container, ref.name):
            found = self._service.get_blob_client(ref.container, ref.name).get_blob_properties()
            return _properties(ref, found)

    def list(self, container: str, prefix: str) -> Iterable[BlobProperties]:
        with _translated(container, prefix):
            client = self._service.get_container_client(container)
            for found in client.list_blobs(name_starts_with=prefix):
                ref = BlobRef.model_construct(container=container, name=str(found.name))
                yield _properties(ref, found)

    def list_page(
        self, container: str, prefix: str, marker: str | None, *, limit: int, recursive: bool
    ) -> BlobPage:
        with _translated(container, prefix):
            client = self._service.get_container_client(container)
            list_blobs = client.list_blobs if recursive else client.walk_blobs
            listing = list_blobs(name_starts_with=prefix, results_per_page=limit)
            pages: Any = listing.by_page(marker)
            found = list(next(pages, ()))
            blobs = [
                _properties(BlobRef.model_construct(container=container, name=each.name), each)
                for each in found
                if not isinstance(each, BlobPrefix)
            ]
            folders = [str(each.name) for each in found if isinstance(each, BlobPrefix)]
            return BlobPage(blobs, pages.continuation_token or None, folders)

    def list_root(self, container: str) -> Iterable[BlobProperties]:
        with _translated(container, ""):
            client = self._service.get_container_client(container)
            for found in client.walk_blobs(delimiter="/"):
                if not isinstance(found, BlobPrefix):
                    ref = BlobRef.model_construct(container=container, name=str(found.name))
                    yield _properties(ref, found)

    def folders(self, container: str) -> Iterable[str]:
        with _translated(container, ""):
            client = self._service.get_container_client(container)
            for found in client.walk_blobs(delimiter="/"):
                if isinstance(found, BlobPrefix):
                    yield str(found.name)

    def url(self, ref: BlobRef) -> str:
        return f"{self._service.url.rstrip('/')}/{ref.container}/{quote(ref.name)}"

    def signed_url(self, ref: BlobRef, lifetime: timedelta) -> str:
        return self._sign(ref, lifetime, BlobSasPermissions(read=True))

    def upload_url(self, ref: BlobRef, lifetime: timedelta) -> str:
        return self._sign(ref, lifetime, BlobSasPermissions(create=True, write=True))

    def _sign(self, ref: BlobRef, lifetime: timedelta, permission: BlobSasPermissions) -> str:
        now = datetime.now(UTC)
        key = getattr(self._service.credential, "account_key", None)
        signature = generate_blob_sas(
            str(self._service.account_name),
            ref.container,
            ref.name,
            account_key=key,
            user_delegation_key=None if key else self._delegation_key(now + lifetime),
            permission=permission,
            start=now - timedelta(minutes=5),
            expiry=now + lifetime,
        )
        return f"{self.url(ref)}?{signature}"

    def download(self, ref: BlobRef, path: Path) -> None:
        with (
            operation(f"download from {ref.container}", "client"),
            _translated(ref.container, ref.name),
            path.open("wb") as file,
        ):
            client = self._service.get_blob_client(ref.container, ref.name)
            client.download_blob(max_concurrency=CONCURRENCY).readinto(file)
        measure("blob.read", path.stat().st_size)

    def upload(
        self,
        ref: BlobRef,
        path: Path,
        *,
        content_type: str,
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
    ) -> BlobProperties:
        client = self._service.get_blob_client(ref.container, ref.name)
        with (
            operation(f"upload to {ref.container}", "client"),
            _translated(ref.container, ref.name),
            path.open("rb") as file,
        ):
            client.upload_blob(
                file,
                length=path.stat().st_size,
                overwrite=True,
                content_settings=ContentSettings(content_type=content_type),
                standard_blob_tier=StandardBlobTier(access_tier) if access_tier else None,
                metadata=metadata,
                max_concurrency=CONCURRENCY,
            )
        measure("blob.written", path.stat().st_size)
        return self.properties(ref)

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
        """Uses block ids that are unique to this call. The SDK's ids are offsets, so two writers of
        one blob would mix their blocks."""
        with operation(f"upload to {ref.container}", "client"):
            with _translated(ref.container, ref.name):
                blocks = _stage_file(self._service.get_blob_client(ref.container, ref.name), path)
                if confirm is not None:
                    confirm()
            return self.commit_blocks(
                ref,
                blocks,
                etag,
                content_type=content_type,
                access_tier=access_tier,
                metadata=metadata,
            )

    def read(self, ref: BlobRef) -> bytes:
        with _translated(ref.container, ref.name):
            client = self._service.get_blob_client(ref.container, ref.name)
            content = bytes(client.download_blob(max_concurrency=1).readall())
        measure("blob.read", len(content))
        return content

    def write(self, ref: BlobRef, content: bytes) -> None:
        with _translated(ref.container, ref.name):
            client = self._service.get_blob_client(ref.container, ref.name)
            client.upload_blob(content, length=len(content), overwrite=True)
        measure("blob.written", len(content))

    def delete_folder(self, container: str, prefix: str, kept: Collection[str] = ()) -> int:
        with ThreadPoolExecutor(CONCURRENCY) as threads:
            found = (each.ref for each in self.list(container, prefix))
            return sum(threads.map(self.delete, (ref for ref in found if ref.name not in kept)))

    def stage_block(self, ref: BlobRef, block_id: str, content: bytes) -> None:
        with _translated(ref.container, ref.name):
            client = self._service.get_blob_client(ref.container, ref.name)
            client.stage_block(block_id, content, length=len(content))

    def staged_blocks(self, ref: BlobRef) -> Sequence[Block]:
        client = self._service.get_blob_client(ref.container, ref.name)
        try:
            with _translated(ref.container, ref.name):
                _, staged = client.get_block_list("uncommitted")
        except BlobNotFound:
            return []
        return [Block(str(block.id), int(block.size)) for block in staged]

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
        client = self._service.get_blob_client(ref.container, ref.name)
        expected: dict[str, Any] = {"match_condition": MatchConditions.IfMissing}
        if etag is not None:
            expected = {"match_condition": MatchConditions.IfNotModified, "etag": etag}
        with _translated(ref.container, ref.name):
            try:
                stored = client.commit_block_list(
                    [BlobBlock(block.block_id, BlockState.UNCOMMITTED) for block in blocks],
                    content_settings=ContentSettings(content_type=content_type),
                    standard_blob_tier=StandardBlobTier(access_tier) if access_tier else None,
                    metadata=metadata,
                    **expected,
                )
            except (ResourceExistsError, ResourceModifiedError) as error:
                _refuse_permanently(error, ref.container, ref.name)
                raise BlobChanged(f"{ref} was written by another task meanwhile") from error
            except HttpResponseError as error:
                # A commit drops the uncommitted blocks of every other writer.
                if _code(error) != "InvalidBlockList":
                    raise
                raise BlocksMissing(f"{ref}: storage dropped blocks of this upload") from error
        size = sum(block.size for block in blocks)
        measure("blob.written", size)
        return BlobProperties(
            ref=ref,
            etag=str(stored["etag"]).strip('"'),
            size=size,
            last_modified=stored["last_modified"],
            content_type=content_type,
            access_tier=access_tier,
            metadata=metadata or {},
        )

    def discard_blocks(self, ref: BlobRef) -> bool:
        """Storage has no request for this: an empty blob drops the blocks and is deleted."""
        if not self.staged_blocks(ref):
            return True
        try:
            empty = self.commit_blocks(ref, [], None, content_type="application/octet-stream")
        except BlobChanged:
            return False
        self.delete(ref, empty.etag)
        return True

    def delete(self, ref: BlobRef, etag: str | None = None) -> bool:
        client = self._service.get_blob_client(ref.container, ref.name)
        try:
            with _translated(ref.container, ref.name):
                if etag is None:
                    client.delete_blob(delete_snapshots="include")
                else:
                    client.delete_blob(
                        delete_snapshots="include",
                        etag=etag,
                        match_condition=MatchConditions.IfNotModified,
                    )
        except (BlobNotFound, ResourceModifiedError):
            return False
        return True

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    def check(self, container: str) -> dict[str, str]:
        """Check that the account responds and has the container."""
        with _translated(container, ""):
            self._service.get_container_client(container).get_container_properties()
        return {"container": container}

    def _delegation_key(self, needed_until: datetime) -> UserDelegationKey:
        """A key for signing URLs with managed identity; cached, because each one is a request."""
        if self._delegation is None or self._delegation[1] < needed_until:
            now = datetime.now(UTC)
            until = max(now + KEY_LIFETIME, needed_until)
            key = self._service.get_user_delegation_key(now - timedelta(minutes=5), until)
            self._delegation = (key, until)
        return self._delegation[0]


def _connect(account: str) -> BlobServiceClient:
    # The SDK's first delay is 15 s, too long for an outage of two seconds.
    retry = ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=5)
    if account.startswith("https://"):
        return BlobServiceClient(
            account,
            managed_identity(),
            max_single_put_size=BLOCK,
            max_block_size=BLOCK,
            max_single_get_size=BLOCK,
            retry_policy=retry,
        )
    return BlobServiceClient.from_connection_string(
        account,
        max_single_put_size=BLOCK,
        max_block_size=BLOCK,
        max_single_get_size=BLOCK,
        retry_policy=retry,
    )


def _stage_file(client: BlobClient, path: Path) -> list[Block]:
    """Send the file as uncommitted blocks, several at a time."""
    mine = uuid.uuid4().hex

    def stage(number: int) -> Block:
        with path.open("rb") as file:
            file.seek(number * BLOCK)
            content = file.read(BLOCK)
        block = Block(f"{mine}{number:0{BLOCK_ID_LENGTH - len(mine)}d}", len(content))
        client.stage_block(block.block_id, content)
        return block

    with ThreadPoolExecutor(CONCURRENCY) as threads:
        return list(threads.map(stage, range(-(-path.stat().st_size // BLOCK))))


def _properties(ref: BlobRef, found: AzureProperties) -> BlobProperties:
    return BlobProperties(
        ref=ref,
        etag=str(found.etag).strip('"'),
        size=int(found.size or 0),
        last_modified=found.last_modified,
        content_type=found.content_settings.content_type,
        content_md5=_base64(found.content_settings.content_md5),
        access_tier=str(found.blob_tier) if found.blob_tier else None,
        metadata=dict(found.metadata or {}),
    )


def _code(error: HttpResponseError) -> str:
    """The error code of storage, which the SDK returns as text or as an enum member."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _base64(content: bytearray | None) -> str | None:
    return b64encode(content).decode() if content else None


def _refuse_permanently(error: HttpResponseError, container: str, name: str) -> None:
    """Raise TaskFailed for a state of the blob that only its owner can change.

    https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
    """
    blob, code = f"{container}/{name}", _code(error)
    if DecodeError in {type(error), type(error.__cause__), type(error.__context__)}:
        raise TaskFailed(
            "BLOB_ENCODING_INVALID",
            f"{blob} cannot be decoded as its Content-Encoding property says: remove the property",
        ) from error
    if code in ("BlobArchived", "BlobBeingRehydrated"):
        raise TaskFailed(
            "BLOB_ARCHIVED", f"{blob} is in the Archive tier: set its tier to Hot or Cool first"
        ) from error
    if code == "LeaseIdMissing":
        raise TaskFailed(
            "BLOB_LEASED", f"{blob} is locked by a lease: release or break the lease first"
        ) from error
    if code in ("BlobImmutableDueToPolicy", "BlobImmutableDueToLegalHold"):
        raise TaskFailed(
            "BLOB_IMMUTABLE", f"{blob} is protected by an immutability policy or a legal hold"
        ) from error


@contextmanager
def _translated(container: str, name: str) -> Iterator[None]:
    """Raise Azure's errors as the product's: not found, permanent, or transient."""
    try:
        yield
    except HttpResponseError as error:
        code = _code(error)
        _refuse_permanently(error, container, name)
        if code in ("ContainerNotFound", "ContainerBeingDeleted"):
            raise ContainerNotFound(f"there is no container {container!r}") from None
        if error.status_code == 404:
            raise BlobNotFound(f"there is no blob {name!r} in {container!r}") from None
        if error.status_code == 412:
            raise
        raise Unavailable(
            f"storage refused {container}/{name}: {error.status_code} {code}"
        ) from error
    except AzureError as error:
        raise Unavailable(f"storage cannot be reached: {type(error).__name__}") from error
