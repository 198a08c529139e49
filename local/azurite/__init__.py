"""Blob storage on one machine: Microsoft's emulator Azurite, from npm."""

from local.azurite.emulator import Azurite, connection_string
from local.azurite.install import install_azurite

__all__ = ["Azurite", "connection_string", "install_azurite"]
