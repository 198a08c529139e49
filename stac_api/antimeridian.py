"""Searches with a box across the antimeridian.

RFC 7946, section 5.2: a box whose west is greater than its east crosses the antimeridian. pgSTAC
(https://github.com/stac-utils/pgstac/issues/428) swaps the two and searches the rest of the globe.
Here such a box becomes `intersects` with one polygon on each side of the antimeridian, so that the
limit, the order, the pages and the filter of the search stay pgSTAC's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import HTTPException, Request
from stac_fastapi.pgstac.core import CoreCrudClient
from stac_fastapi.pgstac.types.search import PgstacSearch
from stac_fastapi.types.stac import ItemCollection


class CatalogueClient(CoreCrudClient):  # type: ignore[misc]  # stac-fastapi ships no types
    """The client of stac-fastapi-pgstac, with boxes across the antimeridian split in two."""

    def _clean_search_args(self, base_args: dict[str, Any], **others: Any) -> dict[str, Any]:
        """Every GET search passes its parameters through this method."""
        cleaned: dict[str, Any] = super()._clean_search_args(base_args, **others)
        if "intersects" in cleaned:
            return cleaned  # with a box as well, the model rejects the two together
        return replace_box(cleaned)

    async def post_search(
        self, search_request: PgstacSearch, request: Request, **others: Any
    ) -> ItemCollection:
        replaced = replace_box(search_request.model_dump(include={"bbox"}))
        if "intersects" in replaced:
            asked = search_request.model_dump(exclude_unset=True, exclude={"bbox"}, by_alias=True)
            search_request = type(search_request).model_validate(asked | replaced)
        found: ItemCollection = await super().post_search(search_request, request, **others)
        return found


def replace_box(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Search arguments with a box across the antimeridian replaced by `intersects`.

    Raises HTTPException 400 for a box that is impossible.
    """
    box = arguments.get("bbox")
    if box is None:
        return dict(arguments)
    west, south, east, north = check_box(box)
    if west <= east:
        return dict(arguments)
    others = {name: value for name, value in arguments.items() if name != "bbox"}
    return {**others, "intersects": split_box(west, south, east, north)}


def check_box(box: Sequence[float]) -> tuple[float, float, float, float]:
    """West, south, east and north of a box with or without elevations.

    Raises HTTPException 400 if the box has another number of values, or one out of range.
    """
    if len(box) not in (4, 6):
        raise _invalid(box, f"it has {len(box)} values; expected 4, or 6 with elevations")
    if not all(math.isfinite(value) for value in box):
        raise _invalid(box, "its values must be finite numbers")
    half = len(box) // 2
    (west, south), (east, north) = box[:2], box[half : half + 2]
    if not all(-180 <= longitude <= 180 for longitude in (west, east)):
        raise _invalid(box, "its longitudes must be between -180 and 180")
    if not -90 <= south <= north <= 90:
        raise _invalid(box, "its latitudes must be between -90 and 90, south before north")
    if half == 3 and box[2] > box[5]:
        raise _invalid(box, "its lowest elevation must not exceed its highest")
    return west, south, east, north


def split_box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A GeoJSON MultiPolygon of the two parts, west and east of the antimeridian."""
    parts = [_rectangle(west, south, 180.0, north), _rectangle(-180.0, south, east, north)]
    return {"type": "MultiPolygon", "coordinates": parts}


def _rectangle(west: float, south: float, east: float, north: float) -> list[list[list[float]]]:
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return [corners]


def _invalid(box: Sequence[float], reason: str) -> HTTPException:
    text = ", ".join(f"{value:g}" for value in box)
    return HTTPException(status_code=400, detail=f"invalid bbox [{text}]: {reason}")
