"""Fixtures for tests of the page: a browser, and the page of an organisation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from attrs import define
from browser import NoBrowserError, browser
from live import LiveServer
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from memtrace import Memtrace
from memtrace_server import tenants
from memtrace_server.store import open_store

PATIENCE = 20_000  # milliseconds; a view of the page takes some fifty
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run a browser for a module: its event loop would block that of other tests."""
    try:
        started = browser()
        chromium = started.__enter__()
    except NoBrowserError as error:
        pytest.skip(f"THE PAGE IS NOT TESTED: {error}")
    yield chromium
    started.__exit__(None, None, None)


@define
class Shown:
    """The page of an organisation in its own window.

    Attributes:
        page: The browser's page.
        client: A client of the same organisation, with an admin's key.
        url: The server's URL.
        wrong: Exceptions of the page, and violations of its policy.
    """

    page: Page
    client: Memtrace
    url: str
    key: str
    wrong: list[str]

    def go(self, place: str) -> None:
        """Show a view, and wait for it."""
        self.page.evaluate("place => { location.hash = place }", place)
        self.settle(place)

    def settle(self, place: str | None = None) -> None:
        """Wait for a view; the current one by default."""
        place = place or self.page.evaluate("location.hash")
        self.page.locator(f"main[data-place={place!r}]").wait_for(timeout=PATIENCE)

    def open(self, place: str = "#/", key: str | None = None) -> None:
        """Load the page with a key, and show a view."""
        self.page.goto(f"{self.url}/ui#key={key or self.key}")
        self.settle("#/")
        if place != "#/":
            self.go(place)

    @property
    def contents(self) -> list[str]:
        """Return the texts of the shown memories, from the top."""
        return self.page.locator(".memory .content").all_text_contents()


OpenPage = Callable[..., Shown]


@pytest.fixture
def open_page(chromium: Browser, live_server: LiveServer) -> Iterator[OpenPage]:
    """Return a function that opens windows, each for a new organisation by default; they close at the end."""
    contexts: list[BrowserContext] = []
    clients: list[Memtrace] = []
    shown: list[Shown] = []

    def new(
        place: str | None = "#/",
        *,
        url: str = live_server.url,
        key: str | None = None,
        fill: Callable[[Memtrace], object] = lambda _: None,
        **options: Any,
    ) -> Shown:
        key = key or create_key(live_server)
        client = Memtrace(url, key)
        clients.append(client)
        fill(client)
        context = chromium.new_context(viewport={"width": 1200, "height": 900}, locale="en-GB", **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.extend(_complaint(message)))
        shown.append(Shown(page, client, url, key, wrong))
        if place is not None:
            shown[-1].open(place)
        return shown[-1]

    yield new
    for context in contexts:
        context.close()
    for client in clients:
        client.close()
    if any(one.wrong for one in shown):
        pytest.fail(f"the page complained: {[one.wrong for one in shown]}")


def create_key(server: LiveServer, role: str = "admin", org: str | None = None, **options: Any) -> str:
    """Create a key; of a new organisation by default."""
    with closing(open_store(server.store_url)) as store:
        name = org or tenants.create_org(store, f"page {len(tenants.list_orgs(store))}").id
        return tenants.create_key(store, name, role, "a test of the page", **options)


def org_of(client: Memtrace) -> str:
    """Return the id of a client's organisation."""
    return client.get_access().org_id


def _complaint(message: ConsoleMessage) -> list[str]:
    # Errors and absence of the server are no fault of the page.
    is_about_loading = re.search(r"Failed to load resource|net::ERR", message.text)
    return [message.text] if message.type == "error" and not is_about_loading else []
