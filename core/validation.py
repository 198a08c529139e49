"""Validation of request bodies, with errors that name the field and the value."""

import difflib
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.errors import FieldError, InvalidRequest
from core.storable import why_not_storable

MAX_ERRORS = 100
TYPE_NAMES = {
    type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string",
    list: "an array",
}  # fmt: skip
MESSAGES = {
    "dict_type": "Input should be an object",
    "model_type": "Input should be an object",
    "list_type": "Input should be an array",
}
Model = TypeVar("Model", bound=BaseModel)


def validate_body(model: type[Model], body: Any) -> Model:
    """The validated body. `null` selects the default of an optional field.

    Raises InvalidRequest with one entry for each invalid field.
    """
    if not isinstance(body, dict):
        message = f"the body must be a JSON object, not {TYPE_NAMES[type(body)]}"
        raise InvalidRequest([FieldError("body", _shown(body), message)])
    wrong = [
        FieldError(repr(name), None, f"cannot be stored: {why}")
        for name, value in body.items()
        if (why := why_not_storable([name, value]))
    ]
    if wrong:
        raise InvalidRequest(wrong[:MAX_ERRORS])
    given = {name: value for name, value in body.items() if not _is_default(model, name, value)}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest(_field_errors(model, error)) from None


def _is_default(model: type[BaseModel], name: str, value: Any) -> bool:
    """Whether the value is null for an optional field, which selects its default."""
    field = model.model_fields.get(name)
    return value is None and field is not None and not field.is_required()


def _field_errors(model: type[BaseModel], error: ValidationError) -> list[FieldError]:
    return [_field_error(model, item) for item in error.errors()[:MAX_ERRORS]]


def _field_error(model: type[BaseModel], error: Any) -> FieldError:
    field = ".".join(str(part) for part in error["loc"]) or "body"
    if error["type"] == "extra_forbidden":
        return FieldError(field, _shown(error["input"]), _unknown(model, field))
    if error["type"] == "missing":
        return FieldError(field, None, "is required")
    message = MESSAGES.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    return FieldError(field, _shown(error["input"]), f"{message}, got {_short(error['input'])}")


def _unknown(model: type[BaseModel], field: str) -> str:
    if "." in field:
        return "unknown field"
    known = sorted(model.model_fields)
    near = difflib.get_close_matches(field, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return f"unknown parameter; {hint}"


def _shown(value: Any) -> Any:
    """The value itself if it is short and JSON, otherwise its beginning."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, TypeError):
        return _short(value)
    return value if len(text) <= 200 else _short(value)


def _short(value: Any) -> str:
    """The value as JSON, with strings in single quotes, cut to 100 characters."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError):
        text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
