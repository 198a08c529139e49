"""The folder of the members of collections, whose files are replaced while jobs run."""

from contextlib import suppress

from azure.core.exceptions import AzureError, ResourceNotFoundError

from infrastructure.retrying import retry_transient
from local.stack.environment import BRONZE
from tests.faults.plan import MEMBERS
from tests.faults.rasters import TILES, make_bad_members, make_tile, tile_name
from tests.faults.system import System


def put_members(system: System, version: int) -> None:
    """All members in one version, and those that cannot become COGs."""
    for number in range(TILES):
        put_tile(system, number, version)
    for name, content in make_bad_members().items():
        put(system, MEMBERS + name, content)


def put_tile(system: System, number: int, version: int) -> None:
    put(system, MEMBERS + tile_name(number), make_tile(number, version))


def delete_tile(system: System, number: int) -> None:
    """Delete a tile, also while storage is down for some seconds."""

    def delete() -> None:
        with system.storage as storage, suppress(ResourceNotFoundError):
            storage.get_blob_client(BRONZE, MEMBERS + tile_name(number)).delete_blob()

    retry_transient("storage", delete, (AzureError,))


def put(system: System, name: str, content: bytes) -> None:
    """Upload a source over what is there, also while storage is down for some seconds."""

    def upload() -> None:
        with system.storage as storage:
            storage.get_blob_client(BRONZE, name).upload_blob(content, overwrite=True)

    retry_transient("storage", upload, (AzureError,))
