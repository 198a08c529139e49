"""The real app with fail points around every effect, for the hosts of the fault suite."""

import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from azure.servicebus import ServiceBusSender

from infrastructure.blob_storage import AzureBlobs
from tests.faults.points import FILE, FULL_DISK_FILE, Points, When

points = Points(Path(os.environ[FILE]))
full_disk = Path(os.environ[FULL_DISK_FILE])


def sever(connection: psycopg.Connection[Any], when: When) -> None:
    """Cut a connection. After a statement, its response is lost."""
    with socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
    if when == "after":
        raise psycopg.OperationalError("the connection was cut before the answer came")


def refuse(when: When) -> None:
    raise ConnectionResetError(f"the connection was cut {when} the request")


def name_of(query: Any) -> str:
    """The function that a statement calls, in app or pgstac; otherwise its first word."""
    text = query.decode() if isinstance(query, bytes) else str(query)
    found = re.search(r"app\.(\w+)\(|SELECT (\w+_(?:items?|collection))\(", text)
    return (found[1] or found[2]) if found else (text.split() or [""])[0].upper()


def guard_statements(cursor: type[psycopg.Cursor[Any]]) -> None:
    execute, copy = cursor.execute, cursor.copy

    def guarded_execute(self: psycopg.Cursor[Any], query: Any, *args: Any, **kwargs: Any) -> Any:
        with points.passage(name_of(query), lambda when: sever(self.connection, when)):
            return execute(self, query, *args, **kwargs)

    def guarded_copy(self: psycopg.Cursor[Any], *args: Any, **kwargs: Any) -> Any:
        with points.passage("copy", lambda when: sever(self.connection, when)):
            return copy(self, *args, **kwargs)

    cursor.execute = guarded_execute  # type: ignore[method-assign]
    cursor.copy = guarded_copy  # type: ignore[method-assign]


def guard_transactions(transaction: type[psycopg.Transaction]) -> None:
    leave = transaction.__exit__

    def guarded(self: psycopg.Transaction, *error: Any) -> Any:
        connection: psycopg.Connection[Any] = self.connection
        with points.passage("commit", lambda when: sever(connection, when)):
            return leave(self, *error)

    transaction.__exit__ = guarded  # type: ignore[method-assign]


def guard(owner: type, method: str, operation: str) -> None:
    original: Callable[..., Any] = getattr(owner, method)

    def guarded(*args: Any, **kwargs: Any) -> Any:
        with points.passage(operation, refuse):
            return original(*args, **kwargs)

    setattr(owner, method, guarded)


def guard_disk() -> None:
    """Report a full scratch disk while the file exists."""
    usage = shutil.disk_usage

    def guarded(path: Any) -> Any:
        found = usage(path)
        return found._replace(free=0) if full_disk.exists() else found

    shutil.disk_usage = guarded


guard_statements(psycopg.Cursor)
guard_transactions(psycopg.Transaction)
guard(ServiceBusSender, "send_messages", "send")
for each in ("replace", "download", "delete", "stage_block", "commit_blocks"):
    guard(AzureBlobs, each, each)
guard_disk()

from function_app import app  # noqa: E402 - after the calls that its adapters use were wrapped

__all__ = ["app"]
