"""What the size of the catalogue costs: `./dev bench catalog [--sizes 0 50000 1000000]`.

Items, outputs and jobs are loaded in bulk, a tenth of them into the collection that is measured.
Then jobs are submitted, and items published, replaced, unpublished and searched for, each several
times over PostgreSQL with pgSTAC, and published in batches; blobs are in memory. With the last
size, the plan of each query of the registry is printed: what it reads, and by which index.
"""

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from _results import Row, keep
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool
from rich.console import Console
from rich.table import Table

from core.handler import TaskContext
from core.lease import Leases
from core.machine import CoreMachine
from core.models import (
    BlobRef,
    Deployment,
    ItemName,
    JobRecord,
    Json,
    OutputTarget,
    PublishedItem,
    TaskRecord,
    WrittenBlob,
)
from core.ports import Ports
from core.registry import Registry
from infrastructure.database import open_pool, transaction
from infrastructure.migrate import migrate
from infrastructure.outputs import PostgresOutputs
from infrastructure.pgstac import PgstacCatalog
from infrastructure.postgres import PostgresState
from jobs import ALL_JOBS
from jobs.unpublish_raster import Parameters, UnpublishRaster
from local.stack.postgres import Cluster
from services.stac.model import OWNER
from services.unpublish_item import unpublish_item
from testing.blobs import MemoryBlobs
from testing.bus import MemoryBus

SIZES = (0, 50_000, 1_000_000)
COLLECTIONS = 10
MEASURED = "bulk-0"
WARM_UP, REPEATS = 5, 30
BATCH = 200
LINKS = [
    {"rel": rel, "href": f"https://titiler.test/{rel}?{'x' * 200}", "type": "text/html"}
    for rel in ("collection", "self", "derived_from", "alternate", "tilejson", "xyz", "wmts")
]
"""As many as the items of rasters have, and about as long."""
MINUTE = timedelta(minutes=1)
BRONZE, SILVER = "bronze", "silver"
DEPLOYMENT = Deployment(
    silver_container=SILVER,
    default_collection=MEASURED,
    titiler_url="http://titiler.test",
    stac_url="http://stac.test",
)
SPAN = ("1990-01-01T00:00:00Z", "2026-01-01T00:00:00Z")

LOAD_ITEMS = """
    INSERT INTO pgstac.items (id, geometry, collection, datetime, end_datetime, content)
    SELECT 'bulk-' || i, ST_MakeEnvelope(x, y, x + 0.01, y + 0.01, 4326), %(collection)s, at, at,
           jsonb_build_object(
               'bbox', jsonb_build_array(x, y, x + 0.01, y + 0.01),
               'links', '[]'::jsonb,
               'properties', jsonb_build_object('datetime', at, 'proj:code', 'EPSG:4326'),
               'assets', jsonb_build_object('data', jsonb_build_object(
                   'href', 'https://storage.test/silver/bulk/' || i || '_cog_analysis.tif',
                   'file:checksum', md5(i::text))))
      FROM (SELECT i, (i * 7919) %% 35900 / 100.0 - 180 AS x,
                   (i * 104729) %% 17900 / 100.0 - 90 AS y,
                   timestamptz '1990-01-01' + (i * 613) %% 13000 * interval '1 day' AS at
              FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1, %(step)s) i) each
"""
LOAD_OUTPUTS = """
    INSERT INTO app.outputs (container, name, location, tier, source, source_etag, request,
                             generation, job_id, task_id, etag, checksum, size, cog,
                             collection_id, item_id, written_at)
    SELECT 'silver', 'bulk/' || i || '_cog_analysis.tif', 'bulk/' || i, 'analysis',
           'bronze/bulk/' || i || '.tif', md5(i::text), md5(i::text) || md5(i::text), 0,
           md5(i::text) || md5(i::text), md5(i::text) || '-1-2-0', md5('e' || i), md5('c' || i),
           1000, '{}', 'bulk-' || i %% 10, 'bulk-' || i, now()
      FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) i
"""
LOAD_LOCATIONS = """
    INSERT INTO app.output_locations (container, location, owner)
    SELECT 'silver', 'bulk/' || i, 'bronze/bulk/' || i || '.tif'
      FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) i
"""
LOAD_JOBS = """
    INSERT INTO app.jobs (job_id, job_type, version, parameters, total_stages, status, stage,
                          result, finished_at)
    SELECT md5(i::text) || md5(i::text), 'process_raster', 1, '{}', 3, 'completed', 3, '{}', now()
      FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) i
"""


class Bench:
    """A catalogue that grows, and the operations that are measured on it."""

    def __init__(self, pool: ConnectionPool, folder: Path) -> None:
        self.pool = pool
        self.size = 0
        self.blobs = MemoryBlobs()
        self.file = folder / "raster.tif"
        self.file.write_bytes(b"not read")
        self.state, self.outputs = PostgresState(pool), PostgresOutputs(pool)
        self.catalog = PgstacCatalog(pool)
        self.ports = Ports(
            blobs=self.blobs,
            catalog=self.catalog,
            scratch=cast(Any, None),
            outputs=self.outputs,
            deployment=DEPLOYMENT,
        )
        leases = Leases(self.state, MINUTE, MINUTE)
        self.machine = CoreMachine(Registry(ALL_JOBS), self.state, MemoryBus(), self.ports, leases)
        with transaction(pool) as conn:
            conn.execute("SET LOCAL search_path TO pgstac, public")
            for number in range(COLLECTIONS):
                made = make_collection(f"bulk-{number}")
                conn.execute("SELECT create_collection(%s)", (Jsonb(made),))
                conn.execute(
                    "SELECT check_partition(%s, tstzrange(%s, %s), tstzrange(%s, %s))",
                    (f"bulk-{number}", *SPAN, *SPAN),
                )

    def grow(self, size: int) -> None:
        """Load items, outputs, locations and jobs until there are `size` of each."""
        span = {"first": self.size, "last": size, "step": COLLECTIONS}
        if size > self.size:
            with transaction(self.pool) as conn:
                conn.execute("SET LOCAL search_path TO pgstac, public")
                for number in range(COLLECTIONS):
                    part = span | {
                        "first": self.size + number, "collection": f"bulk-{number}"
                    }  # fmt: skip
                    conn.execute(LOAD_ITEMS.encode(), part)
                for statement in (LOAD_OUTPUTS, LOAD_LOCATIONS, LOAD_JOBS):
                    conn.execute(statement.encode(), span)
        with self.pool.connection() as conn:
            conn.execute("VACUUM ANALYZE")
        self.size = size

    def submit(self, name: str) -> None:
        ref = BlobRef(container=BRONZE, name=f"new/{name}.tif")
        self.blobs.upload(ref, self.file, content_type="image/tiff")
        body = {"blob_name": ref.name, "container_name": BRONZE}
        assert self.machine.submit("process_raster", body).is_new

    def publish(self, name: str) -> None:
        """Everything that a job does in the database to publish a COG as an item."""
        output_id, made = self._write(name)
        self.outputs.published_at(SILVER, f"new/{name}")
        self.catalog.put_item(made, make_collection(MEASURED), OWNER, [output_id])

    def measure_batch(self) -> float:
        """Milliseconds for each item of a batch, with its output; the median of five batches."""
        times = []
        for repeat in range(5):
            written = [self._write(f"{self.size}-{repeat}-{n}") for n in range(BATCH)]
            items = [
                PublishedItem(item=made | {"links": LINKS}, outputs=(output,))
                for output, made in written
            ]
            started = time.perf_counter()
            changes = self.catalog.put_items(items, make_collection(MEASURED), OWNER)
            times.append(1000 * (time.perf_counter() - started) / BATCH)
            assert changes == ["created"] * BATCH
        return statistics.median(times)

    def _write(self, name: str) -> tuple[int, Json]:
        """Record the upload of a COG. Returns its output and its item."""
        job, task = self._claim()
        target = OutputTarget(
            blob=BlobRef(container=SILVER, name=f"new/{name}_cog_analysis.tif"),
            location=f"new/{name}", tier="analysis", source=f"{BRONZE}/new/{name}.tif",
            source_etag="e1", request=job.job_id, generation=0,
        )  # fmt: skip
        before = self.outputs.live_at(target.blob)
        output_id, _ = self.outputs.begin(target, task.task_id, task.attempt)
        assert output_id is not None
        written = WrittenBlob(
            etag=job.job_id, replaced_etag=before and before.etag, is_current=True,
            checksum=job.job_id, size=1000,
        )  # fmt: skip
        self.outputs.record(output_id, task.attempt, written, {"tier": "analysis"})
        return output_id, make_item(name, job.job_id)

    def unpublish(self, name: str) -> None:
        job = UnpublishRaster()
        wanted = Parameters.model_validate({"item_id": f"new-{name}", "collection_id": MEASURED})
        [task] = job.unpublish(job.prepare(wanted, self.ports))
        done = unpublish_item(task, TaskContext("task", 1, self.ports, Silent()))
        assert done.item == "removed"

    def search(self, name: str) -> None:
        """Ten items of the collection in a box of five degrees, newest first."""
        west, south = 5 * (hash(name) % 60) - 170, 5 * (hash(name) % 30) - 80
        query = {"collections": [MEASURED], "bbox": [west, south, west + 5, south + 5], "limit": 10}
        with transaction(self.pool) as conn:
            conn.execute("SET LOCAL search_path TO pgstac, public")
            conn.execute("SELECT search(%s)", (Jsonb(query),)).fetchone()

    def _claim(self) -> tuple[JobRecord, TaskRecord]:
        job_id = (uuid.uuid4().hex * 2)[:64]
        plain = JobRecord(job_id=job_id, job_type="bench", parameters={}, total_stages=1)
        _, job = self.state.submit_job(plain)
        task = TaskRecord(
            task_id=f"{job_id[:32]}-1-1-0", job_id=job_id, stage=1, task_index=0,
            task_type="bench", parameters={}, attempt_limit=3,
        )  # fmt: skip
        self.state.start_stage(job, 1, "bench", False, [task])
        [claim] = self.state.claim_tasks([task.task_id], MINUTE)
        return job, claim.task


class Silent:
    """The progress of a task that no job waits for."""

    def report(self, fraction: float, message: str = "") -> None:
        """Progress is not shown."""

    def confirm(self) -> None:
        """Nothing takes the task away."""


class ExplainedOutputs(PostgresOutputs):
    """The registry, which keeps the plan of each query instead of running it."""

    plans: dict[str, str]

    def _rows(self, query: str, *parameters: Any) -> list[DictRow]:
        with self.pool.connection() as conn:
            found = conn.execute(f"EXPLAIN (FORMAT JSON) {query}".encode(), parameters).fetchone()
        assert found is not None
        self.plans = {"plan": "; ".join(sorted(set(read_nodes(found[0][0]["Plan"]))))}
        return []


def read_nodes(plan: Json) -> Iterator[str]:
    """What each node of a plan reads: the index, or the table that it scans."""
    if "Index Name" in plan:
        yield str(plan["Index Name"])
    elif plan["Node Type"] == "Seq Scan":
        yield f"all of {plan['Relation Name']}"
    for child in plan.get("Plans", ()):
        yield from read_nodes(child)


def explain_queries(pool: ConnectionPool) -> dict[str, str]:
    """What the queries of the registry read, by the name of their method."""
    registry = ExplainedOutputs(pool)
    blob = BlobRef(container=SILVER, name="bulk/7_cog_analysis.tif")
    hour = timedelta(hours=1)
    calls: dict[str, Callable[[], object]] = {
        "live_at": lambda: registry.live_at(blob),
        "published_at": lambda: registry.published_at(SILVER, "bulk/7"),
        "of_request": lambda: registry.of_request("7" * 64),
        "of_item": lambda: registry.of_item(ItemName(collection_id=MEASURED, item_id="bulk-7")),
        "of_source": lambda: registry.of_source("bronze/bulk/7.tif"),
        "unpublished": lambda: registry.unpublished("bronze/bulk/7.tif"),
        "of_tasks": lambda: registry.of_tasks("7" * 32),
        "superseded_by": lambda: registry.superseded_by("7" * 64),
        "live_after": lambda: registry.live_after(SILVER, "bulk/", "bulk/7", 1000),
        "to_remove": lambda: registry.to_remove(hour, 1000),
        "to_withdraw": lambda: registry.to_withdraw(hour, 1000),
        "to_settle": lambda: registry.to_settle(hour, 1000),
    }
    plans = {}
    for name, call in calls.items():
        call()
        plans[name] = registry.plans["plan"]
    return plans


def measure(operation: Callable[[str], None], names: list[str]) -> float:
    """The median of the milliseconds that an operation takes, after a warm-up."""
    times = []
    for name in names:
        started = time.perf_counter()
        operation(name)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[WARM_UP:])


def measure_all(bench: Bench, repeats: int) -> Row:
    names = [f"{bench.size}-{number}" for number in range(WARM_UP + repeats)]
    return {
        "items": bench.size,
        "submit": measure(bench.submit, names),
        "publish": measure(bench.publish, names),
        "batch": bench.measure_batch(),
        "replace": measure(bench.publish, names),
        "search": measure(bench.search, names),
        "unpublish": measure(bench.unpublish, names),
    }


def make_collection(name: str) -> Json:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "description": "bulk",
        "license": "other",
        "links": [],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [list(SPAN)]},
        },
    }


def make_item(name: str, checksum: str) -> Json:
    ring = [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]
    href = f"https://storage.test/{SILVER}/new/{name}_cog_analysis.tif"
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"new-{name}",
        "collection": MEASURED,
        "bbox": [1, 1, 2, 2],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": "2020-01-01T00:00:00Z", OWNER: f"{BRONZE}/new/{name}.tif"},
        "assets": {"data": {"href": href, "file:checksum": checksum}},
        "links": [],
    }


@contextmanager
def running_database() -> Iterator[ConnectionPool]:
    """A temporary server with a migrated database."""
    with tempfile.TemporaryDirectory(prefix="geolathe-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        cluster = Cluster(folder / "postgres")
        cluster.start()
        try:
            url = cluster.create_database("catalog")
            migrate(url)
            with open_pool(url, max_size=4) as pool:
                yield pool
        finally:
            cluster.destroy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="numbers of items")
    parser.add_argument("--quick", action="store_true", help="only check that it works")
    options = parser.parse_args()
    sizes, repeats = (options.sizes, REPEATS) if not options.quick else ([0, 500], 3)
    console = Console()
    rows: list[Row] = []
    with running_database() as pool, tempfile.TemporaryDirectory() as folder:
        bench = Bench(pool, Path(folder))
        for size in sorted(sizes):
            bench.grow(size)
            rows.append(measure_all(bench, repeats))
            console.print(rows[-1])
        plans = explain_queries(pool)
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(f"{value:,.1f}" if key != "items" else f"{value:,}"
                        for key, value in row.items()))  # fmt: skip
    console.print(table)
    for name, plan in plans.items():
        console.print(f"{name}: {plan}", highlight=False)
    keep("catalog", rows, quick=options.quick)
    keep("catalog", [{"query": name, "reads": plan} for name, plan in plans.items()],
         quick=options.quick, part="plans")  # fmt: skip


if __name__ == "__main__":
    main()
