"""How a stored collection grows by one item. Pure functions over STAC collections."""

from datetime import datetime
from typing import TypeGuard

from core.models import Json


def merge_collections(stored: Json, offered: Json) -> Json:
    """The stored collection widened by what an item offers.

    Titles, licences and descriptions are kept, because they may have been edited. Extents,
    summaries and item_assets only grow.
    """
    grown: Json = {
        "extent": _extent(stored.get("extent") or offered["extent"], offered["extent"]),
        "summaries": _summaries(stored.get("summaries", {}), offered.get("summaries", {})),
        "item_assets": {**offered.get("item_assets", {}), **stored.get("item_assets", {})},
        "stac_extensions": sorted(
            {*stored.get("stac_extensions", []), *offered.get("stac_extensions", [])}
        ),
    }
    return {**offered, **stored, **{k: v for k, v in grown.items() if v or k in stored}}


def union_bbox(one: list[float], other: list[float]) -> list[float]:
    """The box around two boxes of two dimensions.

    RFC 7946 5.2 writes a box across the antimeridian with west > east. pgSTAC's collection
    search treats it as a plain rectangle, so the union with such a box spans all longitudes.
    """
    if one[0] > one[2] or other[0] > other[2]:
        west, east = -180.0, 180.0
    else:
        west, east = min(one[0], other[0]), max(one[2], other[2])
    return [west, min(one[1], other[1]), east, max(one[3], other[3])]


def _extent(one: Json, other: Json) -> Json:
    box = union_bbox(_flat(one["spatial"]["bbox"][0]), _flat(other["spatial"]["bbox"][0]))
    (start, end), (begin, stop) = one["temporal"]["interval"][0], other["temporal"]["interval"][0]
    interval = [_earliest(start, begin), _latest(end, stop)]
    return {"spatial": {"bbox": [box]}, "temporal": {"interval": [interval]}}


def _flat(bbox: list[float]) -> list[float]:
    return [*bbox[:2], *bbox[3:5]] if len(bbox) == 6 else bbox


def _earliest(one: str | None, other: str | None) -> str | None:
    return None if one is None or other is None else min(one, other, key=datetime.fromisoformat)


def _latest(one: str | None, other: str | None) -> str | None:
    return None if one is None or other is None else max(one, other, key=datetime.fromisoformat)


def _summaries(one: Json, other: Json) -> Json:
    return {key: _summary(one.get(key), other.get(key)) for key in sorted({*one, *other})}


def _summary(one: object, other: object) -> object:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, list) and isinstance(other, list):
        return one + [value for value in other if value not in one]
    if _is_range(one) and _is_range(other):
        low, high = min(one["minimum"], other["minimum"]), max(one["maximum"], other["maximum"])
        return {"minimum": low, "maximum": high}
    return one


def _is_range(summary: object) -> TypeGuard[Json]:
    return isinstance(summary, dict) and {"minimum", "maximum"} <= summary.keys()
