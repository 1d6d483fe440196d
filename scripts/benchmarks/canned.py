"""A server with canned responses, which does as little else as possible, so that clients are measured.

Run as a script, it prints its port, and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from typing import Any, cast

_LENGTH = b"\r\ncontent-length:"


def _memory(number: int) -> dict[str, Any]:
    """Return a memory like a server's, with the fields of memories in other parts of the benchmark."""
    return {
        "id": f"mem_01JD5P8E6W3M9V2QXA7RKB{number:04d}",
        "time": f"2026-11-01T09:30:00.{number:06d}Z",
        "org_id": "org_default",
        "agent_id": "agent_1",
        "session_id": "sess_1",
        "memory_type": "episodic",
        "event_type": "action",
        "content": f"The user prefers dark mode in all of the settings, and has said so {number} times",
        "tags": ["load"],
        "importance": 0.5,
    }


def _answer(body: object, status: str) -> bytes:
    content = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-request-id: req_01JD5P8E6W3M9V2QXA7RKB\r\n"
    )
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


def _page(size: int) -> bytes:
    memories = [_memory(number) for number in range(size)]
    return _answer({"memories": memories, "count": size, "has_more": False}, "200 OK")


@functools.cache
def _batch(size: int) -> bytes:
    memories = [_memory(number) for number in range(size)]
    return _answer({"memories": memories, "count": size, "duplicates": []}, "201 Created")


_STORED = _answer(_memory(1), "201 Created")
_PAGES = {b"agent_id=hundred": _page(100), b"agent_id=thousand": _page(1000)}


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        self._asked += data
        head, end, rest = self._asked.partition(b"\r\n\r\n")
        _, has_body, length = head.lower().partition(_LENGTH)
        if not end or (has_body and len(rest) < int(length.partition(b"\r\n")[0])):
            return
        self._asked = b""
        query = head.partition(b"\r\n")[0]
        if rest.startswith(b'{"memories":'):
            self._write(_batch(rest.count(b'"content":')))
        else:
            self._write(next((page for agent, page in _PAGES.items() if agent in query), _STORED))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
