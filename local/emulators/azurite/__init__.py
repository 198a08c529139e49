"""Blob storage on one machine: Microsoft's emulator Azurite, from npm."""

from local.emulators.azurite.emulator import Azurite, connection_string
from local.emulators.azurite.install import install_azurite

__all__ = ["Azurite", "connection_string", "install_azurite"]
