"""The coordinate operation between the CRSs of source and COG: its accuracy, and missing grids."""

import warnings

from pyproj import CRS as ProjCRS
from pyproj.aoi import AreaOfInterest
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup
from rasterio.crs import CRS

from services.raster.findings import Findings
from services.raster.georeference import GeographicExtent, Georeference, ground_step
from services.raster.model import CrsOperation

_METRES_PER_DEGREE = 111_320


def describe_operation(
    georeference: Georeference, target: CRS, extent: GeographicExtent
) -> CrsOperation | None:
    """PROJ's best operation for the place. None where PROJ finds none.

    Other operations may need grids, which PROJ publishes apart:
    https://proj.org/en/stable/resource_files.html#transformation-grids
    """
    source, wanted = (
        ProjCRS.from_wkt(crs.to_wkt(version="WKT2_2019")) for crs in (georeference.crs, target)
    )
    try:
        with warnings.catch_warnings():
            # pyproj warns of missing grids as well.
            warnings.simplefilter("ignore", UserWarning)
            group = TransformerGroup(
                source,
                wanted,
                always_xy=True,
                # pyproj's stub names another class of that name.
                area_of_interest=AreaOfInterest(*extent.bounds),  # type: ignore[arg-type]
            )
    except ProjError:
        return None
    if not group.transformers:
        return None
    best, missing = group.transformers[0], group.unavailable_operations[:1]
    return CrsOperation(
        name=best.description,
        accuracy=_known(best.accuracy),
        better_accuracy=_known(missing[0].accuracy) if missing else None,
        missing_grids=tuple(grid.short_name for grid in missing[0].grids) if missing else (),
    )


def _known(accuracy: float) -> float | None:
    """PROJ gives -1 where it does not know."""
    return accuracy if accuracy >= 0 else None


def check_accuracy(
    operation: CrsOperation, georeference: Georeference, name: str, findings: Findings
) -> None:
    """Warn, or fail in strict mode, where a missing grid costs more than a pixel."""
    better, pixel = operation.better_accuracy, ground_step(georeference) * _METRES_PER_DEGREE
    if better is None:
        return
    if operation.accuracy is not None and operation.accuracy - better <= pixel:
        return
    known = "unknown" if operation.accuracy is None else f"{operation.accuracy:g} m"
    findings.warn_or_fail(
        "DATUM_GRID_MISSING",
        f"{name}: the transformation to the target CRS has an accuracy of {known}. One of "
        f"{better:g} m needs {', '.join(operation.missing_grids)}, which is not installed; a "
        f"pixel is {pixel:.2g} m",
    )
