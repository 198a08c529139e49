"""Common names of spectral bands (STAC's eo extension), from descriptions, wavelengths and tags."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COMMON_NAMES = (
    "pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071",
    "rededge075", "rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir",
    "lwir11", "lwir12",
)  # fmt: skip
"""https://github.com/stac-extensions/eo#common-band-names"""

_SENTINEL2 = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "rededge071", "6": "rededge075",
    "7": "rededge078", "8": "nir", "8A": "nir08", "9": "nir09", "10": "cirrus", "11": "swir16",
    "12": "swir22",
}  # fmt: skip
_LANDSAT_8 = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir08", "6": "swir16",
    "7": "swir22", "8": "pan", "9": "cirrus", "10": "lwir11", "11": "lwir12",
}  # fmt: skip
_LANDSAT_7 = {
    "1": "blue", "2": "green", "3": "red", "4": "nir08", "5": "swir16", "6": "lwir", "7": "swir22",
    "8": "pan",
}  # fmt: skip
_MODIS = {"1": "red", "2": "nir08", "3": "blue", "4": "green", "6": "swir16", "7": "swir22"}
_MAXAR = {"C": "coastal", "B": "blue", "G": "green", "Y": "yellow", "R": "red", "RE": "rededge",
          "N": "nir08", "N2": "nir09", "P": "pan", "S1": "swir16"}  # fmt: skip
# Planet's second green band is at 531 nm, its first blue one at 444 nm.
_WORDS = (
    ("coastal", r"coastal|coastal[_ -]?(aerosol|blue)|ultra[_ -]?blue|deep[_ -]?blue"),
    ("green05", r"green[_ -]?(i|1|05)"),
    ("rededge", r"red[_ -]?edge\d*|vegetation[_ -]?red[_ -]?edge"),
    ("swir16", r"swir[_ -]?(16|1)|short[_ -]?wave[_ -]?infra[_ -]?red[_ -]?1"),
    ("swir22", r"swir[_ -]?(22|2)|short[_ -]?wave[_ -]?infra[_ -]?red[_ -]?2"),
    ("nir08", r"nir[_ -]?08|narrow[_ -]?nir|nir[_ -]?narrow"),
    ("nir09", r"nir[_ -]?09|water[_ -]?vapou?r"),
    ("nir", r"nir\d?|near[_ -]?infra[_ -]?red|infra[_ -]?red"),
    ("lwir", r"lwir|tir|thermal|thermal[_ -]?infra[_ -]?red"),
    ("cirrus", r"cirrus"),
    ("pan", r"pan|panchromatic"),
    ("yellow", r"yellow"),
    ("red", r"red|r"),
    ("green", r"green[_ -]?(ii|2)?|g"),
    ("blue", r"blue|b"),
)
_MODIS_BAND = re.compile(r"sur_refl_b0?(\d)", re.IGNORECASE)
_MAXAR_BAND = re.compile(r"BAND_(RE|N2|S1|[CBGYRNP])", re.IGNORECASE)
_LANDSAT_BAND = re.compile(r"(?<![a-z])S[RT]_B", re.IGNORECASE)
_BAND_CODE = re.compile(r"(?<![a-z0-9])(?:SR_|ST_)?B(\d{1,2}A?)(?![a-z0-9])", re.IGNORECASE)
_PATTERNS = tuple(
    (name, re.compile(rf"(?<![a-z])(?:{words})(?![a-z])", re.IGNORECASE)) for name, words in _WORDS
)
_LETTERS = {"r": "red", "g": "green", "b": "blue", "n": "nir"}
# Centre and half width in nanometres, of the nearest bands of Landsat and Sentinel-2.
_WAVELENGTHS = {
    "coastal": (440, 12), "blue": (485, 35), "green": (560, 40), "yellow": (605, 12),
    "red": (660, 35), "nir": (840, 70), "swir16": (1_610, 90), "swir22": (2_200, 150),
}  # fmt: skip
_NUMBER = re.compile(
    r"(\d+(?:\.\d+)?)\s*(nm|nanomet\w*|um|µm|micromet\w*|micron\w*)?", re.IGNORECASE
)
_IN_TEXT = re.compile(
    r"(\d+(?:\.\d+)?)\s*(nm|nanomet\w*|um|µm|micromet\w*|micron\w*)\b", re.IGNORECASE
)
_KEYS = ("wavelength", "center_wavelength", "central_wavelength", "wavelengths",
         "center_wavelength_um", "central_wavelength_um")  # fmt: skip


@dataclass(frozen=True)
class BandLabel:
    """What a file says about one band."""

    description: str | None = None
    color: str = "undefined"
    """GDAL's colour interpretation."""
    tags: Mapping[str, str] | None = None


def find_common_names(bands: Sequence[BandLabel]) -> tuple[str | None, ...]:
    """The common name of each band, or None. Each name is given to one band only."""
    texts = [(band.description or "").strip() for band in bands]
    for names in (_by_sensor(texts), _by_wavelength(bands), _by_words(texts)):
        if any(names):
            return _once(names)
    return _once([band.color if band.color in ("red", "green", "blue") else None for band in bands])


def _once(names: Sequence[str | None]) -> tuple[str | None, ...]:
    """The names, each for the first band that has it."""
    return tuple(name if name not in names[:at] else None for at, name in enumerate(names))


def _by_sensor(texts: Sequence[str]) -> list[str | None]:
    """Names of the form B04, SR_B4, sur_refl_b01 and BAND_R."""
    modis = [_MODIS_BAND.search(text) for text in texts]
    if any(modis):
        return [_MODIS.get(match[1]) if match else None for match in modis]
    maxar = [_MAXAR_BAND.fullmatch(text) for text in texts]
    if any(maxar):
        return [_MAXAR[match[1].upper()] if match else None for match in maxar]
    codes = [_band_code(text) for text in texts]
    if sum(code is not None for code in codes) < 2:
        return [None] * len(texts)
    table = _sensor_table(texts, {code for code in codes if code})
    return [table.get(code) if code else None for code in codes]


def _band_code(text: str) -> str | None:
    """ "4" for B04, B4, SR_B4, "B04 (red)" and T32UQD_20200601_B04_10m."""
    words = text.replace("_", " ").replace("SR ", "SR_").replace("ST ", "ST_")
    match = _BAND_CODE.search(words)
    return match[1].upper().lstrip("0") if match else None


def _sensor_table(texts: Sequence[str], codes: set[str]) -> dict[str, str]:
    landsat = any(_LANDSAT_BAND.search(text) for text in texts)
    if not landsat:
        return _SENTINEL2
    older = {"1", "2", "3", "4", "5", "7"} <= codes and "6" not in codes
    return _LANDSAT_7 if older else _LANDSAT_8


def _by_wavelength(bands: Sequence[BandLabel]) -> list[str | None]:
    """For each name the band whose wavelength is nearest."""
    lengths = [_wavelength(band) for band in bands]
    found: list[str | None] = [None] * len(bands)
    for name, (center, width) in _WAVELENGTHS.items():
        near = [(abs(length - center), at) for at, length in enumerate(lengths) if length]
        distance, at = min(near, default=(width + 1, 0))
        if distance <= width and found[at] is None:
            found[at] = name
    return found


def _wavelength(band: BandLabel) -> float | None:
    """In nanometres. Numbers without a unit are micrometres if they are less than 100."""
    tags = {key.lower(): value for key, value in (band.tags or {}).items()}
    text = next((tags[key] for key in _KEYS if key in tags), None)
    match = _NUMBER.search(text) if text else _IN_TEXT.search(band.description or "")
    if not match:
        return None
    value, unit = float(match[1]), (match[2] or tags.get("wavelength_units") or "").lower()
    nanometres = unit.startswith("n") or (not unit and value >= 100)
    return value if nanometres else value * 1_000


def _by_words(texts: Sequence[str]) -> list[str | None]:
    return [_word(text) for text in texts]


def _word(text: str) -> str | None:
    if text.lower() in COMMON_NAMES:
        return text.lower()
    if len(text) == 1:
        return _LETTERS.get(text.lower())
    spaced = text.replace("_", " ")
    return next(
        (name for name, pattern in _PATTERNS if pattern.search(spaced) and len(text) > 1), None
    )
