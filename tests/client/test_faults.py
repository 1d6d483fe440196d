"""Faults that users of other clients reported, tried on this one."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import ssl
import subprocess
import sys
import textwrap
import urllib.error
import warnings
from email.message import Message
from typing import Any

import httpx
import pytest
from helpers.clients import KEY, MEMORY, FakeServer, MakeClient, error, page
from helpers.peers import Silent

from memtrace import APIConnectionError, AsyncMemtrace, BadRequestError, Memtrace, MemtraceError

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"status":"ok"}'


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower() in {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}:
            monkeypatch.delenv(name)


# A clock that a test has stopped


def test_call_under_a_frozen_clock_is_retried_and_leaves_later_calls_working() -> None:
    # In a process of its own: freezegun patches all modules, and an error in one leaves the clock frozen.
    code = """
        import freezegun, httpx
        from memtrace import Memtrace
        created = httpx.Response(201, json={MEMORY})
        responses = [httpx.Response(503), created, created]
        respond = httpx.MockTransport(lambda request: responses.pop(0))
        client = Memtrace("http://x", http_client=httpx.Client(transport=respond))
        with freezegun.freeze_time("2026-01-01"):
            frozen = client.remember("a", "b")
        assert client.remember("a", "b").time == frozen.time
        print(frozen.time.isoformat())
    """
    code = textwrap.dedent(code).replace("{MEMORY}", repr(MEMORY))
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout == "2026-11-01T09:30:00.123456+00:00\n", done.stderr


# Proxies of the environment


def healthy(connection: socket.socket, _: object) -> None:
    while connection.recv(65536):
        connection.sendall(OK)


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,fd00::/8"},
        {"HTTP_PROXY": "http://127.0.0.1:9"},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"http_proxy": "http://127.0.0.1:not-a-port"},
    ],
    ids=["no_proxy with a network", "proxy", "socks", "unreadable"],
)
def test_a_request_to_this_machine_goes_through_no_proxy(
    make_client: MakeClient, serve: Any, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    url = serve(healthy).url
    assert make_client(url).ready().status == "ok"
    assert make_client(url.replace("127.0.0.1", "localhost")).ready().status == "ok"


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"HTTP_PROXY": "http://proxy.test:not-a-port"}, "HTTP_PROXY"),
        ({"http_proxy": "http://proxy.test:99999"}, "http_proxy"),
        ({"http_proxy": "proxy.test:99999"}, "http_proxy"),
        ({"ALL_PROXY": "socks5://proxy.test:1080"}, "ALL_PROXY"),
        ({"ALL_PROXY": "ftp://me:hunter2@proxy.test"}, "ALL_PROXY"),
        ({"HTTP_PROXY": "http://me:hunter2/x@proxy.test"}, "HTTP_PROXY"),
    ],
    ids=["port", "high port", "no scheme", "socks", "scheme", "slash in a password"],
)
def test_a_proxy_that_cannot_be_used_is_an_error_that_names_the_variable(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], variable: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if "socks" in str(environment):
        monkeypatch.setitem(sys.modules, "socksio", None)

    with pytest.raises(APIConnectionError, match=rf"{variable}[:)]") as caught:
        make_client("http://memtrace.test").ready()

    assert "hunter2" not in str(caught.value)


def test_a_host_of_no_proxy_is_reached_past_the_proxy(
    make_client: MakeClient, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:not-a-port")
    monkeypatch.setenv("NO_PROXY", "fd00::/8,.memtrace.test,other.test:9100")
    fake_server.respond(200, {"status": "ok"}).respond(200, {"status": "ok"})

    assert make_client("http://db.memtrace.test").ready().status == "ok"
    assert make_client("http://other.test:9100").ready().status == "ok"
    with pytest.raises(APIConnectionError, match="HTTP_PROXY"):
        make_client("http://other.test:9101").ready()


@pytest.mark.usefixtures("delays")
def test_unreachable_proxy_is_named_without_its_password(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hunt@er2@127.0.0.1:{port}")

    with pytest.raises(APIConnectionError) as caught:
        make_client("http://memtrace.test").ready()

    message = f"cannot connect through the proxy http://127.0.0.1:{port} (HTTP_PROXY): "
    assert message in caught.value.message
    assert caught.value.message.endswith("; check the proxy")
    assert "hunt@" not in str(caught.value)
    assert "er2@" not in str(caught.value)


# Failures that no retry resolves


def raised_by(first: Exception, cause: BaseException) -> Exception:
    first.__cause__ = cause
    return first


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (
            raised_by(httpx.ConnectError("verify failed"), ssl.SSLCertVerificationError(1, "self-signed")),
            "the certificate or the TLS handshake is refused.+; check base_url, SSL_CERT_FILE, or the",
        ),
        (
            raised_by(httpx.ConnectError("unknown"), socket.gaierror(socket.EAI_NONAME, "no such name")),
            "the name of the host cannot be resolved.+; check base_url$",
        ),
        (httpx.UnsupportedProtocol("ftp"), "cannot be sent"),
        (httpx.InvalidURL("port"), "cannot be sent"),
    ],
    ids=["certificate", "name", "scheme", "URL"],
)
def test_permanent_failure_is_not_retried_and_names_the_remedy(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float], failure: Exception, message: str
) -> None:
    fake_server.fail(failure)

    with pytest.raises(MemtraceError, match=message) as caught:
        sdk.recall("agent_1")

    assert delays == []
    assert caught.value.__cause__ is failure
    assert "is a Memtrace server running there?" not in caught.value.message


@pytest.mark.parametrize(
    "cause",
    [socket.gaierror(socket.EAI_AGAIN, "try again"), ssl.SSLEOFError(8, "EOF"), ConnectionRefusedError()],
    ids=["resolver", "lost", "refused"],
)
def test_a_transient_failure_to_connect_is_retried(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float], cause: BaseException
) -> None:
    fake_server.fail(raised_by(httpx.ConnectError("no"), cause)).respond(200, page())

    assert len(sdk.recall("agent_1")) == 0

    assert len(delays) == 1


@pytest.mark.parametrize("is_supplied", [False, True], ids=["own client", "caller's client"])
def test_impossible_host_name_is_a_value_error_or_bad_request(
    make_client: MakeClient, *, is_supplied: bool
) -> None:
    http: Any = None
    if is_supplied:
        http = httpx.AsyncClient() if make_client.is_async else httpx.Client()

    with pytest.raises((ValueError, BadRequestError), match=r"host|label|idna"):
        make_client("http://a..b", http_client=http).ready()


class HTTPError(Exception):
    """An error of another library, which a hook of the caller may raise."""


@pytest.mark.parametrize(
    "raised",
    [
        urllib.error.HTTPError("http://h", 500, "no", Message(), None),
        HTTPError("no"),
        type("ConnectTimeout", (HTTPError,), {})("no"),
    ],
    ids=["urllib", "same name", "derived"],
)
def test_an_error_of_another_library_reaches_the_caller(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float], raised: Exception
) -> None:
    fake_server.fail(raised)

    with pytest.raises(type(raised)) as caught:
        sdk.recall("agent_1")

    assert caught.value is raised
    assert delays == []


def test_error_derived_from_one_of_httpx_is_retried(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float]
) -> None:
    derived = type("Derived", (httpx.ConnectError,), {})
    fake_server.fail(derived("no")).respond(200, page())

    assert len(sdk.recall("agent_1")) == 0

    assert len(delays) == 1


# Sockets and the event loop


def test_a_cancelled_call_leaves_no_socket_to_the_garbage_collector(serve: Any) -> None:
    silent = Silent()
    url = serve(silent).url

    async def run() -> None:
        async with AsyncMemtrace(url) as client:
            for _ in range(3):
                task = asyncio.create_task(client.recall("agent_1"))
                await asyncio.to_thread(silent.wait)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        asyncio.run(run())
        gc.collect()


STALL = """
import asyncio, contextlib, sys
from memtrace import AsyncMemtrace, MemtraceError

calls = certificates = 0

# Of the event loop's thread alone. A busy machine takes longer for the same calls, but makes no more of them.
def count(frame, event, argument):
    global calls, certificates
    calls += event in {"call", "c_call"}
    certificates += event == "c_call" and argument.__name__ == "load_verify_locations"

async def main():
    client = AsyncMemtrace(sys.argv[1], max_retries=0)
    most, done, last = 0, asyncio.Event(), 0

    async def watch():
        nonlocal most, last
        while not done.is_set():
            await asyncio.sleep(0)
            most, last = max(most, calls - last), calls

    watcher = asyncio.create_task(watch())
    sys.setprofile(count)
    with contextlib.suppress(MemtraceError):  # the server has no TLS
        await client.ready()
    sys.setprofile(None)
    done.set()
    await watcher
    await client.close()
    print(most, certificates)

asyncio.run(main())
"""


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_first_call_of_a_client_does_not_hold_up_the_event_loop(serve: Any, scheme: str) -> None:
    url = serve(healthy).url.replace("http", scheme, 1)

    # Measuring coverage would make more calls than the rest.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", STALL, url], capture_output=True, text=True, check=True, env=plain
    )

    most, certificates = map(int, done.stdout.split())
    assert certificates == 0
    assert 0 < most < 50_000  # 18,000 were measured, which take some 15 ms; importing httpx takes 210,000


# Secrets in messages


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("http://memtrace.example", True),
        ("http://10.0.0.5:9100", True),
        ("https://memtrace.example", False),
        ("http://localhost:9100", False),
        ("http://memory.localhost:9100", False),
        ("http://localhost.example", True),
        ("http://127.0.0.1:9100", False),
        ("http://[::1]:9100", False),
        ("sqlite://", False),
    ],
)
@pytest.mark.usefixtures("no_warnings_before")
def test_key_sent_unencrypted_is_one_warning(
    caplog: pytest.LogCaptureFixture, url: str, *, is_warned: bool
) -> None:
    with caplog.at_level(logging.WARNING, "memtrace"):
        for _ in range(3):
            Memtrace(url, KEY).with_options(api_key="mtk_other")
            Memtrace(url)

    warned = [record.getMessage() for record in caplog.records if record.name == "memtrace"]
    assert len(warned) == is_warned
    assert KEY not in str(warned)


def test_text_of_a_server_is_shown_without_control_characters_and_key(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.respond(
        404,
        error(f"No\x1b[31m agent\r\n\u202e for {KEY}", code=f"not\x00found{KEY}"),
        headers={"x-request-id": f"req_{KEY}"},
    )

    with pytest.raises(MemtraceError) as caught:
        sdk.get_agent("a")

    assert str(caught.value) == (
        "No\\x1b[31m agent\\r\\n\\u202e for [secret] (HTTP 404, not\\x00found[secret], request req_[secret])"
    )


def test_password_of_the_url_is_not_in_errors(make_client: MakeClient, fake_server: FakeServer) -> None:
    fake_server.respond(400, error("You said hunter2"))

    with pytest.raises(MemtraceError) as caught:
        make_client("https://me:hunter2@memtrace.test").get_agent("a")

    assert str(caught.value).startswith("You said [secret]")


def test_an_error_before_sending_has_no_status(sdk: Memtrace) -> None:
    for wrong in ("", ".", "..", "a" * 70_000):
        with pytest.raises(BadRequestError) as caught:
            sdk.get_agent(wrong)
        assert caught.value.status_code == 0


def test_ids_in_a_body_are_checked_as_those_in_a_path(sdk: Memtrace) -> None:
    for wrong in ("", ".", ".."):
        with pytest.raises(BadRequestError, match=r"^name: "):
            sdk.register_agent(wrong)
        with pytest.raises(BadRequestError, match=r"^supersedes: "):
            sdk.remember("a", "b", supersedes=wrong)


# Types of arguments


class Url:
    """A URL like pydantic's."""

    scheme, host = "http", "memtrace.test"

    def __str__(self) -> str:
        return "http://memtrace.test/"


class SecretStr:
    """A secret like pydantic's."""

    def get_secret_value(self) -> str:
        return KEY


@pytest.mark.parametrize("base_url", [httpx.URL("http://memtrace.test/"), Url()], ids=["httpx", "pydantic"])
def test_url_objects_and_secrets_are_accepted(
    make_client: MakeClient, fake_server: FakeServer, base_url: Any
) -> None:
    fake_server.respond(200, {"status": "ok"})
    secret: Any = SecretStr()

    make_client(base_url, secret).ready()

    assert str(fake_server.request.url) == "http://memtrace.test/ready"
    assert fake_server.request.headers["x-api-key"] == KEY


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((5,), "base_url"),
        ((b"http://x",), "base_url"),
        (("http://x", 5), "api_key"),
        (("http://x", b"k"), "api_key"),
    ],
    ids=["number", "bytes", "number as key", "bytes as key"],
)
def test_argument_of_a_wrong_type_is_a_type_error_that_names_it(
    make_client: MakeClient, arguments: tuple[Any, ...], named: str
) -> None:
    with pytest.raises(TypeError, match=f"^{named}: it is of type .*; give a string"):
        make_client(*arguments)


def test_white_space_around_the_url_of_the_environment_is_stripped(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMTRACE_URL", "  http://memtrace.test\n")

    assert make_client(None).base_url == "http://memtrace.test"


def test_default_headers_go_with_every_request(make_client: MakeClient, fake_server: FakeServer) -> None:
    fake_server.respond(201, MEMORY).respond(200, page())
    client = make_client(default_headers={"X-Team": "blue", "User-Agent": "agent/1"})

    client.remember("a", "b")
    client.with_options(api_key="mtk_other").recall("a")

    for request in fake_server.requests:
        assert (request.headers["x-team"], request.headers["user-agent"]) == ("blue", "agent/1")
    assert [r.headers["x-api-key"] for r in fake_server.requests] == [KEY, "mtk_other"]


def test_user_agent_of_a_supplied_http_client_is_kept(make_client: MakeClient) -> None:
    server = FakeServer().respond(200, {"status": "ok"}).respond(200, {"status": "ok"})
    own = make_client.http_client(server.handle, headers={"User-Agent": "agent/1"})

    make_client(http_client=own).ready()
    make_client(http_client=make_client.http_client(server.handle)).ready()

    assert [request.headers["user-agent"].split("/")[0] for request in server.requests] == [
        "agent",
        "memtrace-sdk",
    ]


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"x y": "a"}, ValueError),
        ({"x": "a\nb"}, ValueError),
        ({"x": " a"}, ValueError),
        ({"x": 5}, TypeError),
        ({5: "x"}, TypeError),
    ],
    ids=["space in a name", "line break", "leading space", "number", "number as a name"],
)
def test_a_default_header_that_cannot_be_sent_is_refused(
    make_client: MakeClient, headers: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="default_headers"):
        make_client(default_headers=headers)


def test_time_of_nine_digits_is_cut_and_not_rounded(sdk: Memtrace, fake_server: FakeServer) -> None:
    memory = {**MEMORY, "time": "2026-11-01T09:30:00.999999999Z", "metadata": {"time": "0.123456789"}}
    fake_server.respond(200, page(memory))

    (read,) = sdk.recall("agent_1")

    assert read.time.isoformat() == "2026-11-01T09:30:00.999999+00:00"
    assert read.metadata == {"time": "0.123456789"}
