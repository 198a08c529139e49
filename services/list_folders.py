"""List the folders at the top of a container: the parts of a reconciliation."""

from core.handler import TaskContext
from core.models import ContainerName, Record
from services.storage.naming import RESERVED


class ListFolders(Record):
    """The container, and the one folder that is wanted; None for all."""

    container: ContainerName
    folder: str | None = None


class Folders(Record):
    """Prefixes that end with a slash, and an empty one for the blobs outside folders."""

    prefixes: tuple[str, ...]


def list_folders(params: ListFolders, ctx: TaskContext) -> Folders:
    """The prefixes that together contain every COG and every output once."""
    if params.folder is not None:
        return Folders(prefixes=(f"{params.folder}/",))
    stored = set(ctx.blobs.folders(params.container)) - set(RESERVED)
    known = set(ctx.ports.outputs.folders(params.container))
    return Folders(prefixes=("", *sorted(stored | known)))
