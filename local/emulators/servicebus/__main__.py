"""`python -m local.emulators.servicebus CONFIG.json`: run the broker as a process."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from local.emulators.servicebus.broker import MAX_MESSAGE_SIZE, Broker
from local.emulators.servicebus.queue import QueueOptions
from local.emulators.servicebus.store import Store


class Configuration(BaseModel):
    """The content of the JSON file."""

    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65535)  # 0: choose a free port
    port_file: Path | None = None  # receives the port once the broker listens
    keys: dict[str, str] = Field(min_length=1)  # name -> key, as in a connection string
    queues: dict[str, QueueOptions]
    store: Path | None = None  # keeps the messages across restarts
    max_message_size: int = Field(MAX_MESSAGE_SIZE, ge=1024, le=100 << 20)


async def run(configuration: Configuration) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    broker = Broker(
        configuration.keys,
        configuration.queues,
        store=Store(configuration.store) if configuration.store else None,
        max_message_size=configuration.max_message_size,
    )
    port = await broker.listen(configuration.host, configuration.port)
    print(f"Service Bus broker listens on {configuration.host}:{port}", flush=True)
    if configuration.port_file:
        _write_atomically(configuration.port_file, f"{port}\n")
    await stop.wait()
    await broker.close()


def _write_atomically(path: Path, text: str) -> None:
    """Write a file in one step, so that a process that polls for it never reads half of it."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(run(Configuration.model_validate_json(Path(sys.argv[1]).read_text())))
