"""Shared access signatures: which tokens are valid for which entities."""

from urllib.parse import quote

import pytest

from local.emulators.servicebus.tokens import TokenRefused, covers, entity_path, sign, verify

KEYS = {"Root": "a+key/with=signs"}


def token(resource: str = "sb://host:5672/jobs", expiry: int = 2000, **changes: str) -> str:
    quoted = quote(resource, safe="")
    signature = quote(sign(quoted, str(expiry), KEYS["Root"]).decode(), safe="")
    fields = {"sr": quoted, "sig": signature, "se": str(expiry), "skn": "Root"} | changes
    return "SharedAccessSignature " + "&".join(f"{key}={each}" for key, each in fields.items())


@pytest.mark.parametrize(
    ("resource", "audience"),
    [
        ("sb://host:5672/jobs", "sb://host:5672/jobs"),
        ("sb://host/Jobs/", "amqps://host:5672/jobs"),
        ("sb://host/jobs", "sb://host/jobs/$deadletterqueue"),
        ("sb://host", "sb://host/jobs"),
        ("http://host/", "jobs"),
    ],
)
def test_a_valid_token_has_an_expiry(resource: str, audience: str) -> None:
    assert verify(token(resource), audience, KEYS, now=1999.0) == 2000.0


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (token(expiry=1000), "expired"),
        (token("sb://host/other"), "not for"),
        (token("sb://host/job"), "not for"),
        (token(sig=quote(sign("x", "2000", "wrong").decode())), "InvalidSignature"),
        (token(sig="é"), "InvalidSignature"),
        (token(se="2999"), "InvalidSignature"),
        (token(skn="Unknown"), "InvalidSignature"),
        (token(se="soon"), "malformed"),
        ("SharedAccessSignature sr=x", "malformed"),
        ("SharedAccessSignature invalid", "malformed"),
        ("eyJhbGciOi", "not a shared access signature"),
        ("", "not a shared access signature"),
    ],
)
def test_a_bad_token_is_refused_with_the_reason(bad: str, why: str) -> None:
    with pytest.raises(TokenRefused, match=why):
        verify(bad, "sb://host/jobs", KEYS, now=1500.0)


def test_a_right_includes_paths_below() -> None:
    assert covers("jobs", "jobs/$deadletterqueue")
    assert not covers("jobs", "jobs-of-others")
    assert entity_path("amqps://host:1/Jobs/$Management") == "jobs/$management"
