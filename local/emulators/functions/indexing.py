"""Finds the functions of an app and checks them as Azure's worker does.

`get_functions()` can be called only once per app, because a second call reports every name as a
duplicate. Its result is kept as `Function` records.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import azure.functions as func
from azure.functions import meta
from azure.functions.decorators.core import Binding, Trigger
from azure.functions.decorators.function_app import Function as SdkFunction

from local.errors import LocalError

SERVED = ("httpTrigger", "serviceBusTrigger", "timerTrigger")


@dataclass(frozen=True)
class Function:
    """One function, with its trigger in the terms of function.json."""

    name: str
    kind: str
    argument: str
    trigger: dict[str, Any]
    call: Callable[..., Any]
    needs_context: bool
    returns_http: bool

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.call)


def import_app(app_dir: Path, module_name: str) -> list[SdkFunction]:
    """Import the module and return the SDK's functions. Raises LocalError with the reason."""
    script = app_dir / f"{module_name}.py"
    if not script.exists():
        raise LocalError(f"{script} is missing", hint="pass the folder that contains the app")
    sys.path.insert(0, str(app_dir))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise LocalError(f"{script} cannot be imported: {error!r}") from error
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if len(apps) != 1:
        raise LocalError(
            f"{script} defines {len(apps)} function apps at its top level; expected one",
            hint="keep exactly one `app = func.FunctionApp(...)`; the rest are Blueprints",
        )
    try:
        return list(apps[0].get_functions())
    except ValueError as error:
        raise LocalError(f"{script}: {error}") from error


def index(sdk_functions: Iterable[SdkFunction]) -> list[Function]:
    """Check the functions of an app. Raises LocalError for those that Azure rejects."""
    functions = [_index_one(function) for function in sdk_functions]
    if not functions:
        raise LocalError("the app has no functions", hint="register its blueprints at import")
    return functions


def _index_one(function: SdkFunction) -> Function:
    name = str(function.get_function_name())
    trigger = function.get_trigger()
    if trigger is None:
        raise LocalError(f"{name} has no trigger")
    _check_bindings(name, trigger, function.get_bindings())
    call = function.get_user_function()
    parameters = set(inspect.signature(call).parameters)
    needs_context = "context" in parameters and trigger.name != "context"
    unbound = parameters - {trigger.name} - ({"context"} if needs_context else set())
    if trigger.name not in parameters or unbound:
        raise LocalError(
            f"{name}({', '.join(sorted(parameters))}) does not match its trigger",
            hint=f"its parameters must be {trigger.name} and, optionally, context",
        )
    _check_annotations(name, trigger, call, function.is_http_function())
    return Function(
        name=name,
        kind=str(trigger.type),
        argument=trigger.name,
        trigger=_spell(trigger.get_dict_repr()),
        call=call,
        needs_context=needs_context,
        returns_http=function.is_http_function(),
    )


def _check_annotations(
    name: str, trigger: Trigger, call: Callable[..., Any], is_http: bool
) -> None:
    """Reject annotations that the worker's converters do not accept."""
    try:
        hints = typing.get_type_hints(call)
    except NameError as error:
        raise LocalError(f"{name}: an annotation cannot be resolved: {error}") from None
    converters: Any = meta.get_binding_registry()
    wanted = hints.get(trigger.name)
    if wanted and not _knows(converters.get(trigger.type).check_input_type_annotation, wanted):
        raise LocalError(
            f"{name}: {trigger.name} cannot be annotated as {wanted} for a {trigger.type}",
            hint="use the class of the SDK; for a batch, typing.List of it, not list",
        )
    answer = hints.get("return")
    if not is_http or answer is None:
        return
    check = converters.get("http").check_output_type_annotation
    if not isinstance(answer, type) or not _knows(check, answer):
        raise LocalError(
            f"{name}: {answer} is not a valid return annotation of an HTTP function",
            hint="use func.HttpResponse, str, or no annotation",
        )


def _knows(check: Callable[[Any], bool], annotation: object) -> bool:
    """Whether a converter accepts an annotation; its check raises TypeError for non-classes."""
    try:
        return check(annotation)
    except TypeError:
        return False


def _check_bindings(name: str, trigger: Trigger, bindings: Iterable[Binding]) -> None:
    if trigger.type not in SERVED:
        raise LocalError(f"{name}: {trigger.type} is not supported", hint=f"supported: {SERVED}")
    for binding in bindings:
        if binding is not trigger and binding.name != "$return":
            raise LocalError(
                f"{name}: the binding {binding.name} ({binding.type}) is not supported",
                hint="use the service's SDK in the function",
            )


def _spell(trigger: dict[str, Any]) -> dict[str, Any]:
    """Replace enums by their values in function.json."""

    def word(value: object) -> object:
        if isinstance(value, Enum):
            return value.value
        return [word(item) for item in value] if isinstance(value, (list, tuple)) else value

    return {key: word(value) for key, value in trigger.items()}
