"""Calls functions with Microsoft's azure-functions-runtime, which needs Python 3.13.

Indexing, conversion, thread pool and Context are then the same as in Azure. The entry point that
is used takes and returns `Datum`s, so that gRPC and protobuf are not needed.
"""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from types import SimpleNamespace

from azure.functions.decorators.function_app import Function as SdkFunction
from azure_functions_runtime import handle_event, native_invocation
from azure_functions_runtime.bindings.meta import load_binding_registry
from azure_functions_runtime.utils.threadpool import (
    get_threadpool_executor,
    start_threadpool_executor,
)

from local.emulators.functions.appsettings import script_name
from local.emulators.functions.indexing import import_app, index
from local.emulators.functions.invoke import Datum, Metadata


class FunctionFailed(Exception):
    """A function raised an exception; the text is the traceback from the runtime."""


class _BindingInfo(SimpleNamespace):
    """Replaces the protobuf message of that name, of which the runtime reads two constants."""

    inout = 2
    out = 1


class RuntimeInvoker:
    """Calls functions with Microsoft's worker runtime."""

    kind = "runtime"

    def __init__(self, app_dir: Path) -> None:
        sdk_functions = import_app(app_dir, script_name())
        self.functions = {function.name: function for function in index(sdk_functions)}
        # The host logs each failure with the traceback from the runtime.
        logging.getLogger("azure.functions").setLevel(logging.CRITICAL)
        load_binding_registry()
        start_threadpool_executor()
        self._ids = _register(sdk_functions, app_dir)

    async def invoke(self, name: str, data: Datum, metadata: Metadata) -> Datum | None:
        argument = self.functions[name].argument
        ok, answer, _, reason, trace = await native_invocation.invocation_request_native(
            str(uuid.uuid4()), self._ids[name], [(argument, data)], metadata
        )
        if not ok:
            raise FunctionFailed(f"{reason}\n{trace}")
        return answer if answer is not None and answer.value is not None else None

    def close(self) -> None:
        get_threadpool_executor().shutdown(wait=False, cancel_futures=True)


def _register(sdk_functions: list[SdkFunction], app_dir: Path) -> dict[str, str]:
    """Register the functions with the runtime. Returns their ids by name."""
    handle_event.protos = SimpleNamespace(
        BindingInfo=_BindingInfo,
        RpcFunctionMetadata=SimpleNamespace,
        RpcRetryOptions=SimpleNamespace,
    )
    handle_event.index_function_app = lambda path: sdk_functions
    indexed = handle_event.index_functions(f"{script_name()}.py", str(app_dir))
    return {function.name: function.function_id for function in indexed}
