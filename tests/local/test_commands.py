"""The commands of `./dev`."""

import json
import os
import subprocess
import sys

import pytest

from local.checks import selects_tests
from local.stack.environment import ROOT


@pytest.fixture
def dev(product, tmp_path):
    """Runs a command as the script `dev` does, from another folder."""

    def run(*arguments):
        folders = {"GEOLATHE_STACK": str(product.stack.folder), "GEOLATHE_CWD": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            cwd=ROOT,
            env={**os.environ, **folders},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_env_prints_exports_for_a_shell(dev, product):
    exports = dev("env").stdout
    printed = subprocess.run(
        ["sh", "-euc", exports + 'printf "%s\\n" "$API" "$KEY" "$TITILER" "$STAC" "$GEOLATHE_URL"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    environment = product.environment
    key = environment.keys.function_key
    assert printed == [
        environment.api, key, environment.titiler, environment.stac, environment.api,
    ]  # fmt: skip


def test_submit_is_the_client_s_command_in_the_caller_s_folder(dev, product, tmp_path):
    (tmp_path / "empty.tif").touch()
    refused = dev("submit", "empty.tif", "output_tier=all")
    assert refused.returncode == 1 and "empty.tif" in refused.stderr
    done = dev("submit", "--type", "hello_world", "n=1", "message=dev submit", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parameters"]["message"] == "dev submit"


def test_status_of_a_running_stack(dev, product):
    done = dev("status", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["api"] == product.environment.api


def test_unknown_arguments_are_rejected(dev):
    assert dev("down", "now").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "selects"),
    [
        ([], False),
        (["-x", "-q", "-k", "codec"], False),
        (["tests/unit"], True),
        (["-q", "tests/unit/test_client.py::test_raster_is_not_its_own_sidecar"], True),
    ],
)
def test_named_tests_are_distinguished_from_options(arguments, selects):
    assert selects_tests(arguments) is selects
