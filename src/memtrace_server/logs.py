"""The server's log on standard error: one JSON object a line, or text for a terminal."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import traceback
from datetime import datetime
from types import TracebackType
from typing import Any, TextIO

from memtrace_server import times

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(level: str, *, as_text: bool = False) -> None:
    """Send every log of this process to standard error.

    Args:
        level: The least severe level to log.
        as_text: Whether to write for people instead of JSON.
    """
    handler = _Handler(sys.stderr)
    handler.setFormatter(_TextFormatter() if as_text else _JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if as_text:
        logging.getLogger("uvicorn.error").setLevel("WARNING")  # our own lines say that the server started
    # What no line tells is not looked up (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def request(logger: logging.Logger, request_id: str, *, level: int = logging.INFO, **facts: object) -> None:
    """Log one line about a request; never a key, a query or a body, which may quote a memory."""
    if not logger.isEnabledFor(level):
        return
    # Made by hand: `info` looks up the line that logs, which takes longer than all the rest.
    record = logging.LogRecord(logger.name, level, __file__, 0, "request", (), None)
    record.request = {"request_id": request_id, **facts}
    logger.handle(record)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes the lines of one turn of the event loop together; warnings and errors at once."""

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
        except Exception:  # noqa: BLE001 - as logging does: a line that cannot be written stops nothing
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


class _Formatter(logging.Formatter):
    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's name
        """Return the type and place of an error, without its text, which may quote a memory or a key."""
        parts: list[str] = []
        error = ei[1]
        while error is not None:
            parts.append("".join([*traceback.format_tb(error.__traceback__), type(error).__name__]))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(reversed(parts))


class _JsonFormatter(_Formatter):
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
        return _escaped(line)


class _TextFormatter(_Formatter):
    """Writes what people read while they try something: the time of day, and no field without need."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        request = getattr(record, "request", None)
        if request is None:
            line = f"{moment} {record.levelname.lower()}: {record.getMessage()}"
        else:
            shown = " ".join(str(request.get(name, "-")) for name in _SHOWN)  # malformed HTTP has no path
            line = f"{moment} {shown} ms {request['request_id']}"
        line = _escaped(line)[1:-1]
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


_SHOWN = ("method", "path", "status", "duration_ms")


def _escaped(value: object) -> str:
    """Return JSON in ASCII, so that a terminal obeys no control character and no direction of text."""
    return json.dumps(value).replace("\x7f", "\\u007f")
