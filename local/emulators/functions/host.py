"""The host: starts and stops the triggers of one app."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.servicebus.aio import ServiceBusClient
from starlette.applications import Starlette

from local.emulators.functions.admin import Admin
from local.emulators.functions.appsettings import (
    function_keys,
    invoker_name,
    load_local_settings,
    master_key,
)
from local.emulators.functions.calls import Calls
from local.emulators.functions.hostjson import HostJson, read_host_json
from local.emulators.functions.http import HttpFunctions, http_triggers
from local.emulators.functions.invoke import Invoker, SdkInvoker
from local.emulators.functions.keys import Keys
from local.emulators.functions.servicebus import (
    Outage,
    QueueListener,
    QueueTrigger,
    open_client,
    queue_trigger,
)
from local.emulators.functions.timers import Timer, timer_trigger
from local.errors import LocalError

logger = logging.getLogger(__name__)


class Host:
    """The triggers of one app. `app` serves HTTP; `start` and `stop` control the others."""

    def __init__(self, app_dir: Path, on_timeout: Callable[[], None] = lambda: None) -> None:
        """Read host.json, import the app and check its functions. Raises LocalError."""
        app_dir = app_dir.resolve()
        load_local_settings(app_dir)
        self.options, self._unread = read_host_json(app_dir / "host.json")
        self._invoker = _make_invoker(app_dir)
        functions = list(self._invoker.functions.values())
        self._calls = Calls(self._invoker, self.options.function_timeout, on_timeout)
        service_bus = self.options.extensions.service_bus
        self._queues = [
            queue_trigger(function, service_bus)
            for function in functions
            if function.kind == "serviceBusTrigger"
        ]
        self._timer_triggers = [
            timer_trigger(function) for function in functions if function.kind == "timerTrigger"
        ]
        self._keys = Keys(function_keys(), master_key())
        self._https = http_triggers(functions, self.options.extensions.http.route_prefix)
        self._state = "Created"
        self._clients: dict[str, ServiceBusClient] = {}
        self._triggers: list[QueueListener | Timer] = []
        admin = Admin(functions, self._calls, self._keys, self.status)
        functions_app = HttpFunctions(self._https, self._calls, self._keys, self._is_stopping)
        self.app = Starlette(routes=admin.routes())
        self.app.router.default = functions_app  # a Mount does not match paths with a line break

    async def start(self) -> None:
        """Start the queue and timer triggers."""
        outages: dict[str, Outage] = {}
        for queue in self._queues:
            outage = outages.setdefault(queue.connection, Outage())
            self._triggers.append(self._listener(queue, outage))
        self._triggers += [Timer(trigger, self._calls) for trigger in self._timer_triggers]
        for trigger in self._triggers:
            trigger.start()
        self._state = "Running"
        self._announce()

    async def stop(self, grace: float) -> None:
        """Let calls finish for up to `grace` seconds, release other messages, close clients."""
        self._state = "Stopping"
        await asyncio.gather(*(trigger.stop(grace) for trigger in self._triggers))
        await asyncio.gather(*(client.close() for client in self._clients.values()))
        self._invoker.close()
        self._state = "Stopped"

    def status(self) -> dict[str, Any]:
        """The body of /admin/host/status."""
        functions = [
            {"name": function.name, "type": function.kind}
            for function in self._invoker.functions.values()
        ]
        return {
            "state": self._state,
            "invoker": self._invoker.kind,
            "functions": functions,
            "counts": self._calls.counts,
        }

    def _is_stopping(self) -> bool:
        return self._state in ("Stopping", "Stopped")

    def _listener(self, queue: QueueTrigger, outage: Outage) -> QueueListener:
        if queue.connection not in self._clients:
            self._clients[queue.connection] = open_client(queue.connection)
        client = self._clients[queue.connection]
        return QueueListener(
            queue, client, self.options.extensions.service_bus, self._calls, outage
        )

    def _announce(self) -> None:
        kinds = Counter(function.kind for function in self._invoker.functions.values())
        logger.info(
            "%d functions (%s): %s; options: %s",
            len(self._invoker.functions),
            ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
            ", ".join(sorted(self._invoker.functions)),
            _effective(self.options, self._invoker.kind),
        )
        for key in self._unread:
            logger.warning("host.json: nothing reads %s", key)
        needs_key = any(trigger.level != "anonymous" for trigger in self._https)
        if needs_key and not self._keys.function and not self._keys.master:
            logger.warning("no keys: set LOCAL_FUNCTION_KEYS=name=value to open the functions")


def _make_invoker(app_dir: Path) -> Invoker:
    if invoker_name() == "sdk":
        return SdkInvoker(app_dir)
    try:
        runtime = importlib.import_module("local.emulators.functions.runtime")
    except ImportError as error:
        raise LocalError(
            f"LOCAL_HOST_INVOKER=runtime needs azure-functions-runtime: {error}",
            hint="it installs on Python 3.13 and later only; leave the variable unset",
        ) from None
    invoker: Invoker = runtime.RuntimeInvoker(app_dir)
    return invoker


def _effective(options: HostJson, invoker: str) -> str:
    """The options in effect, in one line."""
    bus = options.extensions.service_bus
    return ", ".join(
        (
            f"invoker {invoker}",
            f"routePrefix {options.extensions.http.route_prefix!r}",
            f"functionTimeout {options.function_timeout or 'none'}",
            f"maxConcurrentCalls {bus.max_concurrent_calls}",
            f"maxMessageBatchSize {bus.max_message_batch_size}",
            f"prefetchCount {bus.prefetch_count}",
            f"autoCompleteMessages {bus.auto_complete_messages}",
            f"maxAutoLockRenewalDuration {bus.max_auto_lock_renewal_duration}",
        )
    )
