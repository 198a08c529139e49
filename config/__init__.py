"""The only reader of the environment."""

from config.host import find_mismatches, read_host_limits
from config.settings import Settings, read_settings

__all__ = ["Settings", "find_mismatches", "read_host_limits", "read_settings"]
