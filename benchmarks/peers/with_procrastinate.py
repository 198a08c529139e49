"""procrastinate: without fan-in, each task counts down and the last one defers the next step."""

# mypy: disable-error-code="import-not-found,untyped-decorator"

import asyncio
import itertools
import time
from importlib.metadata import version

from procrastinate import App, PsycopgConnector
from psycopg_pool import AsyncConnectionPool

from peers.fan import Fan, Options, parse_options, report

COUNT_DOWN = "UPDATE countdowns SET open = open - 1 WHERE job = %s RETURNING open"


class Bench:
    """A worker and the jobs for it, in one process and one event loop."""

    def __init__(self, options: Options, pool: AsyncConnectionPool) -> None:
        self._workers = options.workers
        self._pool = pool
        connector = PsycopgConnector(
            conninfo=options.database_url, min_size=options.workers, max_size=options.workers + 4
        )
        self.app = App(connector=connector)
        self._greet = self.app.task(name="greet")(self.greet)
        self._join = self.app.task(name="join")(self.join)
        self._last_ended = 0.0
        self._joined: asyncio.Queue[float] = asyncio.Queue()

    async def greet(self, job: int) -> None:
        """Do nothing, then decrease the counter."""
        ended = time.time()
        async with self._pool.connection() as connection:
            row = await (await connection.execute(COUNT_DOWN, (job,))).fetchone()
            assert row is not None
            if row[0] == 0:
                self._last_ended = ended
                await self._join.configure(connection=connection).defer_async()

    async def join(self) -> None:
        """The step that waits for all tasks."""
        self._joined.put_nowait(time.time())

    async def prepare(self) -> "asyncio.Task[None]":
        """Create the tables and start the worker."""
        await self._pool.open()
        await self.app.open_async()
        await self.app.schema_manager.apply_schema_async()
        async with self._pool.connection() as connection:
            await connection.execute("CREATE TABLE countdowns (job int PRIMARY KEY, open int)")
        work = self.app.run_worker_async(concurrency=self._workers, install_signal_handlers=False)
        return asyncio.create_task(work)

    async def fan(self, job: int, tasks: int) -> Fan:
        """Store all tasks with one statement and wait for the last step."""
        started = time.time()
        async with self._pool.connection() as connection:
            await connection.execute("INSERT INTO countdowns VALUES (%s, %s)", (job, tasks))
        await self._greet.batch_defer_async(*({"job": job} for _ in range(tasks)))
        async with self._pool.connection() as connection:
            # Autovacuum comes too late for a new database: its queue is sorted for each task then.
            await connection.execute("ANALYZE procrastinate_jobs")
        joined = await self._joined.get()
        return Fan(started, self._last_ended, joined)


async def close(bench: Bench, pool: AsyncConnectionPool, worker: "asyncio.Task[None]") -> None:
    worker.cancel()
    await asyncio.wait([worker])
    await bench.app.close_async()
    await pool.close()


def main() -> None:
    options = parse_options()
    with asyncio.Runner() as runner:
        pool = AsyncConnectionPool(
            options.database_url, min_size=options.workers, max_size=options.workers, open=False
        )
        bench = Bench(options, pool)
        worker = runner.run(bench.prepare())
        jobs = itertools.count()
        report(
            options,
            version("procrastinate"),
            lambda tasks: runner.run(bench.fan(next(jobs), tasks)),
        )
        runner.run(close(bench, pool, worker))


if __name__ == "__main__":
    main()
