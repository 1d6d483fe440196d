"""The store of a command for operators."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import TyperException

if TYPE_CHECKING:
    from memtrace_server.store import Store

DEFAULT_STORE = "sqlite:///memtrace.db"

StoreOption = Annotated[
    str, typer.Option("--store", metavar="URL", envvar="MEMTRACE_STORE", help="The store's URL.")
]


@contextmanager
def opened(url: str, *, create: bool = False) -> Iterator[Store]:
    """Open the store of a URL, and close it at the end.

    Args:
        url: The URL.
        create: Whether to create the store when it does not exist.
    """
    from memtrace_server.store import open_store

    try:
        with said_once(), unavailability(), closing(open_store(url, create=create)) as store:
            yield store
    except NoSuchStore as error:
        own = own_file()
        example = f", such as --store sqlite:///{own}" if own.exists() else ""
        raise NoSuchStore(f"{error}, or name the store with --store{example}") from error


@contextmanager
def said_once() -> Iterator[None]:
    """Keep errors of the store out of the log, as the command ends with them in one line."""
    log = logging.getLogger("memtrace_server")
    log.addFilter(_is_news)
    try:
        yield
    finally:
        log.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    from memtrace_server.store.protocol import StoreUnavailable

    arguments = record.args if isinstance(record.args, tuple) else ()
    return not any(isinstance(each, StoreUnavailable) for each in arguments)


def own_file(*, create: bool = False) -> Path:
    """Return the file of the user's own store, which commands for people use without a URL.

    Args:
        create: Whether to create the folder.
    """
    from platformdirs import user_data_path

    folder = user_data_path("memtrace", appauthor=False)
    if create:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TyperException(
                f"{folder}: cannot be created: {error.strerror}; name a store with --url, such as --url sqlite:///agent.db"
            ) from error
    return folder / "memtrace.db"


@contextmanager
def unavailability() -> Iterator[None]:
    """Convert errors of an unavailable store, or a missing extra `server`, to failures of one line."""
    import snowballstemmer  # type: ignore[import-untyped] # noqa: F401 - otherwise the first write would fail

    from memtrace_server.store.protocol import StoreNotFound, StoreReadOnly, StoreUnavailable
    from memtrace_server.tenants import UnmetError

    try:
        yield
    except StoreNotFound as error:
        raise NoSuchStore(str(error)) from error
    except (StoreUnavailable, UnmetError) as error:
        raise TyperException(str(error)) from error
    except StoreReadOnly as error:
        raise TyperException("this writes to the store; use its URL without ?mode=ro") from error


class NoSuchStore(TyperException):
    """The command cannot be run, because the store does not exist."""

    exit_code = 2
