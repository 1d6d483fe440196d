"""Take pictures of each view of the page, wide and narrow, light and dark."""

from __future__ import annotations

import argparse
import tempfile
from itertools import product
from pathlib import Path
from typing import Literal

import sample
from browser import browser
from live import LiveServer
from playwright.sync_api import Page

from memtrace import Memtrace

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = (1400, 390)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
KEPT = {"timeline-1400-light", "context-1400-dark"}
"""The pictures in README, which are in git; all others go to build/."""


def views(client: Memtrace) -> dict[str, str]:
    """Return the name of each view, and the part of its URL after the page's."""
    [address] = client.search_memories(query="Hamburg address", memory_types=["entity"]).results[:1]
    return {
        "timeline": "#/",
        "session": "#/sessions/chat-anna-2",
        "memory": f"#/memories/{address.id}",
        "agents": "#/agents",
        "agent": "#/agents/support-bot",
        "search": "#/search?query=where%20does%20Anna%20live",
        "context": "#/context?agent_id=support-bot&max_tokens=300&query=Where%20does%20Anna%20live%3F",
        "json": "#/agents/support-bot?json=1",
    }


def main() -> None:
    """Take all pictures, or those with a given word in their name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "word", nargs="?", default="", help="take only pictures with this in their name (default: all)"
    )
    word = parser.parse_args().word
    with tempfile.TemporaryDirectory() as folder, LiveServer(Path(folder)) as server, browser() as chromium:
        with Memtrace(server.url, server.key) as client:
            sample.store(client)
            places = {**views(client), "key": "", "docs": "docs"}
        for (name, place), width, scheme in product(places.items(), WIDTHS, SCHEMES):
            picture = f"{name}-{width}-{scheme}"
            if word not in picture:
                continue
            context = chromium.new_context(
                viewport={"width": width, "height": 900},
                color_scheme=scheme,
                timezone_id="UTC",
                locale="en-GB",
            )
            page = context.new_page()
            if name == "docs":
                page.goto(f"{server.url}/docs#addMemory")
            else:
                page.goto(f"{server.url}/ui{'' if name == 'key' else f'#key={server.key}'}")
                if place:
                    page.wait_for_selector(".memory")
                    page.evaluate("place => location.hash = place", place)
                settle(page, place)
            folder_of = ROOT / ("docs/images" if picture in KEPT else "build/screenshots")
            folder_of.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=folder_of / f"{picture}.png")
            context.close()
    print(f"{ROOT / 'docs/images'} has the pictures of the README, {ROOT / 'build/screenshots'} the others.")


def settle(page: Page, place: str) -> None:
    """Wait until a view has loaded its data; a live view never stops to request more."""
    page.wait_for_selector("form.ask" if not place else f"main[data-place='{place}']")
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main()
