"""Results of stages under the names that clients of the first version of this API read."""

from core.models import BlobRef, Json
from triggers.http.bodies import StageResult

PREFIXES = {"source": "source", "blob": "cog"}


def describe_result(result: Json) -> StageResult:
    """The result, with each blob reference also as `source_blob`, `source_container` and so on."""
    flat: Json = {}
    for name, prefix in PREFIXES.items():
        value = result.get(name)
        if isinstance(value, dict) and value.keys() == BlobRef.model_fields.keys():
            flat |= {f"{prefix}_blob": value["name"], f"{prefix}_container": value["container"]}
    return StageResult(result=result | flat)
