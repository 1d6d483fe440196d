"""The store that an operator's command works on."""

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
    str, typer.Option("--store", metavar="URL", envvar="MEMTRACE_STORE", help="Where memories live.")
]


@contextmanager
def opened(url: str, *, create: bool = False) -> Iterator[Store]:
    """Open the store of a URL, and close it in the end.

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
    """Keep what is wrong with the store out of the log: the command ends with it, in one line."""
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
    """Return the file in which commands for people keep the user's memories, if no URL is named.

    Args:
        create: Whether to create its folder.
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
    """Fail with one line when the store, or the extra `server`, is not available."""
    import snowballstemmer  # type: ignore[import-untyped] # noqa: F401 - or a write would find out

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
    """The command cannot be run, as there is no such store."""

    exit_code = 2
