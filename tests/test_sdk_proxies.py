"""Whether a proxy may stand between, told without importing what few need."""

from __future__ import annotations

import sys

import pytest

from memtrace import _proxies


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("name", "value", "is_one"),
    [
        ("http_proxy", "http://proxy:3128", True),
        ("HTTPS_PROXY", "http://proxy:3128", True),
        ("All_Proxy", "socks5://proxy", True),
        ("http_proxy", "", False),
        ("no_proxy", "localhost", False),
        ("ftp_proxy", "http://proxy:3128", False),
    ],
)
def test_the_environment_names_them(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, *, is_one: bool
) -> None:
    monkeypatch.setenv(name, value)

    assert _proxies.are_set() is is_one


def test_without_any_there_are_none() -> None:
    assert _proxies.are_set() is False


@pytest.mark.parametrize("platform", ["darwin", "win32"])
@pytest.mark.parametrize(("found", "is_one"), [({"http": "http://proxy:3128"}, True), ({}, False)])
def test_elsewhere_the_system_is_asked(
    monkeypatch: pytest.MonkeyPatch, platform: str, found: dict[str, str], *, is_one: bool
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("urllib.request.getproxies", lambda: found)

    assert _proxies.are_set() is is_one
