"""Names of COGs: a location, which is a folder and a name, and the tier."""

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

from core.models import BlobRef
from core.overviews import OVERVIEWS

DEFAULT_CRS = "EPSG:4326"
WINDOWS = ".windows/"
"""The folder in the silver container for what windows leave until their COG is assembled."""
PIECES = ".mosaic/"
"""The folder for pieces of overviews until their collection is published."""
RESERVED = (WINDOWS, PIECES, OVERVIEWS)
"""Folders that hold no COGs of items."""


def propose_locations(
    source: BlobRef, folder: str | None, subdataset: str | None, target_crs: str
) -> list[str]:
    """The locations that the COGs of a source may have, the plainest first.

    `{folder}/{name}`, with the variable and the CRS where they are not the default. Where that
    belongs to another source the format of the file is added, and then a hash of its name.
    """
    path = PurePosixPath(source.name)
    home = PurePosixPath(folder or "", path.parent)
    crs = None if target_crs == DEFAULT_CRS else target_crs.replace(":", "").lower()
    digest = hashlib.sha256(str(source).encode()).hexdigest()[:8]
    ending = path.suffix.lstrip(".")
    return [
        str(home / re.sub(r"[^\w.-]+", "_", "_".join(filter(None, parts))))
        for parts in (
            (path.stem, subdataset, crs),
            (path.stem, ending, subdataset, crs),
            (path.stem, ending, subdataset, crs, digest),
        )
    ]


def describe_owner(source: BlobRef, subdataset: str | None, target_crs: str) -> str:
    """The name under which a location is reserved: of what its COGs are made."""
    return "\n".join([str(source), subdataset or "", target_crs])


def name_cog(location: str, tier: str) -> str:
    """The name of the COG of a tier."""
    return f"{location}_cog_{tier}.tif"


def locate_cog(name: str, tier: str) -> str:
    """The location of a COG with this name."""
    return name.removesuffix(f"_cog_{tier}.tif")


def name_windows(job: str, name: str) -> str:
    """The folder of what the windows of a COG leave for its assembly."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{WINDOWS}{job}/{digest}/"


def name_window(folder: str, tier: int, row: int, column: int) -> str:
    """The blob of one window in the folder of its COG."""
    return f"{folder}{tier}-{row}-{column}"


def make_item_id(container: str, location: str) -> str:
    """The default id of the STAC item of a location: a readable slug and eight digits of SHA-256.

    The digits tell `a/b` from `a-b`, which a slug alone does not.
    """
    name = location.rpartition("/")[2]
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:64].strip("-")
    digest = hashlib.sha256(f"{container}/{location}".encode()).hexdigest()[:8]
    return f"{slug or 'raster'}-{digest}"
