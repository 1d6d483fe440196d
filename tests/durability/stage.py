"""A server that follows a script: it records when each request comes, and sends what the script says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import perf_counter
from typing import Self

Play = Callable[[], Iterable[bytes | float]]
"""The response to a request: bytes to send and seconds to wait; then the connection ends."""


class Stage:
    """Run a scripted server in its own thread in a `with` block.

    Attributes:
        url: Its URL.
        arrivals: When it began to respond to each request (`perf_counter`).
    """

    def __init__(self, play: Play, *, listens: bool = True) -> None:
        """Prepare a server.

        Args:
            play: Called for every request.
            listens: Whether it reads requests; otherwise it calls `play` for every connection.
        """
        self.url = ""
        self.arrivals: list[float] = []
        self._play = play
        self._listens = listens
        self._loop = asyncio.new_event_loop()
        self._playing: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End, including all running scripts."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=256, limit=1 << 12)

    async def _end(self) -> None:
        # To close the server would leave connections open that it has just accepted.
        self._loop.remove_reader(self._server.sockets[0].fileno())
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._playing:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.05)
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._playing.add(task)
            task.add_done_callback(self._playing.discard)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if self._listens:
                    await reader.readuntil(b"\r\n\r\n")
                self.arrivals.append(perf_counter())
                for step in self._play():
                    if isinstance(step, float):
                        await asyncio.sleep(step)
                    else:
                        writer.write(step)
                        await writer.drain()
        finally:
            writer.transport.abort()


def response(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of a response, after which the connection ends."""
    lines = [f"HTTP/1.1 {status} So", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
