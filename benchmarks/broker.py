"""Throughput of the local broker with the real SDK: `./dev bench broker [MESSAGES]`.

The broker runs as a process of its own, as `./dev up` starts it, without and with a store. Client
and broker share the machine's cores, so the figures include both.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from _results import Row, keep
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from rich.console import Console
from rich.table import Table

KEY_NAME, KEY = "RootManageSharedAccessKey", "YmVuY2htYXJr"
BODY = json.dumps({"task_id": "0" * 64, "run": 1, "pad": "x" * 150})


@contextmanager
def broker(store: bool) -> Iterator[str]:
    """The connection string of a running broker."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration = {
            "keys": {KEY_NAME: KEY},
            "queues": {"bulk": {"lock_duration": 60}},
            "store": str(folder / "messages") if store else None,
        }
        (folder / "broker.json").write_text(json.dumps(configuration))
        process = subprocess.Popen(
            [sys.executable, "-m", "local.emulators.servicebus", str(folder / "broker.json")],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip().rpartition(":")[2]
            yield (
                f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName={KEY_NAME};"
                f"SharedAccessKey={KEY};UseDevelopmentEmulator=true;"
            )
        finally:
            process.terminate()
            process.wait(10)
            process.stdout.close()


def rate(count: int, action: Callable[[], None]) -> float:
    """Messages per second."""
    start = time.perf_counter()
    action()
    return count / (time.perf_counter() - start)


def measure(connection_string: str, count: int) -> dict[str, float]:
    with (
        ServiceBusClient.from_connection_string(connection_string) as client,
        client.get_queue_sender("bulk") as sender,
        client.get_queue_receiver("bulk", max_wait_time=10) as receiver,
    ):
        sender.send_messages(ServiceBusMessage(BODY))  # opens the link, which takes half a second
        receiver.complete_message(receiver.receive_messages(1)[0])

        def send_one_by_one() -> None:
            for _ in range(count):
                sender.send_messages(ServiceBusMessage(BODY))

        def send_as_batch() -> None:
            sender.send_messages([ServiceBusMessage(BODY) for _ in range(count)])

        def receive(at_once: int) -> None:
            left = count
            while left:
                for message in receiver.receive_messages(min(at_once, left)):
                    receiver.complete_message(message)
                    left -= 1

        return {
            "send one by one": rate(count, send_one_by_one),
            "receive 50, complete each": rate(count, lambda: receive(50)),
            "send as a batch": rate(count, send_as_batch),
            "receive 1, complete": rate(count, lambda: receive(1)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench broker", description=__doc__)
    parser.add_argument("messages", nargs="?", type=int, default=2_000)
    parser.add_argument("--quick", action="store_true", help="only check that it works")
    options = parser.parse_args()
    count = 50 if options.quick else options.messages
    rows: list[Row] = []
    for store in (False, True):
        with broker(store) as connection_string:
            rows.append(
                {"store": "with" if store else "without", **measure(connection_string, count)}
            )
    table = Table("case", "without a store", "with one", title=f"messages/s, of {count:,}")
    for what in list(rows[0])[1:]:
        table.add_row(what, *(f"{row[what]:,.0f}" for row in rows))
    Console().print(table)
    keep("broker", rows, quick=options.quick)


if __name__ == "__main__":
    main()
