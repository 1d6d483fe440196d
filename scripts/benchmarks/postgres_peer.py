"""PostgresStore of LangGraph in its own environment; its commands are `load N`, `put N` and `read N`.

The response to each is a line: the seconds of one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

_BATCH = 1_000
_NEWEST = 100
_BUSY = ("busy",)


def _run(url: str) -> None:
    modules = [import_module(f"langgraph.store.{name}") for name in ("postgres", "base")]
    with modules[0].PostgresStore.from_conn_string(url) as store:
        store.setup()
        for line in sys.stdin:
            print(json.dumps(_answer(store, modules[1].PutOp, line)), flush=True)


def _answer(store: Any, put_op: Any, line: str) -> float:  # noqa: ANN401 - it is imported where it is installed
    def value(number: int) -> dict[str, Any]:
        return {"content": f"A memory of some hundred characters, as the others {number} {'word ' * 12}"}

    def load(times: int) -> None:
        """Store memories, half of them of one agent."""
        for at in range(0, times, _BATCH):
            store.batch([
                put_op(_BUSY if n % 2 == 0 else (f"agent_{n % 999}",), f"key_{n}", value(n))
                for n in range(at, at + _BATCH)
            ])  # fmt: skip
        store.conn.execute("ANALYZE store")

    def put(times: int) -> None:
        for n in range(times):
            store.put(("new",), f"key_{time.time_ns()}", value(n))

    def read(times: int) -> None:
        for _ in range(times):
            if len(store.search(_BUSY, limit=_NEWEST)) != _NEWEST:
                raise RuntimeError(line)

    command, count = line.split()
    commands: Mapping[str, Callable[[int], None]] = {"load": load, "put": put, "read": read}
    started = time.perf_counter()
    commands[command](int(count))
    return (time.perf_counter() - started) / int(count)


if __name__ == "__main__":
    _run(sys.argv[1])
