"""`memtrace serve`: the application on a socket, in one process or several."""

from __future__ import annotations

import os
import signal
import socket
import sys

import uvicorn
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess

from memtrace_server import logs
from memtrace_server.app import create_app

_STORE, _NO_AUTH, _LOG_LEVEL = "MEMTRACE_STORE", "MEMTRACE_NO_AUTH", "MEMTRACE_LOG_LEVEL"
_BACKLOG = 2048


def serve(  # noqa: PLR0913 - one for each option of the command
    *,
    host: str,
    port: int,
    store_url: str,
    workers: int,
    bootstrap_key: str | None,
    auth: bool,
    log_level: str,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted.

    Raises:
        ValueError: An option is not valid.
        OSError: The address cannot be bound.
        StoreUnavailable: The store cannot be opened.
    """
    if workers > 1 and store_url == "sqlite://":
        raise ValueError("a store in memory belongs to one process: give --workers a file to share")
    logs.configure(log_level)
    application = create_app(store_url, bootstrap_key=bootstrap_key, auth=auth, on_new_key=_show_key)
    listener = _listen(host, port)
    config = uvicorn.Config(
        application, workers=workers, log_config=None, access_log=False, server_header=False, backlog=_BACKLOG
    )
    # uvicorn raises a signal again after it has stopped for it; we have stopped, and that is all.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if workers == 1:
        _Server(config, _url(listener)).run(sockets=[listener])
        return
    # Workers are processes of their own, which learn what to serve from the environment.
    os.environ.update({_STORE: store_url, _NO_AUTH: "" if auth else "1", _LOG_LEVEL: log_level})
    config = uvicorn.Config(
        "memtrace_server.serving:worker", factory=True, workers=workers, log_config=None, access_log=False,
        server_header=False, backlog=_BACKLOG,
    )  # fmt: skip
    _announce(_url(listener))  # connections wait in the socket's queue until a worker takes them
    Multiprocess(config, sockets=[listener]).run()


def worker() -> Starlette:
    """The application of one of several workers."""
    logs.configure(os.environ[_LOG_LEVEL])
    return create_app(os.environ[_STORE], auth=not os.environ[_NO_AUTH])


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
