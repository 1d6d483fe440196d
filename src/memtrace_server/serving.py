"""`memtrace serve`: the application on a socket, in one process or several."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import attrs
import msgspec
import uvicorn
from attrs import field, frozen
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from memtrace_server import logs
from memtrace_server.app import create_app

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
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.patience, transport.close)

    def on_message_begin(self) -> None:
        self._deadline.cancel()
        self._deadline = self.loop.call_later(self.patience, self.transport.close)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._deadline.cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)


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
