"""The server's log: one JSON object a line, on standard error."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, TextIO

import msgspec

from memtrace_server import times


def configure(level: str) -> None:
    """Send every log of this process to standard error, as JSON."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What no line tells need not be found out (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class _Handler(logging.StreamHandler[TextIO]):
    """Writes the lines of requests that are answered together in one go, and everything else at once."""

    def __init__(self, stream: TextIO) -> None:
        self._lines: list[str] = []
        super().__init__(stream)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(f"{self.format(record)}\n")
            loop = _loop() if record.levelno <= logging.INFO else None
            if loop is None:
                self.flush()
            elif len(self._lines) == 1:
                loop.call_soon(self.flush)
        except Exception:  # noqa: BLE001 - logging's own way: a line that cannot be written stops nobody
            self.handleError(record)

    def flush(self) -> None:
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            self.stream.write("".join(lines))
            self.stream.flush()
        finally:
            self.release()


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": times.render(round(record.created * 1_000) * 1_000_000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "request", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()
