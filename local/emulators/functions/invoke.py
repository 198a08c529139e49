"""Calls functions with the converters of azure.functions.

Synchronous functions run on one thread pool, coroutines on the event loop, as in Azure's worker
(PYTHON_THREADPOOL_THREAD_COUNT). HTTP, queue and timer functions share that pool.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from azure.functions import meta

from local.emulators.functions.appsettings import script_name, thread_count
from local.emulators.functions.indexing import Function, import_app, index

Datum = meta.Datum
Metadata = Mapping[str, Datum]


class Invoker(Protocol):
    """The functions of an app, and how to call them."""

    kind: str
    functions: dict[str, Function]

    async def invoke(self, name: str, data: Datum, metadata: Metadata) -> Datum | None:
        """Call a function. Returns its HTTP response, if any. Its exceptions propagate."""

    def close(self) -> None:
        """Accept no more calls; running threads continue."""


@dataclass(frozen=True)
class TraceContext:
    """Empty, as in Azure without tracing."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RetryContext:
    """The retry context of a first call, because retry policies are not supported."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: None = None


@dataclass(frozen=True)
class Context:
    """The `context` argument of a function, with the attributes of func.Context."""

    invocation_id: str
    function_name: str
    function_directory: str
    thread_local_storage: threading.local
    trace_context: TraceContext = field(default_factory=TraceContext)
    retry_context: RetryContext = field(default_factory=RetryContext)


class SdkInvoker:
    """The converters and the thread pool of Azure's worker, on any Python."""

    kind = "sdk"

    def __init__(self, app_dir: Path) -> None:
        self._directory = str(app_dir)
        self._converters: Any = meta.get_binding_registry()
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(thread_count(), thread_name_prefix="function")
        functions = index(import_app(app_dir, script_name()))
        self.functions = {function.name: function for function in functions}

    async def invoke(self, name: str, data: Datum, metadata: Metadata) -> Datum | None:
        function = self.functions[name]
        invocation_id = str(uuid.uuid4())
        decode = self._converters.get(function.kind).decode
        arguments: dict[str, object] = {function.argument: decode(data, trigger_metadata=metadata)}
        if function.needs_context:
            arguments["context"] = Context(invocation_id, name, self._directory, self._local)
        result = await self._run(function, arguments, invocation_id)
        return self._encode(function, result)

    def _encode(self, function: Function, result: object) -> Datum | None:
        """The result for the host. Raises TypeError where Azure's worker does, which fails a call:
        nothing from an HTTP function, something from any other (azure-functions-python-worker#683).
        """
        if function.returns_http:
            try:
                answer: Datum = self._converters.get("http").encode(result, expected_type=None)
            except NotImplementedError:
                raise TypeError(
                    f"{function.name} returned {result!r}, not an HttpResponse or a str"
                ) from None
            return answer
        if result is not None:
            raise TypeError(f"{function.name} returned {result!r}, but it has no output binding")
        return None

    async def _run(
        self, function: Function, arguments: dict[str, object], invocation_id: str
    ) -> object:
        if function.is_async:
            return await function.call(**arguments)

        def call() -> object:
            self._local.invocation_id = invocation_id
            return function.call(**arguments)

        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
