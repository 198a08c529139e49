"""Whether the transformation to the target CRS is as accurate as the pixels are small."""

from services.raster.extent import ground_step
from services.raster.findings import Findings
from services.raster.georeference import Georeference
from services.raster.model import CrsOperation

_METRES_PER_DEGREE = 111_320


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
