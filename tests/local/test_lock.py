"""The pinned packages of the function app: all that it needs, in the versions that are tested."""

import re

import pytest

from local.stack.environment import ROOT

NAME = re.compile(r"^([a-z0-9][a-z0-9._-]*)", re.I)


def requirements(file):
    """The lines of a requirements file without comments and options, with canonical names."""
    lines = [line.partition(" #")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    return {
        NAME.match(line)[1].lower().replace("_", "-"): line
        for line in lines
        if line and line[0] not in "#-"
    }


@pytest.fixture(scope="module")
def pinned():
    return requirements("requirements.txt")


def test_every_package_is_pinned(pinned):
    assert set(requirements("requirements.in")) <= set(pinned)
    assert [line for line in pinned.values() if "==" not in line] == []


def test_the_versions_are_those_that_the_tests_use(pinned):
    """`./dev lock` brings both files up to date."""
    known = (ROOT / "local/requirements.lock").read_text().splitlines()
    versions = {line.partition(" ;")[0] for line in known}
    text = (ROOT / "requirements.txt").read_text().splitlines()
    locked = [line.partition(" ;")[0] for line in text if line and line[0] not in "# "]
    assert [line for line in locked if line not in versions] == []
    assert len(locked) > len(requirements("requirements.in"))
