"""The page that shows memories in a browser."""

from __future__ import annotations

import socket
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from html import escape
from pathlib import Path
from typing import Annotated

import typer

from memtrace.cli._client import KeyOption, OrgOption, connected


def ui(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL]",
            envvar="MEMTRACE_URL",
            help="A server, or the store to open: https://host, sqlite:///agent.db.",
            show_default="a store in your data folder",
        ),
    ] = None,
    *,
    key: KeyOption = None,
    org: OrgOption = None,
    port: Annotated[
        int,
        typer.Option(min=0, max=65_535, metavar="N", help="The port to listen on; 0 for any free one."),
    ] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Whether to open the browser.")
    ] = True,
) -> None:
    """Show memories in a browser until Ctrl-C; only the printed link opens the page."""
    import uvicorn

    from memtrace import NotFoundError
    from memtrace_server import viewing
    from memtrace_server.serving import stop_by_signals

    with connected(url, key, org, url_option="URL") as (client, where):
        with suppress(NotFoundError):  # a Memtrace 0.x server does not have this operation
            client.get_access()
        target = client.base_url
    secret = viewing.new_key()
    application = viewing.create_viewer(viewing.connect(target, key, org), secret)
    listener = _listen(port)
    config = uvicorn.Config(application, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    stop_by_signals(server)
    link = f"http://127.0.0.1:{listener.getsockname()[1]}/ui#key={secret}"
    print(f"memory: {where}\n{link}\nCtrl-C stops it.", file=sys.stderr, flush=True)
    with _opened(link) if open_browser else nullcontext():
        server.run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise OSError(
            f"cannot listen on port {port}: {error.strerror}; choose another --port, or 0 for any"
        ) from error


@contextmanager
def _opened(link: str) -> Iterator[None]:
    """Open the browser with a file that only this user can read.

    The link contains the key, and other users of the machine can see the arguments of a browser.
    """
    with tempfile.TemporaryDirectory(prefix="memtrace-") as folder:
        page = Path(folder) / "open.html"
        target = escape(link)
        refresh = f'<meta http-equiv="refresh" content="0;url={target}">'
        page.write_text(f'<!doctype html>{refresh}<a href="{target}">Memtrace</a>', "utf-8")
        webbrowser.open(page.as_uri())
        yield
