"""What handlers of a member of a collection share."""

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import RequestError, TaskFailed
from core.models import BlobRef


@contextmanager
def naming(source: BlobRef) -> Iterator[None]:
    """Begin the messages of permanent failures with the name of the member."""
    try:
        yield
    except (RequestError, TaskFailed) as error:
        if source.name in error.message:
            raise
        raise TaskFailed(error.code, f"{source.name}: {error.message}") from error
