"""A client's own connections: how many there are, which are used again, and what they trust."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from memtrace_api.requests import get_ready
from sdk_harness import MakeClient
from socket_server import Server, Silent

from memtrace import APIConnectionError, APITimeoutError, AsyncMemtrace, Memtrace, _deadlines
from memtrace._async.pool import AsyncPool
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._network import Network, _Stream
from memtrace._requests import call
from memtrace._sync.pool import Pool

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"status":"ok"}'
CERTIFICATE = Path(__file__).parent / "data" / "localhost.pem"


class Counted:
    """Answers every request, and counts connections; at a barrier of so many requests, if there is one."""

    def __init__(self, together: int = 1) -> None:
        self.connections = 0
        self.open = 0
        self._barrier = threading.Barrier(together)
        self._lock = threading.Lock()

    def __call__(self, connection: socket.socket, _: threading.Event) -> None:
        with self._lock:
            self.connections += 1
            self.open += 1
        while connection.recv(65536):
            self._barrier.wait(10)
            connection.sendall(OK)
        with self._lock:
            self.open -= 1


def test_threads_use_as_many_connections_as_they_need_at_once(serve: Any) -> None:
    counted = Counted(together=8)
    with Memtrace(serve(counted).url) as client, ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            list(threads.map(lambda _: client.ready(), range(8)))

    assert counted.connections == 8


def test_a_thousand_tasks_use_a_hundred(serve: Any) -> None:
    async def run() -> None:
        async with AsyncMemtrace(serve(counted).url) as client:
            await asyncio.gather(*[client.ready() for _ in range(1000)])

    counted = Counted()
    asyncio.run(run())

    assert 1 < counted.connections <= 100


def test_sixty_threads_do_too_and_none_is_in_the_way_of_another(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memtrace._sync.pool.MOST", 4)
    counted = Counted()
    with Memtrace(serve(counted).url) as client, ThreadPoolExecutor(60) as threads:
        assert [health.status for health in threads.map(lambda _: client.ready(), range(300))] == ["ok"] * 300

    assert counted.connections <= 4


def resets(connection: socket.socket) -> None:
    """Close with a reset, as a server does that is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize(("end", "retries"), [(socket.socket.close, 0), (resets, 2)], ids=["closed", "reset"])
def test_a_connection_that_the_server_has_ended_is_not_used_again(
    make_client: MakeClient, serve: Any, end: Callable[[socket.socket], None], retries: int
) -> None:
    ended = threading.Semaphore(0)

    def answer_once(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(OK)
        end(connection)
        ended.release()

    client = make_client(serve(answer_once).url, max_retries=retries)

    for _ in range(3):
        assert client.ready().status == "ok"
        assert ended.acquire(timeout=5)


def test_connections_that_are_not_needed_any_more_are_closed(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memtrace._network._IDLE", 0.05)
    counted = Counted(together=4)
    with Memtrace(serve(counted).url) as client, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: client.ready(), range(4)))
        counted._barrier = threading.Barrier(1)  # noqa: SLF001  # from here on, they come alone
        for _ in range(200):
            client.ready()
            if counted.open == 1:
                break
            threading.Event().wait(0.01)

        assert counted.open == 1


def test_all_addresses_of_a_host_are_tried(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = serve(Counted())
    right = int(server.url.rpartition(":")[2])

    def two(host: str, asked: int, *more: Any) -> list[Any]:
        assert host == "two.example"
        found = resolve("127.0.0.1", asked, *more)
        return [(*entry[:4], ("127.0.0.1", to)) for to in (port, right) for entry in found]

    monkeypatch.setattr(socket, "getaddrinfo", two)

    with Memtrace(f"http://two.example:{right}", max_retries=0) as client:
        assert client.ready().status == "ok"


def test_a_host_without_an_address_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])

    with pytest.raises(APIConnectionError, match=r"none\.example has no address"):
        Memtrace("http://none.example", max_retries=0).ready()


@pytest.mark.parametrize("host", [f"{'a' * 64}.example", "..", "a..b"])
def test_a_name_that_no_host_can_have_is_one_too(make_client: MakeClient, host: str) -> None:
    with pytest.raises(APIConnectionError):
        make_client(f"http://{host}", max_retries=0).ready()


# With TLS.


@pytest.fixture
def secure(serve: Any) -> str:
    """The URL of a server with a certificate for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)

    def answer(connection: socket.socket, is_over: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.settimeout(0.05)
            while not is_over.is_set():
                with contextlib.suppress(TimeoutError):
                    if not wrapped.recv(65536):
                        return
                    wrapped.sendall(OK)

    server: Server = serve(answer)
    return server.url.replace("http://127.0.0.1", "https://localhost")


def test_a_certificate_that_the_environment_trusts_is_trusted(
    make_client: MakeClient, secure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    client = make_client(secure)

    assert [client.ready().status for _ in range(3)] == ["ok"] * 3


def test_any_other_is_not(make_client: MakeClient, secure: str) -> None:
    with pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        make_client(secure, max_retries=0).ready()


def test_nor_is_one_for_another_host(
    make_client: MakeClient, secure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))

    with pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        make_client(secure.replace("localhost", "127.0.0.1"), max_retries=0).ready()


def test_those_that_httpx_trusts_are_trusted(
    make_client: MakeClient, secure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = ssl.create_default_context(cafile=str(CERTIFICATE))
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: trusted)

    assert make_client(secure).ready().status == "ok"


@pytest.mark.parametrize("timeout", [0.5, httpx.Timeout(30, connect=0.2)])
def test_a_server_that_does_not_finish_the_handshake_is_left(
    make_client: MakeClient, serve: Any, timeout: Any
) -> None:
    def stall(connection: socket.socket, is_over: threading.Event) -> None:
        connection.recv(65536)
        is_over.wait()

    url = serve(stall).url.replace("http:", "https:")

    with pytest.raises(APITimeoutError, match="cannot connect in time"):
        make_client(url, timeout=timeout, max_retries=0).ready()


def test_the_certificates_are_not_read_for_http(
    make_client: MakeClient, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    assert make_client(serve(Counted()).url).ready().status == "ok"


def test_a_connection_that_is_made_while_the_client_is_closed_is_closed(serve: Any) -> None:
    network = Network()
    network.take_down()
    url = httpcore.URL(serve(Counted()).url)

    with pytest.raises(httpcore.ConnectError, match="the client is closed"):
        network.dial(url.origin, None).handle_request(httpcore.Request("GET", url))


def test_a_connection_that_is_closed_is_forgotten(serve: Any) -> None:
    network = Network()
    url = httpcore.URL(serve(Counted()).url)

    with network.dial(url.origin, None) as connection:
        request = httpcore.Request("GET", url, headers={"Host": "127.0.0.1"})
        assert connection.handle_request(request).status == 200
        assert len(network._streams) == 1  # noqa: SLF001  # private, and looked at on purpose
    assert network._streams == set()  # noqa: SLF001


def test_one_that_is_not_connected_yet_can_be_ended() -> None:
    network = Network()
    with socket.socket() as unconnected:
        network.add(_Stream(unconnected, network))
        network.take_down()


def test_what_the_server_said_before_it_left_is_read_though_nothing_can_be_sent_any_more() -> None:
    ours, theirs = socket.socketpair()
    stream = _Stream(ours, Network())
    theirs.sendall(b"HTTP/1.1 408 Late")
    theirs.close()

    stream.write(b"GET")
    assert stream.read(100, 5) == b"HTTP/1.1 408 Late"
    with pytest.raises(httpcore.WriteError):
        stream.write(b"x" * 100_000, 5)
    stream.close()


def test_a_server_that_reads_nothing_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    stream = _Stream(ours, Network())
    with theirs:
        with pytest.raises(httpcore.WriteTimeout):
            stream.write(b"x" * 10_000_000, 0.01)
        stream.write(b"and more")
        with pytest.raises(httpcore.WriteTimeout):
            stream.read(100, 0.01)
    stream.close()


def test_the_connection_can_be_asked_for_its_socket(make_client: MakeClient, serve: Any) -> None:
    server = serve(Counted())
    client = make_client(server.url)

    ready = getattr(client, "_value", client).ready
    stream = client.with_response(ready).response.extensions["network_stream"]

    assert f"http://127.0.0.1:{stream.get_extra_info('socket').getpeername()[1]}" == server.url
    assert stream.get_extra_info("colour") is None


def test_an_answer_that_a_reset_cuts_off_is_an_error_of_ours(make_client: MakeClient, serve: Any) -> None:
    def answer_half(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(OK[:-5])
        resets(connection)

    with pytest.raises(APIConnectionError, match="the connection was lost"):
        make_client(serve(answer_half).url, max_retries=0).ready()


def test_one_that_the_server_has_reset_is_seen_to_be_of_no_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        stream = _Stream(ours, Network())
        theirs, _ = server.accept()
        assert stream.get_extra_info("is_readable") is False
        resets(theirs)
        select.select([ours], [], [], 5)

        assert stream.get_extra_info("is_readable") is True
        stream.close()


@pytest.mark.parametrize("most", [2, 4])
def test_tasks_close_what_they_do_not_need_any_more(
    serve: Any, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("memtrace._network._IDLE", 0.05)
    counted = Counted(together=most)

    async def run() -> None:
        async with AsyncMemtrace(serve(counted).url) as client:
            await asyncio.gather(*(client.ready() for _ in range(most)))
            counted._barrier = threading.Barrier(1)  # noqa: SLF001  # from here on, they come alone
            for _ in range(200):
                await client.ready()
                if counted.open == 1:
                    break
                await asyncio.sleep(0.01)
            assert counted.open == 1

    asyncio.run(run())

    assert counted.connections == most


def test_who_waits_for_a_connection_longer_than_httpx_allows_is_told(serve: Any) -> None:
    silent = Silent()
    url = serve(silent).url

    async def run() -> None:
        async with AsyncMemtrace(url, max_retries=0) as client:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("memtrace._async.pool.MOST", 1)
                first = asyncio.create_task(client.ready())
                await asyncio.to_thread(silent.wait)
                with pytest.raises(APITimeoutError, match="no connection of the pool became free in time"):
                    await client.with_options(timeout=httpx.Timeout(5, pool=0.01)).ready()
                first.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await first

    asyncio.run(run())


def test_an_interrupted_handshake_leaves_no_connection(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Semaphore(0)

    def wait_for_the_end(connection: socket.socket, _: threading.Event) -> None:
        assert connection.recv(65536) == b""
        closed.release()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    url = serve(wait_for_the_end).url.replace("http:", "https:")
    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", interrupt)
    with Memtrace(url) as client:
        with pytest.raises(KeyboardInterrupt):
            client.ready()
        assert closed.acquire(timeout=5)


def test_a_connection_that_comes_back_to_a_closed_pool_is_closed(serve: Any) -> None:
    config = Config.from_arguments(serve(Counted()).url, None, timeout=5.0, max_retries=0)
    ready = call(get_ready)

    with contextlib.closing(Pool(config.root)) as pool:
        assert pool.send(ready, config, Deadline(5.0)).status == 200
        connection = pool._popped()  # noqa: SLF001  # as a call takes it, just before another thread closes
        assert connection is not None
        pool.close()
        pool._put_back(connection)  # noqa: SLF001
        assert pool._popped() is None  # noqa: SLF001
        assert connection.is_closed()

    async def run() -> None:
        pool = AsyncPool(config.root)
        assert (await pool.send(ready, config, Deadline(5.0))).status == 200
        connection = pool._popped()  # noqa: SLF001
        assert connection is not None
        await pool.aclose()
        await pool._put_back(connection)  # noqa: SLF001
        assert pool._popped() is None  # noqa: SLF001
        assert connection.is_closed()

    asyncio.run(run())


def test_a_deadline_that_passes_between_two_reads_is_kept(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]
    monkeypatch.setattr(_deadlines, "monotonic", lambda: time.monotonic() + passed[0])

    def answer_half(connection: socket.socket, is_over: threading.Event) -> None:
        connection.recv(65536)
        passed[0] = 100.0
        connection.sendall(OK[:-5])
        is_over.wait()

    with (
        Memtrace(serve(answer_half).url, timeout=30, max_retries=0) as client,
        pytest.raises(APITimeoutError, match="no answer in time"),
    ):
        client.ready()
