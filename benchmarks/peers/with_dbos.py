"""DBOS: a workflow that enqueues a child for each task and then waits for each result."""

# mypy: disable-error-code="import-not-found,untyped-decorator"

import time
from importlib.metadata import version

from dbos import DBOS

from peers.fan import Fan, parse_options, report

QUEUE = "bench"
# Its default of a second would allow as many tasks a second as there are workers. With 1, 10 and
# 100 ms 500 tasks ran at 145, 222 and 68 a second.
POLLING_SECONDS = 0.01


@DBOS.workflow()
def greet(number: int) -> float:
    """Do nothing and return the time."""
    return time.time()


@DBOS.step()
def join(tasks: int) -> float:
    """The step that waits for all tasks."""
    return time.time()


@DBOS.workflow()
def fan(tasks: int) -> tuple[float, float, float]:
    """Every child and every result is stored; after a crash the workflow resumes."""
    started = time.time()
    handles = [DBOS.enqueue_workflow(QUEUE, greet, number) for number in range(tasks)]
    ended = [handle.get_result(polling_interval_sec=POLLING_SECONDS) for handle in handles]
    return started, max(ended), join(len(ended))


def main() -> None:
    options = parse_options()
    DBOS(
        config={
            "name": "bench",
            "system_database_url": options.database_url,
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    DBOS.register_queue(
        QUEUE, worker_concurrency=options.workers, polling_interval_sec=POLLING_SECONDS
    )
    report(options, version("dbos"), lambda tasks: Fan(*fan(tasks)))
    DBOS.destroy()


if __name__ == "__main__":
    main()
