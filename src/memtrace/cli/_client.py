"""The client of a command for people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from memtrace.cli._errors import failure_of, is_local
from memtrace.cli._opened import NoSuchStore, own_file, said_once
from memtrace.exceptions import MemtraceError

if TYPE_CHECKING:
    from memtrace import Memtrace
    from memtrace_server.transport import EmbeddedTransport

EMBEDDED = "http://embedded"

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="MEMTRACE_URL",
        help="A server, or the store to open: https://host, sqlite:///agent.db.",
        show_default="a store in your data folder",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        envvar="MEMTRACE_API_KEY",
        help="The API key for a server. Other users of the machine can see an option, but not the variable.",
        show_default="none",
    ),
]


OrgOption = Annotated[
    str | None,
    typer.Option(
        "--org",
        metavar="ORG",
        help="The organisation's id or name in a store; on a server, the key determines it.",
        show_default="org_default",
    ),
]


@contextmanager
def connected(  # noqa: PLR0913 - each is one option of a command
    url: str | None,
    key: str | None,
    org: str | None = None,
    *,
    create: bool = False,
    url_option: str = "--url",
    key_option: str = "--key",
) -> Iterator[tuple[Memtrace, str]]:
    """Yield a client and a description of its server or store, and close the client at the end.

    Args:
        url: A server's or a store's URL; None for the user's own store.
        key: The API key of a server.
        org: The organisation in a store, by its id or name.
        create: Whether to create the store when it does not exist.
        url_option: The name of the command's option for `url`.
        key_option: The name of the command's option for `key`.

    Raises:
        Failure: The client, or a call of it, raised an error.
        ValueError: The URL or the key is not valid.
    """
    with said_once(), ExitStack() as stack:
        try:
            url = memory_url(url, create=create)
            client, where = _client(url, key, org, stack)
        except ValueError as error:
            message = str(error).replace("base_url", url_option).replace("api_key", key_option)
            is_named = url_option in message or key_option in message
            raise ValueError(message if is_named else f"{url_option}: {message}") from error
        with explained(url, key, key_option):
            yield client, where


@contextmanager
def explained(url: str, key: str | None, key_option: str = "--key") -> Iterator[None]:
    """Convert errors of a client to failures of the command.

    Raises:
        Failure: The client raised an error.
    """
    try:
        yield
    except MemtraceError as error:
        raise failure_of(error, local=is_local(url), key=key, key_option=key_option) from error


def _client(url: str, key: str | None, org: str | None, stack: ExitStack) -> tuple[Memtrace, str]:
    from memtrace import Memtrace
    from memtrace._http import httpx
    from memtrace_server.store_url import StoreUrl

    if org is None:
        client = stack.enter_context(Memtrace(url, key))
        return client, client.base_url
    http_client = stack.enter_context(httpx.Client(transport=transport_of(url, org)))
    client = stack.enter_context(Memtrace(EMBEDDED, http_client=http_client))
    return client, f"{StoreUrl.parse(url)}, organisation {org}"


def transport_of(url: str, org: str) -> EmbeddedTransport:
    """Return an httpx transport to an organisation in a store, for a client with the base URL `EMBEDDED`.

    Raises:
        typer.BadParameter: The URL names a server.
    """
    from memtrace_server.transport import EmbeddedTransport

    if not is_local(url):
        raise typer.BadParameter("on a server, the key determines the organisation", param_hint="--org")
    return EmbeddedTransport(url, org)


def memory_url(url: str | None, *, create: bool) -> str:
    """Return the given URL, or the URL of the user's own store.

    Raises:
        NoSuchStore: The URL names a file that does not exist and must not be created.
    """
    from memtrace_server.store_url import StoreUrl

    named = (url or "").strip()
    url = named or f"sqlite:///{own_file(create=create)}"
    if url.lower().startswith("sqlite:") and not create:
        path = StoreUrl.parse(url).path
        if path is not None and not os.path.lexists(path):
            advice = "check the path" if named else "store a memory first, or name another store with --url"
            raise NoSuchStore(f"{path}: there is no such file; {advice}")
    return url
