"""The only reader of the environment."""

from config.settings import Settings, read_settings

__all__ = ["Settings", "read_settings"]
