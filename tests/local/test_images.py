"""The images of the tile server and the STAC API: their files, versions and entry points.

There is no Docker here: a virtual environment with the image's packages and a folder with the
image's files stand for the image.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

from local import ports
from local.emulators.azurite import connection_string
from local.install.bootstrap import find_pips, read_pip_settings, uv_settings
from local.stack.environment import prepare_environment
from local.stack.postgres import Cluster
from local.stack.stack import _services
from tests.fixtures.tile_server import wait_until_ready

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
IMAGES = {"tiles": "/healthz", "stac_api": "/_mgmt/ping"}


def instructions(folder: str, name: str) -> list[str]:
    text = (ROOT / folder / "Dockerfile").read_text()
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)


def copied(folder: str) -> list[str]:
    """The paths that the image gets, from the repository's root; they keep their names."""
    pairs = [line.split() for line in instructions(folder, "COPY")]
    assert all(source == target for source, target in pairs)
    return [source for source, _ in pairs]


def command(folder: str) -> list[str]:
    [line] = instructions(folder, "CMD")
    words: list[str] = json.loads(line)
    return words


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("folder", IMAGES)
def test_image_has_the_versions_that_are_tested(folder: str):
    tested = pins(ROOT / "local" / "requirements.lock")
    image = pins(ROOT / folder / "requirements.lock")
    assert image
    assert {name: tested.get(name) for name in image} == image


@pytest.mark.parametrize("folder", IMAGES)
def test_local_stack_runs_the_files_and_the_command_of_the_image(folder: str, tmp_path: Path):
    [service] = [
        service
        for service in _services(prepare_environment(tmp_path, []))
        if service.sources == (folder,)
    ]
    assert copied(folder) == [f"{folder}/requirements.lock", folder]
    program, *arguments = command(folder)
    assert program == "python"
    assert list(service.command[:3]) == arguments[:3]
    assert service.ready_path == IMAGES[folder]


@pytest.mark.parametrize("folder", IMAGES)
def test_entry_point_runs_with_the_files_of_the_image_alone(
    folder: str, cluster: Cluster, tmp_path: Path
):
    image = tmp_path / "app"
    copy_files(copied(folder), image)
    python = install(image / folder / "requirements.lock", tmp_path / "venv")
    with running(python, folder, image, cluster.dsn()) as (server, url):
        wait_until_ready(server, url, tmp_path / "log")


def copy_files(paths: list[str], target: Path) -> None:
    """Copy files and folders of the repository to the same places below another folder."""
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, target / path, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / path, target / path)


def install(requirements: Path, venv: Path) -> Path:
    """The Python of a new virtual environment with the tested versions, from uv's cache."""
    settings = {**os.environ, **uv_settings(read_pip_settings(find_pip()))}
    python = venv / "bin" / "python"
    for arguments in (
        ["venv", "--quiet", "--python", sys.executable, venv],
        ["pip", "install", "--quiet", "--python", python, "--requirement", requirements,
         "--constraint", ROOT / "local" / "requirements.lock"],
    ):  # fmt: skip
        subprocess.run([UV, *arguments], env=settings, check=True, timeout=300)
    return python


def find_pip() -> list[str]:
    """A pip that works, to read its settings as the set-up of this checkout does."""
    base = [str(Path(sys.base_prefix, "bin", "python3")), "-m", "pip"]
    for pip in chain([base], find_pips()):
        if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode == 0:
            return pip
    raise AssertionError("no pip found")


@contextmanager
def running(
    python: Path, folder: str, image: Path, database_url: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The image's command with another port, and nothing of this environment but the settings."""
    port = str(ports.pick_free())
    words = [{"0.0.0.0": "127.0.0.1", "8000": port}.get(word, word) for word in command(folder)]
    settings = {
        "DATABASE_URL": database_url,
        "STORAGE_CONNECTION": connection_string(1),
        "TILE_CONTAINERS": "silver-cogs",
    }
    log = image.with_name("log")
    with log.open("wb") as output:
        server = subprocess.Popen(
            [python, *words[1:]], cwd=image, env=settings, stdout=output, stderr=output
        )
    try:
        yield server, f"http://127.0.0.1:{port}{IMAGES[folder]}"
    finally:
        server.terminate()
        server.wait(20)
