"""The registry of outputs in PostgreSQL. Atomic steps are functions in sql/functions."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from core.models import BlobRef, ItemName, Json, Output, OutputTarget, OverviewFile, WrittenBlob
from core.ports import Begun, Published, PublishOutcome, RecordOutcome
from infrastructure.database import retried, transaction

LIVE = "written_at IS NOT NULL AND superseded_at IS NULL AND removed_at IS NULL"

ABANDONED = """NOT EXISTS (
    SELECT FROM app.tasks t JOIN app.jobs j USING (job_id)
     WHERE t.task_id = o.task_id AND t.status IN ('queued', 'processing')
       AND j.status IN ('queued', 'processing'))"""

OF_ENDED_JOB = """NOT EXISTS (
    SELECT FROM app.jobs j WHERE j.job_id = o.job_id AND j.status IN ('queued', 'processing'))"""


class PostgresOutputs:
    """The OutputRegistry port over one connection pool."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool

    @retried
    def reserve_location(self, container: str, locations: Sequence[str], owner: str) -> str | None:
        query = "SELECT app.reserve_location(%s, %s, %s) AS location"
        [row] = self._rows(query, container, list(locations), owner)
        location: str | None = row["location"]
        return location

    @retried
    def begin(self, target: OutputTarget, task_id: str, attempt: int) -> Begun:
        [row] = self._rows(
            "SELECT * FROM app.begin_upload(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            task_id,
            attempt,
            target.blob.container,
            target.blob.name,
            target.location,
            target.tier,
            target.source,
            target.source_etag,
            target.request,
            target.generation,
        )
        return Begun(row["output_id"], row["superseded_by"])

    @retried
    def record(
        self, output_id: int, attempt: int | None, written: WrittenBlob, cog: Json | None
    ) -> RecordOutcome:
        [row] = self._rows(
            "SELECT app.record_output(%s, %s, %s, %s, %s, %s, %s, %s) AS outcome",
            output_id,
            attempt,
            written.etag,
            written.replaced_etag,
            written.is_current,
            written.checksum,
            written.size,
            None if cog is None else Jsonb(cog),
        )
        return RecordOutcome(row["outcome"])

    @retried
    def get(self, output_id: int) -> Output | None:
        return next(iter(self._outputs("output_id = %s", output_id)), None)

    @retried
    def live_at(self, blob: BlobRef) -> Output | None:
        found = self._outputs(f"container = %s AND name = %s AND {LIVE}", blob.container, blob.name)
        return next(iter(found), None)

    @retried
    def published_at(self, container: str, location: str) -> list[Output]:
        where = f"container = %s AND location = %s AND item_id IS NOT NULL AND {LIVE}"
        return self._outputs(f"{where} ORDER BY name", container, location)

    @retried
    def of_request(self, request: str) -> list[Output]:
        return self._outputs(f"request = %s AND {LIVE} AND {OF_ENDED_JOB}", request)

    @retried
    def of_item(self, item: ItemName) -> list[Output]:
        return self._outputs(
            """collection_id = %s AND item_id = %s AND written_at IS NOT NULL
               AND removed_at IS NULL ORDER BY output_id""",
            item.collection_id,
            item.item_id,
        )

    @retried
    def of_source(self, source: str) -> list[Output]:
        where = "source = %s AND removed_at IS NULL AND written_at IS NOT NULL"
        return self._outputs(f"{where} ORDER BY output_id", source)

    @retried
    def unpublished(self, source: str) -> list[Output]:
        where = f"source = %s AND item_id IS NULL AND {LIVE} AND {OF_ENDED_JOB}"
        return self._outputs(f"{where} ORDER BY output_id", source)

    @retried
    def of_tasks(self, prefix: str) -> list[Output]:
        # '~' sorts after every character of a task id: the condition is a range of the index.
        where = "task_id >= %s AND task_id < %s ORDER BY output_id"
        return self._outputs(where, prefix, f"{prefix}~")

    @retried
    def generation(self, request: str) -> int:
        [row] = self._rows(
            """WITH last AS (
                   SELECT DISTINCT ON (job_id, container, name)
                          job_id, generation, superseded_at, removed_at
                     FROM app.outputs
                    WHERE request = %s AND written_at IS NOT NULL AND NOT discarded
                    ORDER BY job_id, container, name, output_id DESC)
               SELECT coalesce(max(generation + CASE WHEN superseded_at IS NULL
                          AND removed_at IS NULL THEN 0 ELSE 1 END), 0) AS generation FROM last""",
            request,
        )
        return int(row["generation"])

    @retried
    def superseded_by(self, job_id: str) -> str | None:
        rows = self._rows(
            """WITH last AS (
                   SELECT DISTINCT ON (container, name) superseded_at, superseded_by
                     FROM app.outputs WHERE job_id = %s AND written_at IS NOT NULL
                    ORDER BY container, name, output_id DESC)
               SELECT superseded_by FROM last WHERE superseded_by <> %s
                ORDER BY superseded_at DESC LIMIT 1""",
            job_id,
            job_id,
        )
        return rows[0]["superseded_by"] if rows else None

    @retried
    def publish(self, output_ids: Sequence[int], item: ItemName) -> Published:
        with transaction(self.pool) as conn:
            return publish_outputs(conn, output_ids, item)

    @retried
    def supersede(self, output_id: int, *, is_gone: bool) -> bool:
        rows = self._rows(
            f"""UPDATE app.outputs
                   SET superseded_at = now(), removed_at = CASE WHEN %s THEN now() END,
                       is_stale = %s AND item_id IS NOT NULL
                 WHERE output_id = %s AND {LIVE} RETURNING output_id""",
            is_gone,
            is_gone,
            output_id,
        )
        return bool(rows)

    @retried
    def discard(self, output_id: int) -> bool:
        self._rows(
            """UPDATE app.outputs SET superseded_at = now(), discarded = true
                WHERE output_id = %s AND item_id IS NULL AND superseded_at IS NULL
                  AND removed_at IS NULL RETURNING output_id""",
            output_id,
        )
        found = self.get(output_id)
        return found is not None and found.discarded

    @retried
    def mark_removed(self, output_id: int) -> None:
        self._rows(
            """UPDATE app.outputs
                  SET removed_at = now(), superseded_at = coalesce(superseded_at, now())
                WHERE output_id = %s AND removed_at IS NULL RETURNING output_id""",
            output_id,
        )

    @retried
    def live_after(self, container: str, prefix: str, after: str, limit: int) -> list[Output]:
        # '0' sorts after '/', so that the names in a folder are a range of the index.
        within = "name < %s" if prefix else "%s = '' AND strpos(name, '/') = 0"
        return self._outputs(
            f"""container = %s AND name > %s AND {within} AND {LIVE}
                ORDER BY name LIMIT %s""",
            container,
            max(after, prefix),
            f"{prefix.removesuffix('/')}0" if prefix else "",
            limit,
        )

    @retried
    def folders(self, container: str) -> list[str]:
        rows = self._rows(
            f"""SELECT DISTINCT split_part(name, '/', 1) || '/' AS folder FROM app.outputs
                 WHERE container = %s AND strpos(name, '/') > 0 AND {LIVE} ORDER BY folder""",
            container,
        )
        return [row["folder"] for row in rows]

    @retried
    def is_abandoned(self, output_id: int) -> bool:
        return bool(self._outputs(f"output_id = %s AND {ABANDONED}", output_id))

    @retried
    def to_remove(self, grace: timedelta, limit: int) -> list[Output]:
        return self._outputs(
            """superseded_at <= now() - %s AND removed_at IS NULL
                ORDER BY superseded_at LIMIT %s""",
            grace,
            limit,
        )

    @retried
    def to_withdraw(self, grace: timedelta, limit: int) -> list[Output]:
        return self._outputs(
            f"""is_stale
                AND (superseded_at <= now() - %s OR superseded_at IS NULL AND {OF_ENDED_JOB})
                ORDER BY output_id LIMIT %s""",
            grace,
            limit,
        )

    @retried
    def to_settle(self, age: timedelta, limit: int) -> list[Output]:
        return self._outputs(
            f"""written_at IS NULL AND removed_at IS NULL AND superseded_at IS NULL
                AND begun_at <= now() - %s AND {ABANDONED} ORDER BY begun_at LIMIT %s""",
            age,
            limit,
        )

    @retried
    def purge(self, age: timedelta, limit: int) -> int:
        rows = self._rows(
            """DELETE FROM app.outputs WHERE output_id IN (
                   SELECT o.output_id FROM app.outputs o
                    WHERE o.removed_at < now() - %s AND NOT o.is_stale
                      AND NOT EXISTS (SELECT FROM app.jobs j WHERE j.job_id = o.job_id)
                    ORDER BY o.removed_at LIMIT %s FOR UPDATE SKIP LOCKED)
               RETURNING output_id""",
            age,
            limit,
        )
        return len(rows)

    @retried
    def add_overview(self, name: str, collection_id: str, task_id: str) -> None:
        self._execute(
            """INSERT INTO app.overviews (name, collection_id, task_id) VALUES (%s, %s, %s)
               ON CONFLICT (name) DO UPDATE SET changed_at = now()""",
            name,
            collection_id,
            task_id,
        )

    @retried
    def recheck_overviews(self, collection_id: str) -> None:
        with self.pool.connection() as conn:
            recheck_overviews(conn, collection_id)

    @retried
    def overviews_to_check(self, grace: timedelta, limit: int) -> list[OverviewFile]:
        rows = self._rows(
            """SELECT * FROM app.overviews WHERE changed_at <= now() - %s
                ORDER BY changed_at LIMIT %s""",
            grace,
            limit,
        )
        return [OverviewFile.model_validate(row) for row in rows]

    @retried
    def keep_overview(self, overview: OverviewFile) -> None:
        query = "UPDATE app.overviews SET changed_at = NULL WHERE name = %s AND changed_at = %s"
        self._execute(query, overview.name, overview.changed_at)

    @retried
    def forget_overview(self, name: str) -> None:
        self._execute("DELETE FROM app.overviews WHERE name = %s", name)

    def _outputs(self, where: str, *parameters: Any) -> list[Output]:
        rows = self._rows(f"SELECT o.* FROM app.outputs o WHERE {where}", *parameters)
        return [Output.model_validate(row) for row in rows]

    def _execute(self, query: str, *parameters: Any) -> None:
        with self.pool.connection() as conn:
            conn.execute(query.encode(), parameters)

    def _rows(self, query: str, *parameters: Any) -> list[DictRow]:
        with self.pool.connection() as conn, conn.cursor(row_factory=dict_row) as cur:
            return cur.execute(query.encode(), parameters).fetchall()


def recheck_overviews(conn: Connection[Any], collection_id: str) -> None:
    """Have the timer look at the overviews of a collection, in the caller's transaction."""
    query = "UPDATE app.overviews SET changed_at = now() WHERE collection_id = %s"
    conn.execute(query, (collection_id,))


def publish_outputs(conn: Connection[Any], output_ids: Sequence[int], item: ItemName) -> Published:
    """Publish the outputs of one item in the caller's transaction, which also writes the item."""
    [published] = publish_batch(conn, [(output_ids, item)])
    return published


def publish_batch(
    conn: Connection[Any], items: Sequence[tuple[Sequence[int], ItemName]]
) -> list[Published]:
    """Publish the outputs of several items in the caller's transaction, in their order."""
    rows = [{"outputs": list(outputs), **name.model_dump()} for outputs, name in items]
    found = conn.execute(
        """SELECT published.outcome, published.superseded_by, published.vacated
             FROM ROWS FROM (jsonb_to_recordset(%s)
                      AS (outputs bigint[], collection_id text, item_id text))
                  WITH ORDINALITY AS each (outputs, collection_id, item_id, position)
            CROSS JOIN LATERAL app.publish_outputs(
                      each.outputs, each.collection_id, each.item_id) published
            ORDER BY each.position""",
        (Jsonb(rows),),
    )
    return [
        Published(
            PublishOutcome(outcome),
            superseded_by,
            [ItemName(collection_id=collection, item_id=name) for collection, name in vacated],
        )
        for outcome, superseded_by, vacated in found
    ]
