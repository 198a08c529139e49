"""`python -m local.emulators.functions APP_DIR --port N`: serve an app until a signal.

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 the app cannot be served, 124 a function ran longer
than functionTimeout. A thread cannot be stopped, so Azure ends the worker process in that case, as
does this host unless it gets --on-timeout continue.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn

from local.emulators.functions.host import Host
from local.errors import LocalError

EXIT_TIMEOUT = 124

logger = logging.getLogger("local.emulators.functions")


class Server(uvicorn.Server):
    """uvicorn without its signal handlers; `ready` is set once it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Shutdown:
    """The request to end the process: grace period in seconds, and exit code."""

    def __init__(self, grace: float) -> None:
        self.requested = asyncio.Event()
        self.grace = grace
        self.code = 0

    def on_signal(self) -> None:
        """Request a clean end; on a second signal, end at once."""
        if self.requested.is_set():
            leave(1)
        self.requested.set()

    def on_timeout(self) -> None:
        """End without a grace period, which the overdue thread would use up."""
        self.grace = 0.0
        self.code = EXIT_TIMEOUT
        self.requested.set()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the app and end the process with an exit code."""
    options = parse(arguments)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("azure").setLevel(logging.WARNING)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # output of the app appears at once
    try:
        code = asyncio.run(serve(options))
    except LocalError as error:
        report(error)
        code = 1
    leave(code)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.emulators.functions", description="Serve an Azure Functions app."
    )
    parser.add_argument("app_dir", type=Path, help="the folder of function_app.py and host.json")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free port")
    parser.add_argument(
        "--port-file", type=Path, help="receives the port once requests are accepted"
    )
    parser.add_argument(
        "--grace", type=float, default=10.0, help="seconds for running calls to finish"
    )
    parser.add_argument("--on-timeout", choices=("exit", "continue"), default="exit")
    options = parser.parse_args(arguments)
    if options.port_file:
        options.port_file = options.port_file.resolve()
    return options


async def serve(options: argparse.Namespace) -> int:
    """Run the host until a signal or a timeout, and return the exit code."""
    shutdown = Shutdown(options.grace)
    on_timeout = shutdown.on_timeout if options.on_timeout == "exit" else lambda: None
    host = Host(options.app_dir, on_timeout)
    listener = listen(options.port)
    server = Server(
        uvicorn.Config(
            host.app,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=240,  # like the front end in Azure
            timeout_graceful_shutdown=max(1, int(options.grace)),
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.on_signal)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await server.ready.wait()
    await host.start()
    announce(listener.getsockname()[1], options.port_file)
    await shutdown.requested.wait()
    logger.info("stopping")
    server.should_exit = True
    server.force_exit = shutdown.code != 0
    await asyncio.gather(serving, host.stop(shutdown.grace))
    logger.info("stopped")
    return shutdown.code


def listen(port: int) -> socket.socket:
    """Bind before anything starts, so that a port in use is reported clearly."""
    # With IPPROTO_TCP, asyncio sets TCP_NODELAY; otherwise responses wait for delayed ACKs.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        raise LocalError(f"port {port} cannot be used: {error.strerror}") from None
    return listener


def announce(port: int, port_file: Path | None) -> None:
    if port_file:
        draft = port_file.with_name(f"{port_file.name}.{os.getpid()}")
        draft.write_text(f"{port}\n", encoding="ascii")
        draft.replace(port_file)
    logger.info("listening on http://127.0.0.1:%d", port)


def report(error: LocalError) -> None:
    if error.__cause__ is not None:
        traceback.print_exception(error.__cause__)
    hint = f" ({error.hint})" if error.hint else ""
    logger.error("%s%s", error, hint)


def leave(code: int) -> None:
    """End the process even if threads of the app are running, as Azure ends its workers."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
