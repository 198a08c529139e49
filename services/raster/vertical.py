"""The vertical part of compound and three-dimensional CRSs. Pixels are placed by the rest."""

import json
from typing import Any

from rasterio.crs import CRS

from core.models import Json
from services.raster.model import VerticalCrs


def read_vertical(crs: CRS) -> VerticalCrs | None:
    """The vertical part of a CRS, None where it has none."""
    spec: dict[str, Any] = crs.to_dict(projjson=True)
    if spec.get("type") == "CompoundCRS":
        return _describe(spec["components"][1])
    axes = spec.get("coordinate_system", {}).get("axis", [])
    if len(axes) != 3:
        return None
    return VerticalCrs(name=f"ellipsoidal height of {spec['name']}", unit=_unit(axes[2]))


def _describe(spec: dict[str, Any]) -> VerticalCrs:
    # A geoid model wraps the CRS that it belongs to.
    inner = spec["source_crs"] if spec["type"] == "BoundCRS" else spec
    identifier = inner.get("id")
    return VerticalCrs(
        name=inner["name"],
        code=f"{identifier['authority']}:{identifier['code']}" if identifier else None,
        unit=_unit(inner["coordinate_system"]["axis"][0]),
        projjson=inner,
    )


def _unit(axis: dict[str, Any]) -> str:
    unit = axis["unit"]
    return str(unit["name"] if isinstance(unit, dict) else unit)


def add_vertical(horizontal: CRS, vertical: VerticalCrs) -> CRS:
    """The compound CRS. Ellipsoidal heights are not a CRS by themselves: they are left out."""
    if vertical.projjson is None:
        return horizontal
    spec = compound_projjson(horizontal.to_dict(projjson=True), vertical)
    return CRS.from_user_input(json.dumps(spec))


def compound_projjson(horizontal: Json, vertical: VerticalCrs) -> Json:
    """A horizontal CRS and a vertical one as a compound CRS, in PROJJSON."""
    base = {**horizontal}
    schema = base.pop("$schema", "https://proj.org/schemas/v0.7/projjson.schema.json")
    return {
        "$schema": schema,
        "type": "CompoundCRS",
        "name": f"{horizontal['name']} + {vertical.name}",
        "components": [base, vertical.projjson],
    }
