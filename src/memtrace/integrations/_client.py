"""Async views of blocking and async clients, and the message for a missing package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

import anyio.to_thread

from memtrace import AsyncMemtrace, Memtrace

T = TypeVar("T")
Call = Callable[[Callable[[], Any]], Awaitable[Any]]

_CHUNK = 100  # memories that an iterator reads per call of a thread


def awaitable(client: AsyncMemtrace | Memtrace | str) -> AsyncMemtrace:
    """Return an async client: a URL is opened, and a blocking client is called in threads."""
    if isinstance(client, str):
        return AsyncMemtrace(client)
    return client if isinstance(client, AsyncMemtrace) else _view(client, _in_thread)


def both(client: AsyncMemtrace | Memtrace | str) -> tuple[AsyncMemtrace, AsyncMemtrace | None]:
    """Return a view for async callers and a view for `finished`, which is None for an `AsyncMemtrace`."""
    if isinstance(client, AsyncMemtrace):
        return client, None
    blocking = Memtrace(client) if isinstance(client, str) else client
    return _view(blocking, _in_thread), _view(blocking, _at_once)


def blocking(client: Memtrace | str) -> AsyncMemtrace:
    """Return a view whose coroutines never wait, for `finished`.

    Raises:
        TypeError: The client is an `AsyncMemtrace`.
    """
    view = both(client)[1]
    if view is None:
        raise TypeError("client: this adapter is blocking; pass a Memtrace or a URL, not an AsyncMemtrace")
    return view


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine over a `blocking` view, which never waits, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    coroutine.close()
    raise RuntimeError("a coroutine over a blocking client waited for something")


@contextmanager
def requires(extra: str) -> Iterator[None]:
    """Name the extra to install when an import within the block fails.

    Raises:
        ImportError: A package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed; run: pip install 'memtrace-sdk[{extra}]'"
        raise ImportError(message, name=error.name) from error


def _view(client: Memtrace, call: Call) -> AsyncMemtrace:
    return cast("AsyncMemtrace", _View(client, call))


class _View:
    """A blocking client whose methods are coroutines and whose iterators are asynchronous."""

    def __init__(self, client: Memtrace, call: Call) -> None:
        self._client = client
        self._call = call

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def called(*args: Any, **fields: Any) -> Any:  # noqa: ANN401 - whatever the method takes
            return await self._call(partial(method, *args, **fields))

        async def iterated(*args: Any, **fields: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - the same
            items = method(*args, **fields)
            while chunk := await self._call(lambda: list(islice(items, _CHUNK))):
                for item in chunk:
                    yield item

        return iterated if name.startswith("iter_") else called


async def _in_thread(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the method returns
    return await anyio.to_thread.run_sync(work)


async def _at_once(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - the same
    return work()
