"""Uploads straight to storage, through a URL that can write one blob only."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from local.stack.environment import BRONZE
from tests.e2e.test_process_raster import SAMPLE

CONTENT = SAMPLE.read_bytes()
MD5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
PUT = {"x-ms-blob-type": "BlockBlob"}


def granted(product, **wanted):
    with product.api as api:
        return api.post("/uploads", json={"size": len(CONTENT), **wanted})


def test_an_uploaded_file_becomes_a_map(product):
    answer = granted(product, name="uploads/sent.tif")
    grant = answer.json()
    assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
    assert (grant["container_name"], grant["blob_name"]) == (BRONZE, "uploads/sent.tif")
    left = datetime.fromisoformat(grant["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=10) < left < timedelta(minutes=30)
    assert httpx.put(grant["upload_url"], content=CONTENT, headers=PUT).status_code == 201
    source = {key: grant[key] for key in ("container_name", "blob_name")}
    assert product.run("process_raster", **source)["status"] == "completed"


def test_the_url_can_only_write_this_blob(product):
    url = granted(product, name="uploads/alone.tif").json()["upload_url"]
    assert httpx.put(url, content=b"1", headers=PUT).status_code == 201
    other = url.replace("alone.tif", "other.tif")
    assert httpx.put(other, content=b"1", headers=PUT).status_code == 403
    assert httpx.get(url).status_code == 403
    assert httpx.delete(url).status_code == 403


def test_a_file_that_is_already_there_needs_no_upload(product):
    product.upload(SAMPLE, "uploads/there.tif")
    again = granted(product, name="uploads/there.tif", content_md5=MD5)
    assert again.status_code == 200
    assert again.json()["is_there"] is True and again.json()["upload_url"] is None
    other = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    changed = granted(product, name="uploads/there.tif", content_md5=other)
    assert changed.status_code == 201 and changed.json()["upload_url"]


def test_folders_are_listed_level_by_level(product):
    for name in ("listed/a.tif", "listed/deep/b.tif", "listed/deep/er/c.tif"):
        product.upload(SAMPLE, name)
    with product.api as api:
        top = api.get("/uploads/folders").json()
        below = api.get("/uploads/folders", params={"prefix": "listed/"}).json()
        refused = api.get("/uploads/folders", params={"prefix": "x" * 1025})
    assert top["container_name"] == BRONZE and "listed/" in top["folders"]
    assert below["folders"] == ["listed/deep/"] and below["is_complete"]
    assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == "prefix"


def test_a_browser_can_upload_from_the_dashboard(product):
    """Storage has another origin than the dashboard, so the browser sends a CORS preflight."""
    url = granted(product, name="uploads/browser.tif").json()["upload_url"]
    asks = {
        "Origin": product.environment.api.removesuffix("/api"),
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "x-ms-blob-type,content-type",
    }
    answer = httpx.options(url, headers=asks)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in ("*", asks["Origin"])
    assert "PUT" in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "notes.txt"),
        ("name", "../up.tif"),
        ("name", "a//b.tif"),
        ("name", ""),
        ("name", " a.tif"),
        ("name", "folder\\a.tif"),
        ("size", 0),
        ("size", 2**50),
        ("size", "12"),
        ("content_md5", "abc"),
        ("folder", "x"),
    ],
)
def test_a_file_that_is_not_a_raster_is_refused(product, field, value):
    answer = granted(product, **{"name": "a.tif", field: value})
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field
