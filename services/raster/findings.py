"""Warnings collected during the inspection of a raster."""

from dataclasses import dataclass

from core.errors import TaskFailed
from services.raster.model import RasterWarning


@dataclass
class Findings:
    """The warnings so far. In strict mode the serious ones are errors."""

    strict: bool
    warnings: list[RasterWarning]

    def warn(self, code: str, message: str) -> None:
        """Add a warning."""
        self.warnings.append(RasterWarning(code=code, message=message))

    def warn_or_fail(self, code: str, message: str) -> None:
        """Add a warning. Raises TaskFailed in strict mode."""
        if self.strict:
            raise TaskFailed(code, f"{message} (strict_mode)")
        self.warn(code, message)
