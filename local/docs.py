"""`./dev docs`: the documentation site, built by Zensical in a separate environment."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from local.errors import LocalError
from local.install import npm
from local.install.bootstrap import locked, read_pip_settings, uv_settings
from local.stack.environment import ROOT

FOLDER = ROOT / ".local" / "docs"
VENV = FOLDER / "venv"
STAMP = VENV / "installed"
LOCK = ROOT / "local" / "docs.lock"
SITE = Path(".local/docs/site")
MERMAID = ROOT / "local" / "install" / "mermaid"
SCRIPT = Path("docs/javascripts/mermaid.tiny.js")  # not tracked; zensical.toml names it


def build_site() -> str:
    """Install Zensical if necessary and build in strict mode. Returns what it printed.

    Raises LocalError when there is a warning, such as for a broken link.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with locked(FOLDER / "build.lock"):
        install()
        add_mermaid()
        built = _run([_program("zensical"), "build", "--strict", "--clean"])
    if built.returncode:
        raise LocalError(f"the documentation does not build:\n{built.stdout}{built.stderr}")
    # Zensical copies every file in docs/, also the programs that generate pages.
    for file in [*(ROOT / SITE).glob("*.py"), *(ROOT / SITE).glob("*.toml")]:
        file.unlink()
    return built.stdout


def install() -> None:
    """Install Zensical, unless exactly these versions are installed."""
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    uv = str(Path(sys.executable).with_name("uv"))
    env = {**os.environ, **uv_settings(read_pip_settings([sys.executable, "-m", "pip"]))}
    for command in (
        [uv, "venv", "-q", "--clear", "--python", sys.executable, str(VENV)],
        [uv, "pip", "install", "-q", "--python", _program("python"), "-r", str(LOCK)],
    ):
        done = _run(command, env)
        if done.returncode:
            raise LocalError(f"Zensical cannot be installed: {done.stderr.strip()}")
    STAMP.write_text(wanted)


def add_mermaid() -> None:
    """Add the script that draws diagrams. Without it, pages would load it from a public CDN."""
    npm.install(MERMAID, FOLDER / "npm", FOLDER / "npm.log")
    target = ROOT / SCRIPT
    target.parent.mkdir(parents=True, exist_ok=True)
    installed = FOLDER / "npm" / "node_modules" / "@mermaid-js" / "tiny" / "dist" / SCRIPT.name
    shutil.copyfile(installed, target)


def serve_site(port: int) -> None:
    """Serve the site and rebuild it when a page changes, until interrupted."""
    command = [_program("zensical"), "serve", "--dev-addr", f"127.0.0.1:{port}"]
    subprocess.run(command, cwd=ROOT, check=False)


def _program(name: str) -> str:
    return str(VENV / "bin" / name)


def _run(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
