"""Route templates of HTTP triggers."""

import pytest

from local.emulators.functions.routes import decode_path, parse_route


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("jobs", "jobs", {}),
        ("jobs", "JOBS", {}),
        ("jobs", "jobs/1", None),
        ("jobs/{id}", "jobs/a b", {"id": "a b"}),
        ("jobs/{id}", "jobs", None),
        ("jobs/{id}", "jobs/a/b", None),
        ("jobs/{id:int}", "jobs/-7", {"id": "-7"}),
        ("jobs/{id:int}", "jobs/x", None),
        ("jobs/{id:guid}", "jobs/0f8fad5b-d9cb-469f-a165-70867728950e", {"id": ...}),
        ("jobs/{id:guid}", "jobs/0f8fad5b", None),
        ("jobs/{id?}", "jobs", {}),
        ("jobs/{id?}", "jobs/3", {"id": "3"}),
        ("jobs/{id:int?}", "jobs/x", None),
        ("files/{*rest}", "files/a/b", {"rest": "a/b"}),
        ("files/{*rest}", "files", {}),
        ("files/{*rest}", "filesystem", None),
        ("{*rest}", "", {"rest": ""}),
        ("a.b", "axb", None),
        ("tiles/{z}-{x}.png", "tiles/3-4.png", {"z": "3", "x": "4"}),
    ],
)
def test_match(template: str, path: str, expected: dict[str, object] | None) -> None:
    found = parse_route(template).match(path)
    if expected and ... in expected.values():
        assert found is not None and found.keys() == expected.keys()
    else:
        assert found == expected


@pytest.mark.parametrize(
    "template", ["jobs/{id:even}", "jobs/{id", "jobs/id}", "{a?}/b", "{*rest}/b", "jobs/{}"]
)
def test_an_invalid_template_is_rejected(template: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_route(template)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/api/a%20b/", "api/a b"),
        (b"/api/a%2Fb", "api/a%2Fb"),
        (b"/api/a%2fb", "api/a%2Fb"),
        (b"/api/%C3%A9", "api/é"),
        (b"/api/%252F", "api/%2F"),
    ],
)
def test_paths_are_decoded_except_for_slashes(raw: bytes, expected: str) -> None:
    assert decode_path(raw) == expected
