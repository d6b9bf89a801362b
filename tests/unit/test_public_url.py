"""`--public-url`: what it may be, how it and the base domain are one thing, and the URLs that come of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from host.asgi import create_app
from host.config import ServeConfig, public_address
from host.control import Control
from host.model.clock import ManualClock


@pytest.mark.parametrize(
    ("url", "base_domain", "wanted"),
    [
        ("", None, ("", "localhost")),
        ("", "Apps.Example.com.", ("", "apps.example.com")),
        ("https://fns.example.com", None, ("https://fns.example.com", "fns.example.com")),
        ("HTTPS://Fns.Example.com:443/", "fns.example.com", ("https://fns.example.com", "fns.example.com")),
        ("http://fns.example.com:443", None, ("http://fns.example.com:443", "fns.example.com")),
        ("http://localhost:80", None, ("http://localhost", "localhost")),
    ],
)
def test_the_url_says_the_base_domain_and_leaves_out_the_usual_port(
    url: str, base_domain: str | None, wanted: tuple[str, str]
) -> None:
    assert public_address(url, base_domain) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "fns.example.com",
        "ftp://fns.example.com",
        "https://",
        "https://*.example.com",
        "https://fns.example.com/functions",
        "https://fns.example.com?a=1",
        "https://fns.example.com#a",
        "https://me:secret@fns.example.com",
        "https://@fns.example.com",
        "https://fns.example.com:0",
        "https://fns.example.com:99999",
        "https://fns.example.com:a",
        "https://-fns.example.com",
        "https://fns..example.com",
        "https://fns.example.com.",
        "https://192.0.2.1",
        "https://[2001:db8::1]",
        "https://[",
        "https://fns example.com",
    ],
)
def test_what_no_function_can_be_below_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"such as https://fns\.example\.com"):
        public_address(url)


def test_a_url_and_a_base_domain_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="name the same"):
        public_address("https://fns.example.com", "example.com")
    with pytest.raises(ValueError, match="name the same"):
        public_address("http://localhost:8080", "fns.localhost")


@pytest.mark.parametrize(
    ("public_url", "wanted"),
    [
        ("", "http://hello-0198c2c58a.fns.example.com:8787"),
        ("https://fns.example.com", "https://hello-0198c2c58a.fns.example.com"),
        ("http://fns.example.com:8080", "http://hello-0198c2c58a.fns.example.com:8080"),
    ],
)
def test_a_functions_url_is_below_the_public_one(public_url: str, wanted: str) -> None:
    control = Control(ServeConfig(base_domain="fns.example.com", public_url=public_url), ManualClock())
    control.listen_url = "http://127.0.0.1:8787"
    assert control.function_url("hello-0198c2c58a") == wanted


def test_the_host_as_one_callable_takes_it_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENURE_DATA", str(tmp_path))
    monkeypatch.setenv("TENURE_PUBLIC_URL", "https://fns.example.com")
    config = create_app()._config
    assert (config.public_url, config.base_domain) == ("https://fns.example.com", "fns.example.com")
