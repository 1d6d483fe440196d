"""Connections to a server, made with httpcore, and how they are kept from outliving a call's deadline.

httpcore bounds each read and each write, so that a server may take for ever if it sends a byte now and then.
It hands the bound that it was given on to whoever reads and writes: here, that may be the end of the call.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import anyio
import httpcore
from httpcore import SOCKET_OPTION

from memtrace._deadlines import Deadline, seconds_until

if TYPE_CHECKING:
    import ssl

# What httpcore raises; its errors have no base class. RuntimeError is for an event loop that is closed,
# TimeoutError for a deadline that has passed, UnicodeError for a host's name that is none.
FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    RuntimeError,
    TimeoutError,
    UnicodeError,
)


def certificates() -> ssl.SSLContext:
    """Read the certificates to trust: SSL_CERT_FILE or SSL_CERT_DIR, or those that come with httpx.

    Raises:
        OSError: If they cannot be read.
    """
    import httpx  # noqa: PLC0415  # of use for https alone, and it takes longer to import than all of ours

    return httpx.create_ssl_context()


# Seconds that a connection is kept without use. Servers close theirs after 5 seconds and more.
_IDLE = 5.0
# What is longer is sent at once, and not copied to be sent with what comes next.
_LARGE = 65536

# As the system gives it, and takes it: host, port, and more for IPv6.
_Address = tuple[object, ...]


class Network:
    """Makes connections, and can end all that it made, even while another thread waits for them."""

    def __init__(self) -> None:
        self._streams: set[_Stream] = set()
        self._lock = threading.Lock()
        self._is_down = False

    def dial(self, origin: httpcore.Origin, ssl_context: ssl.SSLContext | None) -> httpcore.HTTPConnection:
        """Make a connection, which connects with its first request."""
        return httpcore.HTTPConnection(
            origin, ssl_context=ssl_context, keepalive_expiry=_IDLE, network_backend=Backend(self)
        )

    def timeouts(self, deadline: Deadline) -> dict[str, float | None]:
        """Give the bounds of a request's steps, as these connections take them."""
        moment = deadline.moment()
        return deadline.steps or {"connect": moment, "read": moment, "write": moment}

    def add(self, stream: _Stream) -> None:
        """Take note of a connection that is being made.

        Raises:
            httpcore.ConnectError: If this is down.
        """
        with self._lock:
            if self._is_down:
                raise httpcore.ConnectError("the client is closed")
            self._streams.add(stream)

    def remove(self, stream: _Stream) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._streams.discard(stream)

    def take_down(self) -> None:
        """End what is open, and make no more. Who waits for it gets an error and closes it."""
        with self._lock:
            self._is_down = True
            streams = list(self._streams)
        for stream in streams:
            stream.shut_down()


class AsyncNetwork:
    """The same on an event loop, where a task that waits can be cancelled."""

    def dial(
        self, origin: httpcore.Origin, ssl_context: ssl.SSLContext | None
    ) -> httpcore.AsyncHTTPConnection:
        """Make a connection, which connects with its first request."""
        backend = None if ssl_context is None else _SecureBackend()
        return httpcore.AsyncHTTPConnection(
            origin, ssl_context=ssl_context, keepalive_expiry=_IDLE, network_backend=backend
        )

    def timeouts(self, deadline: Deadline) -> dict[str, float | None]:
        """Give the bounds of a request's steps; a call as a whole is bounded by cancelling it."""
        return deadline.steps or {}

    def take_down(self) -> None:
        """Do nothing: the calls that ran were cancelled."""


class Backend(httpcore.NetworkBackend):
    """How connections of threads are made."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002  # nobody asks for one
        socket_options: Iterable[SOCKET_OPTION] | None = None,  # noqa: ARG002  # nor for others than ours
    ) -> httpcore.NetworkStream:
        """Connect to the first of a host's addresses that can be connected to."""
        try:
            addresses = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for family, kind, protocol, _, address in addresses:
            stream = _Stream(socket.socket(family, kind, protocol), self._network)
            try:
                stream.connect(address, timeout)
            except httpcore.ConnectError as error:
                failure = error
            else:
                return stream
        raise failure


class _SecureBackend(httpcore.AnyIOBackend):
    """How connections of tasks are made that are to be secured."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # as httpcore has it
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Unsecured(await super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Unsecured(httpcore.AsyncNetworkStream):
    """A connection before its handshake. httpcore leaves it open when the task is cancelled then."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # as httpcore has it
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            raise


class _Stream(httpcore.NetworkStream):
    """A connection that is read and written by one thread at a time, and may be ended by any other."""

    def __init__(self, connection: socket.socket, network: Network) -> None:
        self._socket = connection
        self._network = network
        self._unsent = b""

    def connect(self, address: _Address, timeout: float | None) -> None:
        try:
            self._network.add(self)
            self._within(timeout)
            self._socket.connect(address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise _mapped(error, httpcore.ConnectTimeout, httpcore.ConnectError) from error
            raise

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            self._within(timeout)
            self._socket = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except BaseException as error:
            self.close()
            # ValueError is for a host that no certificate can name.
            if isinstance(error, OSError | ValueError):
                raise _mapped(error, httpcore.ConnectTimeout, httpcore.ConnectError) from error
            raise
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # A server may answer before it has read all. Then its answer counts, and not the failure to send.
        with contextlib.suppress(httpcore.WriteError):
            self._flush(timeout)
        try:
            self._within(timeout)
            return self._socket.recv(max_bytes)
        except OSError as error:
            raise _mapped(error, httpcore.ReadTimeout, httpcore.ReadError) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # A request's head and its body go out together, before the answer is read: in one system call.
        self._unsent += buffer
        if len(self._unsent) > _LARGE:
            self._flush(timeout)

    def get_extra_info(self, info: str) -> object:
        if info == "is_readable":
            return self._is_readable()
        return self._socket if info == "socket" else None

    def shut_down(self) -> None:
        """End the connection, so that the thread that waits for it waits no more and closes it."""
        # Not as TLS does it, which would reach into what the other thread is using.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self._network.remove(self)
        self._socket.close()

    def _flush(self, timeout: float | None) -> None:
        unsent, self._unsent = memoryview(self._unsent), b""
        try:
            while unsent:
                self._within(timeout)
                unsent = unsent[self._socket.send(unsent) :]
        except OSError as error:
            raise _mapped(error, httpcore.WriteTimeout, httpcore.WriteError) from error

    def _within(self, timeout: float | None) -> None:
        seconds = seconds_until(timeout)
        if seconds == 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(seconds)

    def _is_readable(self) -> bool:
        """Tell whether there is something to read, which is the end if nothing was asked for."""
        self._socket.settimeout(0)
        try:
            socket.socket.recv(self._socket, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True


def _mapped(error: Exception, late: type[Exception], failed: type[Exception]) -> Exception:
    return (late if isinstance(error, TimeoutError) else failed)(str(error))
