"""Creates .venv and installs local/requirements.lock, using only the standard library.

A minimal Debian has neither pip nor ensurepip, so the environment is created without them. The
first pip that is found installs uv, which installs the lock file quickly.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
LOCK = ROOT / "local" / "requirements.lock"
LOG = ROOT / ".local" / "logs" / "python.log"
UV = "uv>=0.9,<1"
PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
# The settings of pip and their names in uv, which does not read pip.conf.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


class SetupError(Exception):
    """An error of the installation, with what to do about it."""


def main() -> None:
    """Install, unless a concurrent call has done so."""
    wanted = sys.argv[1]
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with locked(LOG.parent.parent / "setup.lock"):
        if STAMP.exists() and STAMP.read_text().strip() == wanted and PYTHON.exists():
            return
        started = time.monotonic()
        say("Installing Python packages into .venv (once; about half a minute) ...")
        STAMP.unlink(missing_ok=True)
        make_environment()
        install_packages(install_uv())
        STAMP.write_text(wanted + "\n")
        say(f"Python packages are installed ({time.monotonic() - started:.1f} s)")


def make_environment() -> None:
    """Create .venv with the Python that runs this, unless a working one exists."""
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    if PYTHON.exists() and subprocess.run([PYTHON, "-c", probe], check=False).returncode == 0:
        return
    try:
        venv.create(VENV, clear=True, symlinks=True, with_pip=False)
    except ValueError as error:
        raise SetupError(f"{error}; move the checkout to a path without it") from error


def install_uv() -> list[str]:
    """Install uv into .venv. Returns the pip that was used, as a command for .venv."""
    for pip in find_pips():
        if run([*pip, "install", "-q", UV]):
            return pip
    raise SetupError("no pip could install uv from the package index; is there a network?")


def find_pips() -> Iterator[list[str]]:
    """Commands that run pip on .venv: its own, the base Python's, Debian's, the one from PyPI."""
    yield [str(PYTHON), "-m", "pip"]
    yield [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    for wheel in sorted(Path("/usr/share/python-wheels").glob("pip-*.whl"), reverse=True):
        yield [str(PYTHON), f"{wheel}/pip"]
    with tempfile.TemporaryDirectory() as folder:
        yield [str(PYTHON), f"{fetch_pip(Path(folder))}/pip"]


def pip_page() -> str:
    """The page of the package index that lists pip's files."""
    return os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"


def fetch_pip(folder: Path) -> Path:
    """Download the pip wheel whose checksum is pinned here."""
    index = pip_page()
    try:
        with urllib.request.urlopen(index, timeout=60) as answer:
            page = answer.read().decode()
        link = re.search(rf'href="([^"]*{re.escape(PIP_WHEEL)}[^"]*)"', page)
        if link is None:
            raise SetupError(f"{index} has no {PIP_WHEEL}")
        with urllib.request.urlopen(urllib.parse.urljoin(index, link[1]), timeout=60) as answer:
            content = answer.read()
    except urllib.error.URLError as error:
        raise SetupError(
            f"{index} is out of reach ({error.reason}); is there a network?"
        ) from error
    if hashlib.sha256(content).hexdigest() != PIP_SHA256:
        raise SetupError(f"{PIP_WHEEL} of {index} has another checksum than the published one")
    wheel = folder / PIP_WHEEL
    wheel.write_bytes(content)
    return wheel


def install_packages(pip: list[str]) -> None:
    """Install the lock file with uv, or with pip if uv fails (TLS roots, unusual indexes)."""
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "-q", "--python", str(PYTHON)]
    if run([*uv, "-r", str(LOCK)], {**os.environ, **uv_settings(read_pip_settings(pip))}):
        return
    say("uv did not get there; pip takes over (this takes a minute or two) ...")
    if not run([*pip, "install", "-q", "-r", str(LOCK)]):
        raise SetupError("neither uv nor pip could install local/requirements.lock")


def read_pip_settings(pip: list[str]) -> dict[str, str]:
    """The settings of pip.conf files and PIP_* variables, read by pip."""
    listing = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False)
    return parse_pip_settings(listing.stdout)


def parse_pip_settings(listing: str) -> dict[str, str]:
    """Parse lines like `global.index-url='https://...'`; the environment takes precedence."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for section, name, value in re.findall(r"^([\w:]+)\.([\w-]+)='(.*)'$", listing, re.MULTILINE):
        if section in found:
            found[section][name] = value.replace("\\n", " ").strip()
    return {**found["global"], **found["install"], **found[":env:"]}


def uv_settings(pip: dict[str, str]) -> dict[str, str]:
    """The settings as variables of uv; variables that are set already are kept."""
    settings = {
        variable: pip[name]
        for name, variable in PIP_TO_UV.items()
        if pip.get(name) and variable not in os.environ
    }
    if "UV_FIND_LINKS" in settings:
        settings["UV_FIND_LINKS"] = ",".join(settings["UV_FIND_LINKS"].split())
    # pip uses the best version of all indexes, uv by default the first index with the package.
    merging = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    return {**merging, "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", **settings}


def run(command: list[str], env: dict[str, str] | None = None) -> bool:
    """Run a program with its output in the log. Returns whether it succeeded."""
    env = {**(env or os.environ), "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    with LOG.open("ab") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, check=False
        )
    return done.returncode == 0


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock between processes."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """Print progress to stderr, because stdout is for the command that follows."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (SetupError, OSError, subprocess.SubprocessError) as error:
        end = LOG.read_text(errors="replace").splitlines()[-10:] if LOG.exists() else []
        say("\n".join([*end, f"./dev: set-up failed: {error} (whole log: {LOG})"]))
        sys.exit(1)
