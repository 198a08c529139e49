"""Installs Azurite from npm."""

from __future__ import annotations

from pathlib import Path

from local.install import npm

PINS = Path(__file__).parent
ROOT = PINS.parents[2]


def npm_folder() -> Path:
    """The folder with Azurite: one per checkout, used by the stack and the tests."""
    return ROOT / ".local" / "npm"


def azurite_script() -> Path:
    """The script that Node runs."""
    return npm_folder() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def install_azurite(log: Path) -> bool:
    """Install Azurite unless it is installed. Returns whether it was installed now."""
    return npm.install(PINS, npm_folder(), log)
