"""Which items a collection has, and which are at a place: for the map page."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from starlette.requests import Request

LIMIT = 100
MOST = 500
# A page continues after the date and the id of the last item of the page before.
_SELECT = """
SELECT i.id, i.datetime, i.content->'properties'->>'title', ST_AsGeoJSON(i.geometry, 6)::jsonb
  FROM pgstac.items i
 WHERE i.collection = %(collection)s
   AND (%(west)s::float8 IS NULL OR
        ST_Intersects(i.geometry, ST_SetSRID(ST_Envelope(ST_MakeLine(
            ST_MakePoint(%(west)s, %(south)s), ST_MakePoint(%(east)s, %(north)s))), 4326)))
   AND (%(datetime)s::timestamptz IS NULL OR
        (i.datetime, i.id) < (%(datetime)s::timestamptz, %(id)s::text))
 ORDER BY i.datetime DESC, i.id DESC
 LIMIT %(limit)s
"""

router = APIRouter()


@router.get("/members", summary="The items of a collection by page, newest first")
def members(
    request: Request,
    collection_id: str,
    bbox: Annotated[
        str | None, Query(description="west,south,east,north in degrees; a point has no area")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = LIMIT,
    after: Annotated[str | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """A GeoJSON FeatureCollection, with `next` if there are more items."""
    box = _parse_bbox(bbox) if bbox else (None,) * 4
    values: dict[str, Any] = dict(zip(("west", "south", "east", "north"), box, strict=True))
    values |= _parse_token(after) if after else {"datetime": None, "id": None}
    values |= {"collection": collection_id, "limit": limit + 1}
    with request.app.state.dbpool.connection() as conn:
        rows = conn.execute(_SELECT, values).fetchall()
    features = [
        {
            "type": "Feature",
            "id": name,
            "geometry": geometry,
            "properties": {"datetime": at.isoformat(), "title": title or name},
        }
        for name, at, title, geometry in rows[:limit]
    ]
    page: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if len(rows) > limit:
        page["next"] = _token(rows[limit - 1][1].isoformat(), rows[limit - 1][0])
    return page


def _parse_bbox(text: str) -> tuple[float, ...]:
    try:
        box = tuple(map(float, text.split(",")))
    except ValueError:
        box = ()
    if len(box) != 4 or not (box[0] <= box[2] and box[1] <= box[3]):
        raise HTTPException(400, f"bbox={text!r} is not west,south,east,north in degrees")
    return box


def _token(datetime: str, name: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([datetime, name]).encode()).decode()


def _parse_token(text: str) -> dict[str, str]:
    try:
        datetime, name = json.loads(base64.urlsafe_b64decode(text))
    except (ValueError, binascii.Error, TypeError):
        raise HTTPException(400, f"after={text!r} is not the `next` of a page") from None
    return {"datetime": str(datetime), "id": str(name)}
