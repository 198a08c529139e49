"""Checks the files next to a raster before GDAL reads them.

GDAL opens masks and overviews with any driver, and fills what is missing in them with zeros. An
incomplete .aux.xml is left out without an error.
"""

import glob
import html
import re
from collections.abc import Callable
from pathlib import Path

from core.errors import TaskFailed
from services.raster.crs_text import check_crs_text
from services.raster.structure.hfa import check_hfa, check_hfa_blocks_file
from services.raster.structure.stored_file import (
    ExternalReference,
    Malformed,
    StoredFile,
    Truncated,
    open_stored,
)
from services.raster.structure.tiff import check_tiff

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HFA = (b"EHFA_HEADER_TAG",)
_SIGNATURES: dict[str, tuple[bytes, ...]] = {
    ".msk": _TIFF,
    ".ovr": _TIFF + _HFA,
    ".aux": _HFA,
    ".rrd": _HFA,
    ".ige": (b"ERDAS_IMG_EXTERNAL_RASTER",),
}
_SIGNATURE_BYTES = 32
_PAM_CRS = re.compile(
    r"""<SRS\b[^>]*>(.*?)</SRS|<GCPList\b[^>]*?\bProjection\s*=\s*["']([^"']*)""", re.S | re.I
)
_FIRST_ELEMENT = re.compile(r"<([^\s/>?!]+)")
_MAX_TEXT_BYTES = 16 * 2**20


def check_sidecars(path: str, name: str) -> None:
    """Check the sidecars in the folder of a local raster. `name` is the raster's, for messages.

    Raises TaskFailed SIDECAR_INVALID for a sidecar that is incomplete, damaged, too large or not of
    the format of its extension, or that contains a CRS which GDAL would have to fetch.
    """
    if path.startswith("/vsi"):
        return
    for sidecar in Path(path).parent.glob(f"{glob.escape(Path(path).stem)}.*"):
        if sidecar != Path(path):
            _check_sidecar(sidecar, Path(path), name)


def _check_sidecar(sidecar: Path, raster: Path, name: str) -> None:
    suffix = sidecar.name[len(raster.stem) :]
    try:
        if sidecar.suffix.lower() in _SIGNATURES:
            _check_binary(sidecar, raster)
        else:
            _check_text(sidecar)
    except Truncated as error:
        problem = (
            f"is incomplete: at least {error.missing} bytes are missing after the "
            f"{sidecar.stat().st_size} that it has"
        )
    except (Malformed, ExternalReference) as error:
        problem = str(error)
    else:
        return
    raise TaskFailed("SIDECAR_INVALID", f"{name}: its {suffix} file {problem}") from None


def _check_binary(sidecar: Path, raster: Path) -> None:
    kind = sidecar.suffix.lower()
    with open_stored(str(sidecar), 0) as file:
        head = file.read(0, min(_SIGNATURE_BYTES, file.size))
        if not head.startswith(_SIGNATURES[kind]):
            raise Malformed("does not have the format of its extension")
        if kind == ".ige":
            _check_blocks_file(file, raster)
            return
        check: Callable[[StoredFile], None] = check_hfa if head.startswith(_HFA) else check_tiff
        try:
            check(file)
        except Malformed as error:
            raise Malformed(f"is damaged: {error}") from None


def _check_blocks_file(blocks: StoredFile, raster: Path) -> None:
    with open_stored(str(raster), 0) as file:
        if file.read(0, len(_HFA[0])) == _HFA[0]:
            check_hfa_blocks_file(file, blocks)


def _check_text(sidecar: Path) -> None:
    if sidecar.stat().st_size > _MAX_TEXT_BYTES:
        raise Malformed("is too large")
    text = sidecar.read_text(encoding="utf-8-sig", errors="replace")
    if sidecar.suffix.lower() == ".xml":
        _check_xml(text)
    for crs in _find_crs(text, sidecar.suffix.lower()):
        try:
            check_crs_text(crs)
        except ValueError as error:
            raise Malformed(f"has a CRS that {error}") from None


def _check_xml(text: str) -> None:
    """Raises Malformed unless the text ends with its first element.

    This is less than an XML parser checks, since GDAL accepts more than one.
    """
    first = _FIRST_ELEMENT.search(text)
    element = text[first.start() :].rstrip() if first else ""
    is_empty = element.endswith("/>") and "<" not in element[1:]
    if not (first and (is_empty or element.endswith(f"</{first[1]}>"))):
        raise Malformed("is incomplete: its first XML element has no end")


def _find_crs(text: str, suffix: str) -> list[str]:
    """The CRSs in a .prj or .aux.xml file, https://gdal.org/en/stable/drivers/raster/pam.html."""
    if suffix == ".prj":
        return [text] if text.strip() else []
    if suffix != ".xml":
        return []
    found = [html.unescape(a or b) for a, b in _PAM_CRS.findall(text)]
    return [crs for crs in found if crs.strip()]
