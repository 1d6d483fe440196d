"""`memtrace serve`: the application on a socket, in one process or several."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import Any

import attrs
import msgspec
import uvicorn
from attrs import field, frozen
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from memtrace_server import logs
from memtrace_server.app import HAS_ARRIVED, create_app

_OPTIONS = "MEMTRACE_WORKER_OPTIONS"  # how the options reach workers, which are processes of their own
_BACKLOG = 2048


@frozen(kw_only=True)
class Options:
    """What to serve, and how; see the command's help."""

    host: str
    port: int
    store_url: str
    workers: int
    bootstrap_key: str | None = field(repr=False)
    auth: bool
    log_level: str
    rate_limit: float | None
    max_connections: int
    client_timeout: int
    metrics: bool


def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted.

    Raises:
        ValueError: An option is not valid.
        OSError: The address cannot be bound.
        StoreUnavailable: The store cannot be opened.
    """
    if options.workers > 1 and options.store_url in {"sqlite://", "sqlite:///:memory:"}:
        raise ValueError("a store in memory belongs to one process: give --workers a file to share")
    if options.workers > 1 and options.metrics:
        raise ValueError("each worker would count for itself: use --metrics with one worker")
    logs.configure(options.log_level)
    # Also with workers: what is wrong with the store or the key is told here, and the first key is made.
    application = _application(options)
    listener = _listen(options.host, options.port)
    # uvicorn raises a signal again after it has stopped for it; we have stopped, and that is all.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if options.workers == 1:
        _Server(_config(application, options), _url(listener)).run(sockets=[listener])
        return
    os.environ[_OPTIONS] = msgspec.json.encode(attrs.evolve(options, bootstrap_key=None)).decode()
    _announce(_url(listener))  # connections wait in the socket's queue until a worker takes them
    Multiprocess(_config("memtrace_server.serving:worker", options), sockets=[listener]).run()


def worker() -> Starlette:
    """The application of one of several workers."""
    options = msgspec.json.decode(os.environ[_OPTIONS], type=Options)
    logs.configure(options.log_level)
    return _application(options)


def _application(options: Options) -> Starlette:
    _ImpatientProtocol.patience = options.client_timeout  # on the class: uvicorn makes the instances
    return create_app(
        options.store_url,
        bootstrap_key=options.bootstrap_key,
        auth=options.auth,
        on_new_key=_show_key,
        rate_limit=options.rate_limit,
        client_timeout=options.client_timeout,
        metrics=options.metrics,
    )


def _config(application: Starlette | str, options: Options) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        factory=isinstance(application, str),
        workers=options.workers,
        http=_ImpatientProtocol,
        limit_concurrency=options.max_connections,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=options.client_timeout,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing asks where a client is
        server_header=False,
    )


class _ImpatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, which would wait for a request's head for ever, with an end to its patience.

    Attributes:
        patience: Seconds for a client to send the head.
    """

    patience: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        self._whole = _Whole(transport)
        super().connection_made(self._whole)
        self._lacks_head = False
        self._deadline: asyncio.TimerHandle | None = None
        self._be_impatient()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._lacks_head:
            self._be_patient()
        elif self._deadline is None:
            self._be_impatient()

    def on_message_begin(self) -> None:
        self._lacks_head = True
        self._be_patient()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._lacks_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.scope["extensions"] = {HAS_ARRIVED: {}}
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._whole.flush()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_patient()
        super().connection_lost(exc)

    def _be_impatient(self) -> None:
        self._deadline = self.loop.call_later(self.patience, self.transport.close)

    def _be_patient(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Whole(asyncio.Transport):
    """A connection that sends the head of a response together with its body, which spares a system call.

    To hold back a head is safe: what follows it comes without any waiting between, and nothing follows the
    head that is the whole response only when it is complete.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data[:9] == b"HTTP/1.1 " and data[9:12] != b"100":
            self._head = bytes(data)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send what is held back."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio has it
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()


class _Server(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            _announce(self._url)


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def _url(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _announce(url: str) -> None:
    print(f"Memtrace serves on {url}", file=sys.stderr, flush=True)


def _show_key(key: str) -> None:
    print(f"API key of org_default, shown only now: {key}", flush=True)
