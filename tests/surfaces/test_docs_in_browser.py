"""/docs in a browser: search, copy buttons, calls, and a menu that folds away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect
from surfaces.page_in_browser import OpenPage, Shown, chromium, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Locator

__all__ = ["chromium", "open_page"]  # fixtures


def docs(open_page: OpenPage, *, width: int = 1200, path: str = "/docs") -> Shown:
    shown = open_page(None)
    shown.page.set_viewport_size({"width": width, "height": 800})
    shown.page.add_init_script("navigator.clipboard.writeText = async text => { window.copied = text }")
    shown.page.goto(f"{shown.url}{path}")
    shown.page.get_by_role("button", name="Try it").first.wait_for()
    return shown


def article(shown: Shown, name: str) -> Locator:
    return shown.page.locator(f"article#{name}")


def test_docs_search_shows_articles_with_every_word(open_page: OpenPage) -> None:
    shown = docs(open_page)
    shown.page.get_by_label("Search the reference").fill("markdown session_id")

    expect(article(shown, "getSessionContext")).to_be_visible()
    expect(article(shown, "forgetMemory")).to_be_hidden()
    expect(shown.page.locator("nav a[href='#forgetMemory']")).to_be_hidden()
    status = shown.page.get_by_role("status").first
    shown.page.get_by_label("Search the reference").fill("no such word anywhere")
    expect(status).to_contain_text("0 of")
    shown.page.get_by_label("Search the reference").fill("")
    expect(article(shown, "forgetMemory")).to_be_visible()


def test_docs_copy_examples_unchanged(open_page: OpenPage) -> None:
    shown = docs(open_page)
    for pre in article(shown, "getAgentStats").locator("pre").all():
        pre.locator("xpath=preceding-sibling::*[1]").get_by_role("button", name="Copy").click()
        assert shown.page.evaluate("copied") == pre.text_content()
    assert article(shown, "getAgentStats").locator(".copy span").all_text_contents() == ["curl", "Python"]


def test_docs_call_this_server_with_the_key_of_the_page(open_page: OpenPage) -> None:
    shown = docs(open_page, path="/")
    add = article(shown, "addMemory")
    add.get_by_role("button", name="Try it").click()
    assert json.loads(add.get_by_label("Body").input_value())["content"] == "User prefers dark mode"
    add.get_by_role("button", name="Send POST").click()
    expect(add.get_by_role("status")).to_contain_text("401")
    add.get_by_label("API key").fill(shown.key)
    add.get_by_role("button", name="Send POST").click()
    expect(add.get_by_role("status")).to_contain_text("201")
    assert shown.client.recall("support-bot").count == 1

    listing = article(shown, "listAgentMemories")
    listing.get_by_role("button", name="Try it").click()  # with the stored key
    listing.get_by_role("button", name="Send GET").click()
    expect(listing.get_by_role("status")).to_contain_text("User prefers dark mode")
    assert shown.page.context.cookies() == []


def test_docs_send_the_key_to_no_other_server(open_page: OpenPage) -> None:
    shown = docs(open_page)
    requested: list[str] = []
    shown.page.on("request", lambda request: requested.append(request.url))
    listing = article(shown, "listAgents")
    listing.get_by_role("button", name="Try it").click()
    listing.get_by_label("API key").fill(shown.key)
    for path in ("//evil.example/x", "http://evil.example/", "\\\\evil.example", "@evil.example"):
        listing.get_by_label("Path").fill(path)
        listing.get_by_role("button", name="Send GET").click()
        expect(listing.get_by_role("status")).not_to_have_text("…")
    assert {url.split("/")[2] for url in requested} <= {shown.url.split("/")[2]}


def test_docs_fold_the_menu_in_a_narrow_window(open_page: OpenPage) -> None:
    shown = docs(open_page, width=390)
    link = shown.page.locator("nav a[href='#searchMemories']")
    expect(link).to_be_hidden()
    assert shown.page.evaluate("document.documentElement.scrollWidth") == 390
    shown.page.get_by_text("Contents", exact=True).click()
    link.click()
    expect(link).to_be_hidden()
    assert shown.page.url.endswith("#searchMemories")
    table = article(shown, "searchMemories").locator(".wide").first
    assert table.evaluate("element => element.scrollWidth > element.clientWidth")


def test_axe_finds_nothing_serious_in_docs(open_page: OpenPage) -> None:
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    shown = docs(open_page)
    article(shown, "addMemory").get_by_role("button", name="Try it").click()

    def complaints(where: Any, **options: Any) -> list[Any]:
        options["resultTypes"] = ["violations"]
        violations = Axe().run(shown.page, where, options).response["violations"]
        return [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in violations]

    assert complaints(None) == []
    # The dark page differs in its colours alone, and other articles look like these two.
    shown.page.emulate_media(color_scheme="dark")
    alike = {"include": [["nav"], ["article#addMemory"], ["article#listMemories"]]}
    assert complaints(alike, runOnly=["color-contrast"]) == []
