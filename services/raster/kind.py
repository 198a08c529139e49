"""Kinds of rasters: what members of one mosaic have in common. Importing it does not load GDAL."""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TypeVar

from core.models import Record
from services.raster.model import RasterFacts, RasterType

METRES_PER_DEGREE = 111_319.490_793
Value = TypeVar("Value")

SLUG = r"(1-band|\d+-bands)-[a-z0-9_]+(-palette)?"
"""What Structure.slug matches."""
MAX_RATIO = 4.0
"""How much larger or smaller the pixels of a member may be than those of most members."""


class Structure(Record):
    """What must be equal, so that pixels of two rasters have the same meaning."""

    band_count: int
    dtype: str
    has_palette: bool

    @property
    def pixel_bytes(self) -> int:
        """The size of all bands of a pixel, and of its mask."""
        bits = re.search(r"\d+$", self.dtype)
        return self.band_count * (int(bits[0]) // 8 if bits else 1) + 1

    @property
    def slug(self) -> str:
        """The structure as the end of a collection's id."""
        bands = "1-band" if self.band_count == 1 else f"{self.band_count}-bands"
        return f"{bands}-{self.dtype}{'-palette' if self.has_palette else ''}"

    def __str__(self) -> str:
        bands = "1 band" if self.band_count == 1 else f"{self.band_count} bands"
        return f"{bands} of {self.dtype}{' with a palette' if self.has_palette else ''}"


class Kind(Record):
    """The kind of most members."""

    structure: Structure
    raster_type: RasterType
    """The type of most members. Single tiles are often detected as another one."""
    resolution: float
    """The size of a pixel in metres."""


class Group(Record):
    """Rasters of one structure."""

    structure: Structure
    count: int


@dataclass
class KindCount:
    """Counts rasters by structure, type and size of pixels; its size does not grow with them."""

    structures: Counter[Structure] = field(default_factory=Counter)
    types: Counter[tuple[Structure, RasterType]] = field(default_factory=Counter)
    sizes: Counter[tuple[Structure, int]] = field(default_factory=Counter)
    """By the logarithm of the size of a pixel."""

    def add(self, facts: RasterFacts) -> None:
        structure = structure_of(facts)
        self.structures[structure] += 1
        self.types[structure, facts.raster_type.applied_type] += 1
        self.sizes[structure, round(math.log2(measure_resolution(facts)))] += 1

    def groups(self) -> tuple[Group, ...]:
        """The structures, the most frequent first."""
        return tuple(Group(structure=s, count=n) for s, n in self.structures.most_common())

    def most_common(self) -> Kind:
        """The kind of most rasters. Raises ValueError if there are none."""
        if not self.structures:
            raise ValueError("there are no rasters")
        [(structure, _)] = self.structures.most_common(1)
        return self.kind_of(structure)

    def kind_of(self, structure: Structure) -> Kind:
        """The kind of most rasters of this structure."""
        return Kind(
            structure=structure,
            raster_type=_most_common(self.types, structure),
            resolution=2.0 ** _most_common(self.sizes, structure),
        )


def structure_of(facts: RasterFacts) -> Structure:
    return Structure(band_count=facts.band_count, dtype=facts.dtype, has_palette=facts.has_palette)


def measure_resolution(facts: RasterFacts) -> float:
    """The size of a pixel in metres, from the extent in degrees."""
    west, south, east, north = facts.bounds_4326
    rows, columns = facts.shape
    width = (east - west) % 360 or 360.0
    middle = math.radians((south + north) / 2)
    area = width * (north - south) * METRES_PER_DEGREE**2 * max(math.cos(middle), 1e-6)
    return math.sqrt(max(area, 1e-12) / (rows * columns))


def find_misfit(facts: RasterFacts, kind: Kind) -> str | None:
    """Why a raster does not fit the others: what it has and what they have. None if it fits."""
    structure = structure_of(facts)
    if structure != kind.structure:
        return f"it has {structure}, and most members have {kind.structure}"
    resolution = measure_resolution(facts)
    if not 1 / MAX_RATIO <= resolution / kind.resolution <= MAX_RATIO:
        return (
            f"its pixels have {resolution:.3g} m, and those of most members"
            f" about {kind.resolution:.3g} m"
        )
    return None


def name_group(collection_id: str, structure: Structure) -> str:
    """The id of the collection for the rasters of one structure.

    It does not depend on the other rasters, so the next job finds the same collection.
    """
    return f"{collection_id}-{structure.slug}"


def is_group_of(collection_id: str, name: str) -> bool:
    """Whether `name_group` gives this name for some structure."""
    slug = name.removeprefix(f"{collection_id}-")
    return slug != name and re.fullmatch(SLUG, slug) is not None


def _most_common(counts: Counter[tuple[Structure, Value]], structure: Structure) -> Value:
    among = {value: count for (of, value), count in counts.items() if of == structure}
    return max(among, key=lambda value: among[value])
