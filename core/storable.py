"""What PostgreSQL can store: JSON without NUL, lone surrogates, NaN and infinity."""

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel
from pydantic_core import PydanticSerializationError

from core.errors import TaskFailed

MAX_VALUE_BYTES = 64 * 2**20
"""Of one value as JSON. Lower than PostgreSQL's limits, which would fail the whole statement."""
MAX_TEXT_CHARACTERS = 10_000
"""Of a message: an exception may quote a whole file."""

ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def storable_text(text: str) -> str:
    """The text, with a replacement for each character that cannot be stored."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def short_text(text: str) -> str:
    """The storable text, cut to MAX_TEXT_CHARACTERS."""
    text = storable_text(text)
    return text if len(text) <= MAX_TEXT_CHARACTERS else text[: MAX_TEXT_CHARACTERS - 3] + "..."


StorableText = Annotated[str, AfterValidator(storable_text)]
ShortText = Annotated[str, AfterValidator(short_text)]


def why_not_storable(value: Any) -> str | None:
    """Why a value cannot be stored as JSON; None if it can."""
    try:
        text = _encode(value)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)
    if ESCAPED_NUL.search(text):
        return "it contains a NUL character"
    if size > MAX_VALUE_BYTES:
        return f"it has {size} bytes as JSON; at most {MAX_VALUE_BYTES} are allowed"
    return None


def storable_json(what: str, model: BaseModel) -> dict[str, Any]:
    """The model as JSON. Raises TaskFailed NOT_STORABLE, whose message begins with `what`."""
    try:
        value = model.model_dump(mode="json")
    except PydanticSerializationError as error:
        raise TaskFailed("NOT_STORABLE", f"{what} cannot be stored: {error}") from error
    reason = why_not_storable(value)
    if reason is not None:
        raise TaskFailed("NOT_STORABLE", f"{what} cannot be stored: {reason}")
    return value
