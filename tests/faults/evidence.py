"""What the checks of a run use: tables, catalogue and blobs, read once."""

import hashlib
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from local.stack.environment import SILVER
from tests.faults.system import System
from tests.faults.workload import Users

Rows = list[dict[str, Any]]
Json = dict[str, Any]

LIVE_OUTPUTS = """
    SELECT output_id, name, etag, job_id, item_id FROM app.outputs
     WHERE written_at IS NOT NULL AND superseded_at IS NULL AND removed_at IS NULL"""
FAILURES = """
    SELECT job_id, array_agg(error->>'code') AS codes FROM app.tasks
     WHERE status = 'failed' GROUP BY job_id"""
PIECES = """
    SELECT t.result->>'piece_blob' AS name FROM app.tasks t JOIN app.jobs j USING (job_id)
     WHERE t.task_type = 'create_member' AND t.status = 'completed'
       AND j.status IN ('failed', 'completed_with_errors')"""


@dataclass
class Evidence:
    """The data that the checks use, read once."""

    system: System
    users: Users
    checksums: dict[str, str]
    """Of the COG of each raster, made without faults."""
    jobs: dict[str, Json]
    failures: dict[str, set[str]]
    """The codes of a job's failed tasks."""
    items: dict[str, Json]
    collections: dict[str, Json]
    blobs: dict[str, bytes]
    etags: dict[str, str]
    outputs: dict[str, Json]
    """The live rows of the registry by the names of their blobs."""
    pieces: set[str]
    """The names of the pieces that a retry would use."""

    @property
    def cogs(self) -> dict[str, bytes]:
        """Blobs outside of the folders for other files than COGs of items."""
        return {name: each for name, each in self.blobs.items() if not name.startswith(".")}

    def members(self, collection_id: str) -> dict[str, Json]:
        """The items of a collection."""
        found = self.items.items()
        return {name: item for name, item in found if item["collection"] == collection_id}


def gather(
    system: System, users: Users, checksums: dict[str, str], connection: psycopg.Connection[Any]
) -> Evidence:
    jobs = rows(connection, "SELECT * FROM app.jobs")
    items = rows(connection, "SELECT id, collection, content FROM pgstac.items")
    collections = rows(connection, "SELECT id, content FROM pgstac.collections")
    with system.storage as storage:
        container = storage.get_container_client(SILVER)
        listed = list(container.list_blobs(include=["snapshots"]))
        etags = {str(blob.name): str(blob.etag).strip('"') for blob in listed}
        blobs = {name: container.download_blob(name).readall() for name in etags}
    return Evidence(
        system, users, checksums,
        jobs={row["job_id"]: row for row in jobs},
        failures={row["job_id"]: set(row["codes"]) for row in rows(connection, FAILURES)},
        items={row["id"]: row["content"] | {"collection": row["collection"]} for row in items},
        collections={row["id"]: row["content"] for row in collections},
        blobs=blobs,
        etags=etags,
        outputs={row["name"]: row for row in rows(connection, LIVE_OUTPUTS)},
        pieces={row["name"] for row in rows(connection, PIECES)},
    )  # fmt: skip


def rows(connection: psycopg.Connection[Any], query: str) -> Rows:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode()).fetchall()


def digest(content: bytes) -> str:
    """A multihash of SHA-256, as `file:checksum` has it."""
    return "1220" + hashlib.sha256(content).hexdigest()
