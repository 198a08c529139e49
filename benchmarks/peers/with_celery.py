"""Celery: a chord, with one worker process per concurrent task.

Broker and results come from CELERY_BROKER_URL and CELERY_RESULT_BACKEND, which Celery reads.
"""

# mypy: disable-error-code="import-not-found,untyped-decorator"

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from celery import Celery, chord

from peers.fan import Fan, parse_options, report

app = Celery("bench")
# Three seconds are not enough to fetch the results of 10,000 tasks from PostgreSQL.
app.conf.result_chord_join_timeout = 600
app.conf.broker_connection_retry_on_startup = True


@app.task(name="greet")
def greet(number: int) -> float:
    """Do nothing and return the time."""
    return time.time()


@app.task(name="join")
def join(ended: list[float]) -> tuple[float, float]:
    """The step that waits for all tasks. Returns the end of the last one and the time."""
    joined = time.time()
    return max(ended), joined


@contextmanager
def running_worker(workers: int) -> Iterator[None]:
    """A running worker."""
    command = [sys.executable, "-m", "celery", "-A", "peers.with_celery", "worker"]
    options = ["--pool", "prefork", "--concurrency", str(workers), "--loglevel", "ERROR"]
    isolated = ["--without-gossip", "--without-mingle"]
    worker = subprocess.Popen([*command, *options, *isolated], stdout=sys.stderr)
    try:
        while not app.control.ping(timeout=0.2):
            assert worker.poll() is None, "the worker has ended"
        yield
    finally:
        worker.kill()  # nothing is left to finish, and a warm shutdown takes three seconds
        worker.wait()


def fan(tasks: int) -> Fan:
    """Send the tasks and wait for the result of the last step."""
    started = time.time()
    result = chord([greet.s(number) for number in range(tasks)])(join.s())
    # By id: a result that knows its parent first fetches each result of the parent.
    last_ended, joined = app.AsyncResult(result.id).get()
    return Fan(started, last_ended, joined)


def main() -> None:
    options = parse_options()
    with running_worker(options.workers):
        report(options, version("celery"), fan)


if __name__ == "__main__":
    main()
