"""`memtrace serve`: the application on a socket, in one process or several."""

from __future__ import annotations

import ctypes
import gc
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial

import attrs
import msgspec
import uvicorn
from attrs import field, frozen
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess

from memtrace_server import logs
from memtrace_server.app import create_app
from memtrace_server.auth import check_key
from memtrace_server.connections import Limits, Slots, accept
from memtrace_server.greeting import Greeting
from memtrace_server.store_url import StoreUrl

_OPTIONS = "MEMTRACE_WORKER_OPTIONS"  # how the options reach workers, which are processes of their own
_BOOTSTRAP_KEY = "MEMTRACE_BOOTSTRAP_KEY"
_BACKLOG = 2048
_SPARE_FILES = 256  # what a worker opens besides connections, and connections that are refused
_HEALTHCHECK = 30  # seconds until a worker that does not respond is replaced; a busy machine is no reason
_SWITCH_INTERVAL = 0.001  # seconds; with Python's 5 ms, small requests took twice as long beside costly ones
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT = 4 << 20  # bytes that a thread keeps of what it freed
_LARGE = 1 << 20  # bytes of a block that is returned at once
_NEW_OBJECTS = 10_000  # that the collector lets come before it looks for cycles among them
_HEADERS = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]


@frozen(kw_only=True)
class Options:
    """What to serve, and how; see the command's help."""

    host: str
    port: int
    store_url: str = field(repr=False)
    workers: int
    bootstrap_key: str | None = field(repr=False)
    auth: bool
    no_auth_on_network: bool
    cors_origins: Sequence[str]
    forwarded_allow_ips: str | None
    log_level: str
    log_format: str
    rate_limit: float | None
    auth_failure_limit: float | None
    max_connections: int
    client_timeout: int
    request_timeout: float
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
    if options.bootstrap_key is not None:
        check_key(options.bootstrap_key)  # before a store is created for it
    as_text = options.log_format == "text" or (options.log_format == "auto" and sys.stderr.isatty())
    options = attrs.evolve(
        options, store_url=StoreUrl.parse(options.store_url).url, log_format="text" if as_text else "json"
    )
    logs.configure(options.log_level, as_text=as_text)
    _allow_files(options.max_connections)
    listener = _listen(options)
    greeting = Greeting(_url(listener), options.store_url, as_text, options.auth)
    # Also with workers: faults of the store or the key are reported here, and the first key is created.
    application = _application(options, greeting)
    if options.workers == 1:
        server = _Server(_config(application, options), greeting)
        stop_by_signals(server)
        server.run(sockets=[listener])
        return
    os.environ.pop(_BOOTSTRAP_KEY, None)  # workers have no use for the key, and inherit this environment
    os.environ[_OPTIONS] = msgspec.json.encode(attrs.evolve(options, bootstrap_key=None)).decode()
    workers = Multiprocess(_config("memtrace_server.serving:worker", options), sockets=[listener])
    greeting.tell()  # connections wait in the socket's queue until a worker takes them
    workers.run()


def stop_by_signals(server: uvicorn.Server) -> None:
    """Let SIGTERM and SIGINT end a server, also before it runs.

    uvicorn listens to them while it runs, and raises them again once it has stopped; then nothing happens.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)


def worker() -> Starlette:
    """Return the application of one of several workers."""
    options = msgspec.json.decode(os.environ[_OPTIONS], type=Options)
    logs.configure(options.log_level, as_text=options.log_format == "text")
    return _application(options)


def _application(options: Options, greeting: Greeting | None = None) -> Starlette:
    sys.setswitchinterval(_SWITCH_INTERVAL)
    _return_memory()
    application = create_app(
        options.store_url,
        bootstrap_key=options.bootstrap_key,
        auth=options.auth,
        on_keys=greeting.note_keys if greeting else None,
        any_host=options.no_auth_on_network,
        cors_origins=options.cors_origins,
        rate_limit=options.rate_limit,
        failure_limit=options.auth_failure_limit,
        client_timeout=options.client_timeout,
        request_timeout=options.request_timeout,
        metrics=options.metrics,
    )
    # Nearly all that requests make is freed without the collector, which looked through it every 700 objects,
    # and through all that was imported, too: 6 % of a server's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    return application


def _return_memory() -> None:
    """Make the C library return freed memory to the system.

    By default, glibc raises its thresholds when a large block is freed, and from then on keeps up to 64 MiB
    for each thread: in a soak, hundreds of MiB of pages and batches that had been answered
    (https://man7.org/linux/man-pages/man3/mallopt.3.html, M_MMAP_THRESHOLD).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def _config(application: Starlette | str, options: Options) -> uvicorn.Config:
    limits = Limits(client_timeout=options.client_timeout, slots=Slots(options.max_connections))
    return uvicorn.Config(
        application,
        factory=isinstance(application, str),
        workers=options.workers,
        http=partial(accept, limits=limits),  # type: ignore[arg-type] # uvicorn only calls it
        ws="none",
        backlog=_BACKLOG,
        timeout_keep_alive=options.client_timeout,
        timeout_graceful_shutdown=options.client_timeout,
        timeout_worker_healthcheck=_HEALTHCHECK,
        log_config=None,
        access_log=False,
        proxy_headers=options.forwarded_allow_ips is not None,
        forwarded_allow_ips=options.forwarded_allow_ips,
        server_header=False,
        headers=_HEADERS,
    )


class _Server(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, greeting: Greeting) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._greeting.tell()


def _allow_files(connections: int) -> None:
    """Raise the limit of open files to the number of connections: without a free one, the store fails.

    Raises:
        ValueError: The system does not allow this number.
    """
    if sys.platform == "win32":  # has no such limit
        return
    import resource  # noqa: PLC0415 - of Unix only

    needed = connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise ValueError(
                f"--max-connections: {connections} need {needed} open files, but the system allows {hard};"
                " raise its limit (ulimit -n) or lower --max-connections"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _listen(options: Options) -> socket.socket:
    try:
        return _bound(options)
    except OSError as error:
        where = f"{options.host}, port {options.port}"
        raise OSError(
            f"cannot listen on {where}: {error.strerror}; choose another --host or --port"
        ) from error


def _bound(options: Options) -> socket.socket:
    found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    is_open = not options.auth and not options.no_auth_on_network
    if is_open and not ipaddress.ip_address(address[0]).is_loopback:
        raise ValueError(
            f"--no-auth: {address[0]} can be reached from the network, by everybody and without a key;"
            " listen on 127.0.0.1, or insist with --insecure-no-auth-on-network"
        )
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
