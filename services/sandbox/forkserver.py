"""A process that has the raster modules in memory and forks once for every task.

services/sandbox/child.py starts it with one end of a socket pair and the modules to load. Each
request arrives as a socket, over which parent and child exchange lines of JSON, and perhaps a file
in memory for larger content (exchange.py). The child dies with this process, and this process ends
when its parent closes the socket pair.
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import FrameType
from typing import Any, get_type_hints

from pydantic import BaseModel

from core.errors import TaskFailed
from core.models import Record
from services.sandbox import exchange, landlock
from services.sandbox.read_counter import open_counter

_PR_SET_PDEATHSIG = 1


def serve(control: socket.socket) -> None:
    """Fork for each socket that arrives, and send the exit code of each child."""
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    children: dict[int, socket.socket] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    while True:
        ready = {key.fileobj for key, _ in selector.select()}
        if woken in ready:
            woken.recv(4096)
            _reap(children)
        if control in ready:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
            if not message:
                return
            _fork(descriptors, children, (control, woken, waker))


def _ignore(number: int, frame: FrameType | None) -> None:
    """Without a handler, nothing is written to the wake-up socket."""


def _fork(
    descriptors: list[int],
    children: dict[int, socket.socket],
    inherited: tuple[socket.socket, ...],
) -> None:
    """`descriptors` are those of the conversation and, if there is one, of the exchange file."""
    first, *exchanged = descriptors
    conversation = socket.socket(fileno=first)
    server = os.getpid()
    child = os.fork()
    if child:
        children[child] = conversation
        for descriptor in exchanged:
            os.close(descriptor)
        return
    # The child leaves by os._exit, so that it does not clean up what belongs to the server.
    status = 1
    try:
        _die_with(server)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in (*inherited, *children.values()):
            other.close()
        _silence()
        for descriptor in exchanged:
            exchange.receive(descriptor)
        _answer(conversation)
        status = 0
    finally:
        os._exit(status)


def _die_with(server: int) -> None:
    """See prctl(2), PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)


def _silence() -> None:
    """Discard what GDAL's libraries print, which may contain a signed URL."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _reap(children: dict[int, socket.socket]) -> None:
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        with children.pop(child) as conversation, suppress(OSError):
            code = os.waitstatus_to_exitcode(status)
            conversation.sendall(b"\n" + json.dumps({"exit": code}).encode() + b"\n")


def _answer(conversation: socket.socket) -> None:
    """Run the requested function within the requested limits, and send its result or error."""
    lock = Lock()

    def send(kind: str, *content: Any) -> None:
        line = json.dumps({kind: content}).encode() + b"\n"
        with lock:
            conversation.sendall(line)

    send("pid", os.getpid())
    with conversation.makefile("rb") as lines:
        order = json.loads(lines.readline())
    limit = order["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        function = _load(order["load"])
        folder = Path(order["folder"]) if order["folder"] else None
        open_counter()
        landlock.confine(folder, network=order["network"])
        request = get_type_hints(function)["request"].model_validate(order["request"])
        result = function(request, lambda fraction, text: send("progress", fraction, text))
        send("result", result.model_dump(mode="json"))
    except TaskFailed as error:
        send("failed", error.code, error.message)
    except MemoryError:
        send(
            "failed",
            "RASTER_OUT_OF_MEMORY",
            f"processing needs more than {limit >> 20} MB of memory",
        )
    except Exception as error:  # noqa: BLE001 - the parent raises it again
        send("error", type(error).__name__, str(error), traceback.format_exc())


def _load(name: str) -> Callable[[BaseModel, Callable[[float, str], None]], BaseModel]:
    """The function to run: "module:loader" names the function that returns it."""
    module, _, attribute = name.partition(":")
    function: Callable[[BaseModel, Callable[[float, str], None]], BaseModel]
    function = getattr(importlib.import_module(module), attribute)()
    return function


def main() -> None:
    descriptor, *modules = sys.argv[1:]
    for module in modules:
        importlib.import_module(module)
    _prepare_models()
    # A collection in a child would visit, and so copy, all that the modules hold.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(descriptor)) as control:
        serve(control)


def _prepare_models() -> None:
    """Build the validators of all models, which each child that needs them would otherwise do.

    https://pydantic.dev/docs/validation/latest/api/pydantic/config/, defer_build
    """
    for model in set(_subclasses(Record)):
        model.model_rebuild()


def _subclasses(model: type[Record]) -> Iterator[type[Record]]:
    for each in model.__subclasses__():
        yield each
        yield from _subclasses(each)


if __name__ == "__main__":
    main()
