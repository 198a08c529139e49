"""JSON Schemas of request bodies."""

from pydantic import BaseModel

from core.models import Json

ANNOTATIONS = ("title", "description", "default")


def describe_input(model: type[BaseModel], ref_template: str = "#/$defs/{model}") -> Json:
    """The schema of a body. Every optional field accepts null, which selects its default."""
    schema = model.model_json_schema(ref_template=ref_template)
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        if name not in required:
            schema["properties"][name] = _accept_null(field)
    return schema


def _accept_null(field: Json) -> Json:
    null = {"type": "null"}
    if field.get("type") == "null" or null in field.get("anyOf", ()):
        return field
    value = {name: each for name, each in field.items() if name not in ANNOTATIONS}
    notes = {name: each for name, each in field.items() if name in ANNOTATIONS}
    return {"anyOf": [value, null], **notes}
