"""The grammar of CRS texts that are passed on to GDAL and PROJ.

GDAL resolves some texts by fetching an address or opening a file, and PROJ opens the grids that a
definition names. Only texts that need neither are accepted: a code of a known authority, WKT,
PROJJSON or a PROJ string. See OGRSpatialReference::SetFromUserInput and proj_create().
"""

import json
import re
from collections.abc import Iterator
from typing import Any

AUTHORITIES = ("EPSG", "ESRI", "IAU_2015", "IGNF", "NKG", "NRCAN", "OGC", "PROJ", "CRS")
"""The authorities in PROJ's database, and CRS for the CRS:84 of WMS."""
MAX_LENGTH = 100_000
ACCEPTED = "an authority's code such as EPSG:32618, WKT, PROJJSON or a PROJ string"

_CODE = re.compile(rf"(?:{'|'.join(AUTHORITIES)}):[A-Z0-9_.-]{{1,40}}(?:\+\d{{1,8}})?", re.I)
_WKT = re.compile(
    r"(?:GEOGCS|PROJCS|GEOCCS|LOCAL_CS|COMPD_CS|FITTED_CS|VERT_CS|(?:BASE)?(?:GEOG|GEOD|GEOGRAPHIC"
    r"|GEODETIC|PROJ|PROJECTED|COMPOUND|BOUND|ENG|ENGINEERING|DERIVEDPROJ|VERT|VERTICAL)CRS)"
    r"\s*[\[(].*[\])]",
    re.I | re.S,
)
_STRING = r'"((?:[^"]|"")*)"'
_STRINGS = re.compile(_STRING)
_GRID_FILES = re.compile(
    rf'(?:PARAMETERFILE\s*[\[(]\s*{_STRING}|EXTENSION\s*[\[(]\s*"PROJ4_GRIDS")\s*,\s*{_STRING}',
    re.I,
)
_PLAIN_GRIDS = re.compile(r"@?\w[\w.-]*(?:,@?\w[\w.-]*)*", re.ASCII)
_PROJ_WORD = re.compile(r"\+?(\w+)(?:=(\S*))?", re.ASCII)
_PROJ_VALUE = re.compile(r"[\w.,+@'\"°-]*")
_HIDDEN_PROJ = re.compile(r"\+\s*(?:proj|init|step|inv)\b|PROJ(?:-based)?\s", re.I)
_CUSTOM_METHOD = re.compile(r"PROJ (?=\w)")
_NO_CRS = frozenset(
    ("pipeline", "set", "push", "pop", "hgridshift", "vgridshift", "xyzgridshift", "gridshift",
     "deformation", "defmodel", "tinshift")
)  # fmt: skip
_PROJ_KEYS = frozenset(
    re.findall(
        r"\w+",
        """
    proj type zone south north lat_0 lat_1 lat_2 lat_3 lat_b lat_p lat_t lat_ts lon_0 lon_1
    lon_2 lon_3 lon_p lonc alpha gamma azi tilt theta k k_0 x_0 y_0 z_0 a b f rf e es r r_a r_v
    r_g r_h r_c r_lat_a r_lat_g ellps datum towgs84 nadgrids pm units to_meter vunits vto_meter
    no_defs no_uoff no_off no_rot rot over wktext axis h sweep w m n o q s bacn guam approx algo
    lsat path title orient aperture resolution mode ns czech o_proj o_lat_p o_lon_p o_alpha
    o_lon_c o_lat_c o_lon_1 o_lat_1 o_lon_2 o_lat_2 t_0
    """,
    )
)


def check_crs_text(text: str) -> str:
    """The text without surrounding space. Raises ValueError for one outside the grammar."""
    text = text.strip()
    if len(text) > MAX_LENGTH or "\0" in text:
        raise ValueError("is too long, or holds a NUL character")
    if text.startswith("{"):
        _check_projjson(text)
    elif _WKT.fullmatch(text):
        _check_wkt(text)
    elif text.startswith("+") and "+proj=" in text:
        _check_proj_string(text)
    elif not _CODE.fullmatch(text):
        raise ValueError(f"must be {ACCEPTED}; addresses and file names are never resolved")
    return text


def _check_proj_string(text: str) -> None:
    for word in text.split():
        match = _PROJ_WORD.fullmatch(word)
        key, value = (match[1], match[2] or "") if match else (word, "")
        if not match or key.lower() not in _PROJ_KEYS:
            raise ValueError(f"has the PROJ parameter {word!r}, which is not accepted")
        if key == "nadgrids":
            _check_grids(value)
        elif not _PROJ_VALUE.fullmatch(value) or (key.endswith("proj") and value in _NO_CRS):
            raise ValueError(f"has the PROJ parameter {word!r}, which is not accepted")


def _check_grids(names: str) -> None:
    """PROJ looks up plain names in its own data folder, and opens everything else as a path."""
    if not _PLAIN_GRIDS.fullmatch(names):
        raise ValueError(f"names the grid file {names!r}: only plain names are accepted")


def _check_wkt(text: str) -> None:
    for _, file in _GRID_FILES.findall(text):
        _check_grids(file)
    for string in _STRINGS.findall(text):
        _check_hidden_proj(string)


def _check_hidden_proj(text: str) -> None:
    """A name or an extension may hold a PROJ string, which PROJ then follows."""
    if _CUSTOM_METHOD.match(text):
        _check_proj_string(_CUSTOM_METHOD.sub("+proj=", text, count=1))
    elif _HIDDEN_PROJ.match(text.lstrip()) or re.search(r"\+(proj|init|step)\b", text, re.I):
        _check_proj_string(text)


def _check_projjson(text: str) -> None:
    try:
        document = json.loads(text)
        strings = list(_strings(document))
    except (ValueError, RecursionError):
        raise ValueError("begins like PROJJSON but is not valid JSON") from None
    if not str(document.get("type", "")).endswith("CRS"):
        raise ValueError("is JSON, but not PROJJSON of a CRS")
    for key, value in strings:
        _check_hidden_proj(value)
        if key == "value":
            _check_grids(value)


def _strings(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, list):
        for part in node:
            yield from _strings(part, key)
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from _strings(value, name)
