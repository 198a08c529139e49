"""What the tables can hold: JSON without NUL, half a surrogate pair, NaN and infinity."""

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel
from pydantic_core import PydanticSerializationError

from core.errors import TaskFailed

MAX_VALUE_BYTES = 64 * 2**20
"""Bytes of one value as JSON. PostgreSQL's own limits lie higher, and fail a whole statement."""
MAX_TEXT_CHARACTERS = 10_000
"""Characters of a text for people: an error's message may quote a whole file."""

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def storable_text(text: str) -> str:
    """The text with marks for what cannot be stored."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def short_text(text: str) -> str:
    """The text as it can be stored, cut where nobody reads on."""
    text = storable_text(text)
    return text if len(text) <= MAX_TEXT_CHARACTERS else text[: MAX_TEXT_CHARACTERS - 3] + "..."


StorableText = Annotated[str, AfterValidator(storable_text)]
ShortText = Annotated[str, AfterValidator(short_text)]


def why_not_storable(value: Any) -> str | None:
    """What keeps a value from being stored as JSON; None when nothing does."""
    try:
        text = _encode(value)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)
    if _NUL.search(text):
        return "it has a NUL"
    if size > MAX_VALUE_BYTES:
        return f"it has {size} bytes as JSON; at most {MAX_VALUE_BYTES} are kept"
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
