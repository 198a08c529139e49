"""Chromium from the npm package @sparticuz/chromium, which is built for minimal systems.

It contains the browser, the libraries that a minimal system lacks and a font, each compressed with
Brotli. So no root is needed, also not on Ubuntu, where `chromium` is a snap.
"""

from __future__ import annotations

import os
import platform
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from local import process
from local.install import npm

PINS = Path(__file__).parent
FOLDER = PINS.parents[2] / ".local" / "chromium"
BROWSER = FOLDER / "browser"
BUILT_FOR = "x86_64"
UNPACK = """
const fs = require("fs"), zlib = require("zlib"), [source, target] = process.argv.slice(1);
fs.writeFileSync(target, zlib.brotliDecompressSync(fs.readFileSync(source)));
"""
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""


@dataclass(frozen=True)
class Chromium:
    """A browser and the environment variables that it needs."""

    program: Path
    env: Mapping[str, str] = field(default_factory=dict)


def find_chromium() -> Chromium | None:
    """The browser in CHROMIUM, else the installed one, else the one on PATH; None if there is none.

    On Ubuntu the one on PATH may be a stub that fails when it is started.
    """
    if named := os.environ.get("CHROMIUM"):
        return Chromium(Path(named))
    if npm.is_installed(PINS, FOLDER):
        return Chromium(BROWSER / "chromium", _environment())
    on_path = shutil.which("chromium")
    return Chromium(Path(on_path)) if on_path else None


def install_chromium(log: Path) -> str:
    """Install Chromium unless it is installed. Returns what was done."""
    if os.environ.get("CHROMIUM") or npm.is_installed(PINS, FOLDER):
        return ""
    if platform.machine() != BUILT_FOR:
        if find_chromium() is not None:
            return ""
        return f"not available for {platform.machine()}: browser tests are skipped"
    done = npm.install(PINS, FOLDER, log, then=lambda: _unpack(log))
    return "installed from npm" if done else ""


def _environment() -> dict[str, str]:
    return {
        "LD_LIBRARY_PATH": str(BROWSER),
        "FONTCONFIG_FILE": str(BROWSER / "fonts.conf"),
    }


def _unpack(log: Path) -> None:
    shutil.rmtree(BROWSER, ignore_errors=True)
    BROWSER.mkdir()
    packed = FOLDER / "node_modules" / "@sparticuz" / "chromium" / "bin"
    for file in packed.glob("*.br"):
        target = BROWSER / file.stem
        process.run([npm.node(), "-e", UNPACK, file, target], log)
        if target.suffix == ".tar":
            _unpack_tar(target)
        file.unlink()
    (BROWSER / "chromium").chmod(0o755)
    fonts = FONTS.format(folder=escape(str(BROWSER / "fonts")))
    (BROWSER / "fonts.conf").write_text(fonts, encoding="utf-8")


def _unpack_tar(tar: Path) -> None:
    """Extract the libraries into the folder of the program."""
    with tarfile.open(tar) as archive:
        archive.extractall(BROWSER, filter="data")
    tar.unlink()
    for library in (BROWSER / "lib").glob("*"):
        library.replace(BROWSER / library.name)
