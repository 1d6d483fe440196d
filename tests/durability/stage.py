"""A server on which a test plays: it notes when each request comes, and answers as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import perf_counter
from typing import Self

Play = Callable[[], Iterable[bytes | float]]
"""What a request is answered: bytes to send and seconds to pause; then the connection ends."""


class Stage:
    """Listens on a free port, in a thread of its own, while it is entered.

    Attributes:
        url: Where it listens.
        arrivals: When it began to answer each request, as `perf_counter` tells it.
    """

    def __init__(self, play: Play, *, listens: bool = True) -> None:
        """Prepare a server.

        Args:
            play: Called for every request.
            listens: Whether it reads requests; otherwise it plays when somebody connects.
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
        """End, whatever is being played."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=256, limit=1 << 12)

    async def _end(self) -> None:
        self._server.close()
        for task in self._playing:
            task.cancel()
        await asyncio.gather(*self._playing, return_exceptions=True)

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


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer as it is sent, after which the connection ends."""
    lines = [f"HTTP/1.1 {status} So", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
