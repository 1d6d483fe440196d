"""A server of plain sockets, for behaviour that HTTP servers do not have."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

Serve = Callable[[socket.socket, threading.Event], None]


class Server:
    """A server that handles each connection with a function, in a thread, until the end of the test."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.is_over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self.is_over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._connections:
            # A client that is closed later may still have it open.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._served, args=[connection]))
            self._threads[-1].start()

    def _served(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._serve(connection, self.is_over)
            except OSError:
                return


@pytest.fixture
def serve() -> Iterator[Callable[[Serve], Server]]:
    """Return a function that starts servers."""
    servers: list[Server] = []

    def start(answer: Serve) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


class Silent:
    """Read without responding, and let tests wait for a request."""

    def __init__(self) -> None:
        self._asked = threading.Semaphore(0)

    def __call__(self, connection: socket.socket, is_over: threading.Event) -> None:
        connection.settimeout(0.05)
        while not is_over.is_set():
            with contextlib.suppress(TimeoutError):
                if not connection.recv(65536):
                    return
                self._asked.release()

    def wait(self) -> None:
        """Wait for a request."""
        assert self._asked.acquire(timeout=10)
