"""`./dev lock`: pins the versions of all packages, for this machine and for each deployment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from local import process
from local.stack.environment import ROOT, inherited

LOCAL = "local/requirements.lock"
DEPLOYED = {
    "requirements.in": "requirements.txt",  # Azure installs from a file of this name
    "tiles/requirements.txt": "tiles/requirements.lock",
    "stac_api/requirements.txt": "stac_api/requirements.lock",
}
COMPILE = ("pip", "compile", "--quiet", "--universal", "--python-version", "3.11")


def update_locks(log: Path, arguments: Sequence[str]) -> None:
    """Resolve local/requirements.txt, then what is deployed, to the same versions.

    `arguments` go to the first `uv pip compile`, such as `--upgrade`. Raises LocalError.
    """
    dev = ("local/requirements.txt", "--group", "pyproject.toml:dev", "-o", LOCAL)
    _compile(log, *dev, *arguments)
    for needed, pinned in DEPLOYED.items():
        _compile(log, needed, "-c", LOCAL, "--no-annotate", "--upgrade", "-o", pinned)


def _compile(log: Path, *arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    process.run([uv, *COMPILE, *arguments], log, env=inherited(), cwd=ROOT)
