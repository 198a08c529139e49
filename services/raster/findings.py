"""Warnings that come up while a raster is looked at."""

from dataclasses import dataclass

from core.errors import TaskFailed
from services.raster.model import RasterWarning


@dataclass
class Findings:
    """Warnings as they come up. In strict mode the grave ones are errors."""

    strict: bool
    warnings: list[RasterWarning]

    def warn(self, code: str, message: str) -> None:
        self.warnings.append(RasterWarning(code=code, message=message))

    def warn_or_fail(self, code: str, message: str) -> None:
        if self.strict:
            raise TaskFailed(code, f"{message} (strict_mode)")
        self.warn(code, message)
