"""The detected types of rasters of known types."""

import importlib.util
from collections import Counter

import pytest

from local.stack.environment import ROOT

spec = importlib.util.spec_from_file_location("raster_types", ROOT / "docs" / "raster_types.py")
raster_types = importlib.util.module_from_spec(spec)
spec.loader.exec_module(raster_types)


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    return raster_types.inspect_all(tmp_path_factory.mktemp("labelled"))


def test_the_set_is_large(findings):
    assert len(findings) >= 150
    assert min(Counter(found.label for found in findings).values()) >= 10


def test_types_of_high_confidence_are_right(findings):
    sure = [found for found in findings if found.confidence in ("HIGH", "VERY_HIGH")]
    assert len(sure) > 40
    assert [found for found in sure if found.kind != found.label] == []


def test_classes_are_never_detected_as_surfaces(findings):
    assert [f.name for f in findings if f.label == "categorical" and f.kind != f.label] == []


def test_few_types_are_wrong(findings):
    wrong = [found.name for found in findings if found.kind != found.label]
    assert len(wrong) <= 0.05 * len(findings), wrong


def test_the_documented_table_is_current(findings):
    page = (ROOT / "docs" / "raster-types.md").read_text(encoding="utf-8")
    assert raster_types.tabulate(findings) in page
