"""An item's `renders` as parameters of titiler-pgstac 3."""

from typing import Any

from rio_tiler.io import MultiBaseReader

PASSED_ON = ("colormap_name", "colormap", "algorithm", "nodata", "resampling", "color_formula")


def item_renders(raster: MultiBaseReader) -> dict[str, dict[str, Any]]:
    """The renders by name, which TileJSON and WMTS offer as layers."""
    renders = raster.input.properties.get("renders", {})
    return {name: parameters(render) for name, render in renders.items()}


def parameters(render: dict[str, Any]) -> dict[str, Any]:
    """The parameters of one render; bands are given with their asset."""
    bands = ",".join(map(str, render.get("bidx", [])))
    suffix = f"|bidx={bands}" if bands else ""
    found: dict[str, Any] = {"assets": [f"{key}{suffix}" for key in render.get("assets", [])]}
    if "rescale" in render:
        found["rescale"] = render["rescale"]
    return found | {key: render[key] for key in PASSED_ON if key in render}
