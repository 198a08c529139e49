"""Azurite, Microsoft's emulator of Blob storage, from npm."""

from local.emulators.azurite.emulator import Azurite, connection_string
from local.emulators.azurite.install import install_azurite

__all__ = ["Azurite", "connection_string", "install_azurite"]
