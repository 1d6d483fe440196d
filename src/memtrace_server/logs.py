"""The server's log: one JSON object a line, on standard error."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import traceback
from types import TracebackType
from typing import Any, TextIO

from memtrace_server import times

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(level: str) -> None:
    """Send every log of this process to standard error, as JSON."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What no line tells need not be found out (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def request(logger: logging.Logger, request_id: str, *, level: int = logging.INFO, **facts: object) -> None:
    """Log one line about a request: never a key, a query or a body, which may hold what was remembered."""
    if not logger.isEnabledFor(level):
        return
    # Made by hand: to find out which line logs, as `info` does, takes longer than all the rest.
    record = logging.LogRecord(logger.name, level, __file__, 0, "request", (), None)
    record.request = {"request_id": request_id, **facts}
    logger.handle(record)


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
        # ASCII only: a terminal shows no control, and no text that runs the other way.
        return json.dumps(line).replace("\x7f", "\\u007f")

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's name
        """Where it happened and the kind of error; not its text, which may quote a memory or a key."""
        parts: list[str] = []
        error = ei[1]
        while error is not None:
            parts.append("".join([*traceback.format_tb(error.__traceback__), type(error).__name__]))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(reversed(parts))
