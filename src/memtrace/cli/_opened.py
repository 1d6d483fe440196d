"""The store that an operator's command works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from typer import TyperException

if TYPE_CHECKING:
    from memtrace_server.store import Store

DEFAULT_STORE = "sqlite:///memtrace.db"

StoreOption = Annotated[
    str, typer.Option("--store", metavar="URL", envvar="MEMTRACE_STORE", help="Where memories live.")
]


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """Open the store of a URL, and close it in the end."""
    from memtrace_server.store import open_store

    with unavailability(), closing(open_store(url)) as store:
        yield store


@contextmanager
def unavailability() -> Iterator[None]:
    """Fail with one line when the store is not available."""
    from memtrace_server.store.protocol import StoreUnavailable

    try:
        yield
    except StoreUnavailable as error:
        raise TyperException(str(error)) from error
