"""Call a client of memtrace-sdk 0.2.0 as lines of JSON on stdin say: `call_old_sdk.py FOLDER CLIENT URL KEY`.

A line is `{"method": name, "arguments": [...]}`, where `{"model": name, "fields": {...}}` stands for a model.
The response to each is a line of JSON: the result, or the exception.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from typing import Any

FOLDER, CLIENT, URL, KEY = sys.argv[1:]
sys.path.insert(0, FOLDER)  # before the package of the same name that is installed

import memtrace  # noqa: E402


def build(value: Any) -> Any:
    match value:
        case {"model": name, "fields": fields}:
            return getattr(memtrace, name)(**fields)
        case list():
            return [build(item) for item in value]
        case _:
            return value


def plain(result: Any) -> Any:
    if isinstance(result, list):
        return [plain(item) for item in result]
    return result.model_dump(mode="json") if hasattr(result, "model_dump") else result


async def call(client: Any, method: str, arguments: list[Any]) -> dict[str, Any]:
    try:
        result = getattr(client, method)(*map(build, arguments))
        if inspect.isawaitable(result):
            result = await result
    except memtrace.MemtraceError as error:
        return {"raised": type(error).__name__, "status_code": error.status_code, "message": error.message}
    return {"result": plain(result)}


async def main() -> None:
    client = getattr(memtrace, CLIENT)(URL, KEY)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(await call(client, **json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
