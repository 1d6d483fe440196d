"""Making a client: its URL, its key and its settings, without any input or output."""

from __future__ import annotations

import copy
import pickle
import platform
import re
import socket
from typing import Any

import httpx
import pytest
from helpers.clients import KEY, MEMORY, FakeServer, MakeClient, page

from memtrace import AsyncMemtrace, Memtrace, MemtraceError, __version__


def test_url_and_key_may_be_positional(make_client: MakeClient, fake_server: FakeServer) -> None:
    fake_server.respond(200, MEMORY)

    make_client("https://memory.example:9443", "mtk_positional").get_memory("mem_1")

    assert str(fake_server.request.url) == "https://memory.example:9443/api/v1/memories/mem_1"
    assert fake_server.request.headers["x-api-key"] == "mtk_positional"


def test_user_agent_names_the_versions_of_the_sdk_and_of_python(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.respond(200, {"status": "ok"})

    sdk.health()

    python = ".".join(platform.python_version_tuple()[:2])
    assert fake_server.request.headers["user-agent"] == f"memtrace-sdk/{__version__} python/{python}"


def test_url_and_key_fall_back_to_the_environment(
    make_client: MakeClient, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMTRACE_URL", "http://from-env:1234")
    monkeypatch.setenv("MEMTRACE_API_KEY", "mtk_from_env")
    fake_server.respond(200, MEMORY)

    make_client(None, None).get_memory("mem_1")

    assert fake_server.request.url.host == "from-env"
    assert fake_server.request.headers["x-api-key"] == "mtk_from_env"


def test_url_defaults_to_a_local_server_without_a_key(
    make_client: MakeClient, fake_server: FakeServer
) -> None:
    fake_server.respond(200, MEMORY)

    client = make_client(None, None)
    client.get_memory("mem_1")

    assert client.base_url == "http://localhost:9100"
    assert str(fake_server.request.url).startswith("http://localhost:9100/api/")
    assert "x-api-key" not in fake_server.request.headers


def test_environment_is_read_when_a_client_is_made(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMTRACE_URL", "http://one")
    assert make_client(None, None).base_url == "http://one"
    monkeypatch.setenv("MEMTRACE_URL", "http://two")
    assert make_client(None, None).base_url == "http://two"


@pytest.mark.parametrize("base_url", ["http://host/memtrace", "http://host/memtrace/"])
def test_base_url_may_have_a_path(make_client: MakeClient, fake_server: FakeServer, base_url: str) -> None:
    fake_server.respond(200, MEMORY)

    make_client(base_url).get_memory("mem_1")

    assert fake_server.request.url.path == "/memtrace/api/v1/memories/mem_1"


@pytest.mark.parametrize(
    ("base_url", "shown"),
    [
        ("http://[::1]:9100/", "http://[::1]:9100"),
        ("HTTPS://Host.Example/A/", "https://host.example/A"),
        ("http://host/a%20b/c;d=(1)/", "http://host/a%20b/c;d=(1)"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("http://straße.example", "http://xn--strae-oqa.example"),
        ("http://my_host.example.:80 ", "http://my_host.example.:80"),
        ("http://[fe80::1%25eth0]", "http://[fe80::1%25eth0]"),
        ("http://host/a b", "http://host/a%20b"),
        ("http://Host:1", "http://host:1"),
        ("http://Host:65535", "http://host:65535"),
    ],
)
def test_base_url_is_normalised(make_client: MakeClient, base_url: str, shown: str) -> None:
    assert make_client(base_url).base_url == shown


@pytest.mark.parametrize(
    ("base_url", "said"),
    [
        ("ftp://host", "unknown scheme 'ftp'"),
        ("localhost:9100", "no scheme"),
        ("", "no scheme"),
        ("postgresql://me:pass/word@host/db", "no valid URL"),
        ("http://", "not a valid URL"),
        ("http://host:port", "not a valid URL"),
        ("http://host?a=b", "without query"),
        ("http://host#a", "without query and fragment"),
        ("http://host:0", "not a valid URL"),
        ("http://host:65536", "a port up to 65535"),
        ("http://host\n", "not a valid URL"),
        ("http://host name:9100", "not a valid URL"),
        ("http://h<x>", "not a valid URL"),
        ("http://\u2024x", "not a valid URL"),
        ("http://a_ä", "not a valid URL"),
        ("http://a..b", "not a valid URL"),
        (f"http://{64 * 'a'}", "not a valid URL"),
        ("http://[v1.x]", "not a valid URL"),
        ("sqlite://agent.db", "three slashes"),
        ("sqlite:///", "three slashes"),
        ("sqlite:///folder/", "it ends like a folder; name a file in it: sqlite:///folder/memtrace.db"),
        ("sqlite:////folder/?mode=ro", "name a file in it: sqlite:////folder/memtrace.db"),
        ("sqlite:///agent.db?mode=rw", "unknown option 'mode=rw'"),
        ("sqlite://?mode=ro", "cannot be read-only"),
        ("sqlite:///a\0b.db", "no NUL character"),
        ("postgresql://host/db?mode=rw", "the only mode"),
    ],
)
def test_invalid_base_url_is_refused_when_a_client_is_made(
    make_client: MakeClient, base_url: str, said: str
) -> None:
    with pytest.raises(ValueError, match=r"^base_url") as caught:
        make_client(base_url)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "mtk_secret",
        "postgresql://me:secret@host:port/db",
        "ftp://me:secret@host",
        "http://me:secret/word@host",
        "http://me:secret\u2100@host",
        "sqlite://me:secret@host/db",
        "sqlite://me:secret@host/db?mode=rw",
    ],
)
def test_error_about_a_base_url_hides_its_secrets(make_client: MakeClient, base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        make_client(base_url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("api_key", [f"{KEY}\n", f" {KEY}", "schlüssel", "a\r\nx-other: b"])
def test_key_that_is_no_valid_header_is_refused_without_showing_it(
    make_client: MakeClient, api_key: str
) -> None:
    with pytest.raises(ValueError, match="api_key") as caught:
        make_client(api_key=api_key)

    assert api_key.strip() not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout": 0},
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"max_retries": -1},
    ],
)
def test_setting_out_of_range_is_a_value_error_that_names_it(
    make_client: MakeClient, settings: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        make_client(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_retries": "2"},
        {"max_retries": None},
        {"max_retries": 2.5},
        {"max_retries": True},
        {"max_retries": float("nan")},
        {"default_headers": "x"},
        {"default_headers": [("x-team", "a")]},
    ],
    ids=repr,
)
def test_setting_of_a_wrong_type_is_a_type_error_that_names_it(
    make_client: MakeClient, settings: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=f"^{next(iter(settings))}: "):
        make_client(**settings)


def test_repr_of_a_client_shows_neither_key_nor_password(make_client: MakeClient) -> None:
    client = make_client("http://me:hunter2@host:9100/path", KEY)

    assert repr(client) in {
        "Memtrace('http://host:9100/path')",
        "AsyncMemtrace('http://host:9100/path')",
    }
    assert KEY not in repr(vars(client))
    assert "hunter2" not in repr(vars(client))


@pytest.mark.parametrize(
    ("login", "password"),
    [("me:hunter%202", "hunter 2"), ("me:hunt@er2", "hunt@er2"), ("me", "")],
    ids=["escaped", "with an at sign", "none"],
)
def test_user_and_password_of_the_url_are_sent_as_basic_auth(
    make_client: MakeClient, fake_server: FakeServer, login: str, password: str
) -> None:
    client = make_client(f"http://{login}@host")
    for used in (client, client.with_options(timeout=1), client.with_options(api_key="mtk_other")):
        fake_server.respond(200, MEMORY)
        used.get_memory("mem_1")

        request = fake_server.requests.pop()
        assert request.headers["authorization"] == httpx.BasicAuth("me", password)._auth_header  # noqa: SLF001
        assert request.headers["host"] == "host"
        assert request.url.userinfo == b""  # httpx would log it


@pytest.mark.parametrize("base_url", ["http://localhost:9", "https://localhost:9", "sqlite:///nowhere/x.db"])
def test_making_a_client_opens_no_socket_and_no_file(
    make_client: MakeClient, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("making a client opened something")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    # Making an httpx client reads certificates.
    monkeypatch.setattr(httpx, "Client", refuse)
    monkeypatch.setattr(httpx, "AsyncClient", refuse)

    client = make_client(base_url)
    client.with_options(timeout=1)
    client.close()


def test_no_client_has_a_destructor() -> None:
    assert not hasattr(Memtrace, "__del__")
    assert not hasattr(AsyncMemtrace, "__del__")


def limits(client: Memtrace, fake_server: FakeServer) -> dict[str, float | None]:
    """Return the limits of each step of a call, when the call begins."""
    fake_server.respond(200, MEMORY)
    client.get_memory("mem_1")
    return dict(fake_server.requests[-1].extensions["timeout"])


def for_the_call(seconds: float) -> dict[str, float | None]:
    """Return the limits of a call whose timeout is for the whole call."""
    return {"connect": min(5, seconds / 2), "read": seconds, "write": seconds, "pool": seconds}


def test_default_timeout_is_thirty_seconds_for_the_whole_call(
    make_client: MakeClient,
    fake_server: FakeServer,
    call_clock: list[float],  # noqa: ARG001  # no time passes
) -> None:
    steps = httpx.Timeout(3, connect=1)

    assert limits(make_client(), fake_server) == for_the_call(30)
    assert limits(make_client(timeout=None), fake_server) == for_the_call(30)
    assert limits(make_client(timeout=2), fake_server) == for_the_call(2)
    assert limits(make_client(timeout=steps), fake_server) == steps.as_dict()
    assert limits(make_client().with_options(timeout=2), fake_server) == for_the_call(2)
    assert limits(make_client(timeout=2).with_options(timeout=steps), fake_server) == steps.as_dict()
    assert limits(make_client(timeout=2).with_options(max_retries=1), fake_server) == for_the_call(2)


def test_step_may_take_the_rest_of_the_timeout(make_client: MakeClient, call_clock: list[float]) -> None:
    server = FakeServer().respond(200, MEMORY)
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        for _ in range(2):
            seen.append(dict(request.extensions["timeout"]))
            call_clock[0] += 7
        return server.handle(request)

    make_client(http_client=make_client.http_client(handle), timeout=20).get_memory("mem_1")

    assert seen == [for_the_call(20), for_the_call(13)]
    assert len(server.request.extensions["timeout"]) == len(for_the_call(20))


def test_a_timeout_of_httpx_bounds_each_step(make_client: MakeClient, fake_server: FakeServer) -> None:
    fake_server.respond(200, MEMORY)

    make_client(timeout=httpx.Timeout(3, connect=1)).get_memory("mem_1")

    assert fake_server.request.extensions["timeout"] == httpx.Timeout(3, connect=1).as_dict()


def test_supplied_http_client_keeps_its_settings_and_stays_open(make_client: MakeClient) -> None:
    server = FakeServer().respond(200, MEMORY)
    http_client = make_client.http_client(
        server.handle, headers={"x-proxy": "p"}, cookies={"sticky": "1"}, timeout=7, follow_redirects=True
    )

    with make_client(http_client=http_client, timeout=None) as client:
        client.get_memory("mem_1")

    assert server.request.headers["x-proxy"] == "p"
    assert server.request.headers["cookie"] == "sticky=1"
    assert server.request.headers["x-api-key"] == KEY
    assert server.request.extensions["timeout"] == httpx.Timeout(7).as_dict()
    assert not http_client.is_closed


@pytest.mark.parametrize("timeout", ["30s", (1, 2), {"read": 1}, True], ids=str)
def test_timeout_of_a_wrong_type_is_a_type_error(make_client: MakeClient, timeout: Any) -> None:
    with pytest.raises(TypeError, match=rf"timeout: {re.escape(repr(timeout))} is not a number; give "):
        make_client(timeout=timeout)
    with pytest.raises(TypeError, match=r"timeout: .* is not a number"):
        make_client().with_options(timeout=timeout)


def test_timeout_bounds_calls_over_a_supplied_http_client(make_client: MakeClient) -> None:
    server = FakeServer().respond(200, MEMORY)

    make_client(http_client=make_client.http_client(server.handle), timeout=2).get_memory("mem_1")

    assert set(server.request.extensions["timeout"]) == {"connect", "read", "write", "pool"}
    assert all(0 < seconds <= 2 for seconds in server.request.extensions["timeout"].values())


def test_httpx_timeout_overrides_that_of_a_supplied_http_client(make_client: MakeClient) -> None:
    server = FakeServer().respond(200, MEMORY)
    http_client = make_client.http_client(server.handle, timeout=7)

    make_client(http_client=http_client, timeout=httpx.Timeout(3, read=1)).get_memory("mem_1")

    assert server.request.extensions["timeout"] == httpx.Timeout(3, read=1).as_dict()


def test_an_http_client_of_the_other_kind_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^http_client: it is a httpx.AsyncClient; give a Client of httpx$"):
        Memtrace(http_client=httpx.AsyncClient())  # type: ignore[arg-type]  # the error under test
    with pytest.raises(TypeError, match=r"^http_client: it is a httpx.Client; give an AsyncClient of httpx$"):
        AsyncMemtrace(http_client=httpx.Client())  # type: ignore[arg-type]  # the error under test


def test_an_http_client_for_an_embedded_store_is_refused(make_client: MakeClient) -> None:
    with pytest.raises(ValueError, match="http_client"):
        make_client("sqlite://", http_client=make_client.http_client(FakeServer().handle))


def test_a_copy_with_other_options_shares_the_connections(
    make_client: MakeClient, fake_server: FakeServer, delays: list[float]
) -> None:
    fake_server.respond(200, MEMORY).respond(500).respond(200, MEMORY)
    client = make_client()
    other = client.with_options(timeout=2, max_retries=0, api_key="mtk_other")

    client.get_memory("mem_1")
    with pytest.raises(MemtraceError):
        other.get_memory("mem_1")
    client.get_memory("mem_1")
    other.close()

    assert repr(other) == repr(client)
    assert delays == []
    assert [r.headers["x-api-key"] for r in fake_server.requests] == [KEY, "mtk_other", KEY]
    with pytest.raises(MemtraceError, match="closed"):
        client.get_memory("mem_1")


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy], ids=["pickled", "copied deeply"])
def test_pickling_a_client_raises_an_error_with_the_remedy(make_client: MakeClient, copied: Any) -> None:
    with pytest.raises(TypeError, match=r"^a client .* cannot be pickled; make one where it is used$"):
        copied(getattr(make_client(), "_value", make_client()))


def test_a_copy_of_a_subclass_is_of_the_subclass() -> None:
    class Mine(Memtrace):
        pass

    assert type(Mine("http://host").with_options(timeout=1)) is Mine


def test_call_of_a_closed_client_raises(make_client: MakeClient, fake_server: FakeServer) -> None:
    fake_server.respond(200, page())
    client = make_client()
    with client:
        client.list_memories()
    client.close()

    with pytest.raises(MemtraceError, match="this client is closed"):
        client.list_memories()


async def _aclose() -> None:
    client = AsyncMemtrace("http://host")
    await client.aclose()
    await client.close()


def test_async_client_has_close_and_aclose() -> None:
    import asyncio  # noqa: PLC0415  # for this test alone

    asyncio.run(_aclose())


def test_empty_key_sends_no_header(make_client: MakeClient, fake_server: FakeServer) -> None:
    fake_server.respond(200, MEMORY)

    make_client().with_options(api_key="").get_memory("mem_1")

    assert "x-api-key" not in fake_server.request.headers
