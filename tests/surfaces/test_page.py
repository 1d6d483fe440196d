"""The page at /ui in a real browser: each view, live updates, and actions."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sample
from live import LiveServer
from playwright.sync_api import expect
from surfaces.page_in_browser import OpenPage, Shown, chromium, create_key, open_page, org_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from memtrace import Memtrace

__all__ = ["chromium", "open_page"]  # fixtures

HOSTILE = '<img src=x onerror="document.title=1"><script>alert(1)</script> javascript:alert(1)'
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def fill(client: Memtrace) -> None:
    sample.store(client, NOW)


# --- each view


def test_timeline_rules_off_days_and_bands_sessions(open_page: OpenPage) -> None:
    shown = open_page(fill=fill, timezone_id="UTC")

    days = shown.page.locator(".day").all_text_contents()
    assert re.fullmatch("Friday,? 20 November 2026", days[0])
    assert len(days) == 4
    assert shown.page.locator(".band").count() == 5
    assert shown.contents[0] == "Tomorrow between 14:00 and 16:00, when you are awake."
    first = shown.page.locator(".memory").first
    assert first.locator("time").first.text_content() == "11:49:38"
    assert "ago" in (first.locator("time.ago").text_content() or "")
    assert first.locator(".by b").text_content() == "assistant"
    entity = shown.page.locator(".memory.entity").first
    assert entity.locator(".tag").all_text_contents() == ["address", "anna"]
    assert "0.8" in (entity.locator(".figure").text_content() or "")


def test_timeline_filters_are_in_the_url_and_come_back_from_it(open_page: OpenPage) -> None:
    shown = open_page(fill=fill)
    shown.page.get_by_text("Filters").click()
    shown.page.locator("[name=agent_id]").select_option("research-agent")
    shown.settle("#/?agent_id=research-agent")
    shown.page.locator("[name=memory_type]").select_option("decision")
    shown.settle("#/?agent_id=research-agent&memory_type=decision")

    assert shown.contents == ["Use BM25 as the baseline"]
    shown.page.reload()
    shown.settle("#/?agent_id=research-agent&memory_type=decision")
    assert shown.contents == ["Use BM25 as the baseline"]
    assert shown.page.locator("[name=agent_id]").input_value() == "research-agent"
    shown.page.get_by_role("link", name="Clear all filters").click()
    shown.settle("#/")
    assert len(shown.contents) == 25


def test_a_tag_with_a_comma_is_one_filter(open_page: OpenPage) -> None:
    def fill(client: Memtrace) -> None:
        client.remember("a", "One", tags=["first, of many", "x"])
        client.remember("a", "Two", tags=["first"])

    shown = open_page(fill=fill)
    shown.page.get_by_role("link", name="first, of many").click()
    expect(shown.page.locator(".memory")).to_have_count(1)

    assert shown.contents == ["One"]


def test_session_is_shown_as_a_dialogue_from_its_beginning(open_page: OpenPage) -> None:
    shown = open_page("#/sessions/chat-anna-2", fill=fill)

    assert shown.contents[0].startswith("My parcel 4711 has not arrived")
    assert shown.page.locator(".memory.user").count() == 2
    assert shown.page.locator(".memory.assistant").count() == 2
    decision = shown.page.locator(".memory.decision")
    assert "because The carrier confirmed the loss" in (decision.text_content() or "")
    assert '"ticket": 4711' in (shown.page.locator(".facts").text_content() or "")


def test_memory_shows_all_fields_and_what_is_around_it(open_page: OpenPage) -> None:
    shown = open_page(fill=fill)
    shown.go("#/?include_superseded=true&tags=anna&agent_id=support-bot")
    past = shown.page.locator(".memory.past")
    assert "Lindenstraße" in (past.text_content() or "")
    past.get_by_role("link", name="superseded").click()
    shown.page.get_by_role("heading", name="Memory", exact=True).wait_for()

    facts = shown.page.locator(".facts").text_content() or ""
    memory = shown.client.search_memories(query="Hafenweg", memory_types=["entity"]).results[0]
    for field in (str(memory.id), "support-bot", "chat-anna-3", "entity", "general", "0.8", memory.org_id):
        assert field in facts
    assert "Anna lives at Lindenstraße 12, Berlin" in facts
    assert len(shown.contents) == 6  # all memories of its session
    assert shown.page.locator(".memory[aria-current]").locator(".content").text_content() == memory.content
    shown.page.get_by_role("link", name="Anna lives at Lindenstraße").click()
    expect(shown.page.locator(".superseded")).to_contain_text("Hafenweg 3, Hamburg")


def test_metadata_is_shown_to_the_last_digit(open_page: OpenPage) -> None:
    def fill(client: Memtrace) -> None:
        client.remember("a", "Numbers", metadata={"large": 9007199254740993, "float": 1.0, "none": None})

    shown = open_page(fill=fill)
    shown.page.locator(".when").click()
    shown.page.get_by_text('"large": 9007199254740993').wait_for()

    assert '"float": 1.0' in (shown.page.locator(".facts").text_content() or "")


def test_agents_are_listed_with_their_statistics(open_page: OpenPage) -> None:
    shown = open_page("#/agents", fill=fill)

    row = shown.page.get_by_role("row", name="support-bot")
    expect(row.locator(".number").first).to_have_text("23")
    row.get_by_role("link", name="support-bot").click()
    expect(shown.page.locator(".figures dd").first).to_have_text("23")
    assert shown.page.locator(".legend").text_content() == "decision1entity5episodic17"
    assert shown.page.get_by_role("row").count() == 5
    assert "refunds up to 100 €" in (shown.page.locator("main").text_content() or "")


def test_search_marks_the_words_that_match_and_shows_scores(open_page: OpenPage) -> None:
    shown = open_page("#/search", fill=fill)
    shown.page.get_by_label("A question, or words").fill("Where does Anna live?")
    shown.page.keyboard.press("Enter")
    shown.page.locator(".found, .memory").first.wait_for()

    first = shown.page.locator(".memory").first
    assert first.locator(".content mark").all_text_contents() == ["Anna", "lives"]
    assert "Hafenweg 3, Hamburg" in (first.text_content() or "")
    scores = [float(text.split()[-1]) for text in shown.page.locator(".score").all_text_contents()]
    assert scores == sorted(scores, reverse=True)
    assert shown.page.evaluate("location.hash").startswith("#/search?query=Where")


def test_search_goes_on_where_a_page_ends(open_page: OpenPage) -> None:
    def fill(client: Memtrace) -> None:
        client.add_memories([{"agent_id": "a", "content": f"parcel {n}"} for n in range(60)])

    shown = open_page("#/search?query=parcel", fill=fill)
    assert len(shown.contents) == 50
    shown.page.get_by_role("link", name="More").click()
    expect(shown.page.locator(".memory")).to_have_count(10)


def test_context_is_exactly_the_text_for_the_model(open_page: OpenPage) -> None:
    shown = open_page(fill=fill)
    shown.go("#/context?agent_id=support-bot&max_tokens=300&query=Where+does+Anna+live%3F")
    options: Any = {"max_tokens": 300, "query": "Where does Anna live?", "format": "json"}
    made = shown.client.get_agent_context("support-bot", **options)

    assert shown.page.locator("pre.context").text_content() == made.context
    meter = shown.page.get_by_role("meter")
    assert meter.get_attribute("aria-valuenow") == str(made.token_count)
    assert meter.get_attribute("aria-valuemax") == "300"
    assert made.omitted
    left = shown.page.get_by_role("region", name="What was left out")
    assert f"{made.omitted.over_budget} memories did not fit the budget" in (left.text_content() or "")
    assert left.locator(".dated .memory").count() == made.omitted.over_budget
    assert f"In it: {made.memory_count} memories" in (left.text_content() or "")


def test_context_options_are_controls_and_in_the_url(open_page: OpenPage) -> None:
    shown = open_page("#/context", fill=fill)
    shown.page.locator("[name=agent_id]").select_option("support-bot")
    expect(shown.page.locator("pre.context")).to_contain_text("chat-anna-3")
    shown.page.get_by_label("Budget in tokens").fill("120")
    shown.page.keyboard.press("Enter")
    expect(shown.page.get_by_role("meter")).to_have_attribute("aria-valuemax", "120")
    shown.page.locator("[name=layout]").select_option("sections")
    expect(shown.page.locator("pre.context")).to_contain_text("by kind")

    hash_ = shown.page.evaluate("location.hash")
    assert "max_tokens=120" in hash_
    assert "layout=sections" in hash_


def test_as_of_shows_the_log_as_it_was_known(open_page: OpenPage) -> None:
    shown = open_page(fill=fill)
    before = (NOW - timedelta(days=5)).isoformat().replace("+00:00", "Z")
    shown.go(f"#/?as_of={before}&tags=address")

    assert "Anna lives at Lindenstraße 12, Berlin" in shown.contents
    assert shown.page.locator(".past").count() == 0
    assert shown.page.locator(".live").text_content() == "As it was known then"
    slider = shown.page.get_by_role("slider", name="As of")
    slider.focus()
    shown.page.keyboard.press("End")
    expect(shown.page.locator(".live")).to_contain_text("Live")
    assert "Anna lives at Hafenweg 3, Hamburg" in shown.contents
    assert "as_of" not in shown.page.evaluate("location.hash")
    shown.page.keyboard.press("Home")


VIEWS = {
    "timeline": "#/",
    "session": "#/sessions/chat-anna-2",
    "agents": "#/agents",
    "agent": "#/agents/support-bot",
    "search": "#/search?query=Anna+address",
    "context": "#/context?agent_id=support-bot",
}


@pytest.fixture(scope="module")
def everyones_key(live_server: LiveServer) -> str:
    """Return a key of an organisation with the sample, for tests that only read."""
    from memtrace import Memtrace  # noqa: PLC0415

    key = create_key(live_server)
    with Memtrace(live_server.url, key) as client:
        fill(client)
    return key


def test_each_view_can_be_had_as_json_python_and_curl(
    open_page: OpenPage,
    everyones_key: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = open_page(None, key=everyones_key)
    shown.page.add_init_script("navigator.clipboard.writeText = async text => { window.copied = text }")
    shown.open()
    monkeypatch.setenv("MEMTRACE_API_KEY", shown.key)

    def copied(label: str) -> str:
        shown.page.get_by_role("button", name=label).click()
        return str(shown.page.evaluate("copied"))

    for place in VIEWS.values():
        shown.go(place)
        exec(copied("Copy Python"), {})  # noqa: S102
        assert "support-bot" in capsys.readouterr().out
        response = response_to(copied("Copy curl"), shown.key)
        shown.page.get_by_role("link", name="JSON").click()
        shown.page.get_by_role("heading", name="As JSON").wait_for()
        for volatile in ("query_time_ms", "next_cursor"):
            response.pop(volatile, None)
        as_json = json.loads(shown.page.locator("pre").last.text_content() or "")
        assert {name: as_json[name] for name in response} == response
        shown.page.get_by_role("link", name="Back to the view").click()
        shown.settle(place)


def response_to(curl: str, key: str) -> Any:
    """Send the request of a curl command, without curl, and return its JSON."""
    words = shlex.split(curl.replace("\\\n", " "))[1:]
    method = url = header = ""
    body: str | None = None
    headers: dict[str, str] = {}
    while words:
        match words:
            case ["-X", method, *words]:
                pass
            case ["-d", body, *words]:
                pass
            case ["-H", header, *words]:
                name, _, value = header.partition(": ")
                headers[name] = value.replace("$MEMTRACE_API_KEY", key)
            case [url, *words]:
                pass
    return httpx.request(method or "GET", url, content=body, headers=headers).raise_for_status().json()


def test_a_view_that_does_not_exist_says_so(open_page: OpenPage) -> None:
    shown = open_page("#/nothing/of/this")
    assert shown.page.locator("h1").text_content() == "This view does not exist"
    shown.page.get_by_role("link", name="To the timeline").click()
    expect(shown.page.locator("h1")).to_have_text("Timeline")
    for place in ("#/memories/mem_01JD5P8E6W3M9V2QXA7RKB4TNC", "#/sessions/none", "#/agents/none"):
        shown.go(place)
        assert shown.page.locator("h1").text_content() == "Not found"
    shown.go("#/?since=wrong")
    assert "since" in (shown.page.locator("main").text_content() or "")


# --- live updates


def test_new_memories_appear_in_their_order(open_page: OpenPage) -> None:
    shown = open_page(fill=fill)
    status = shown.page.locator(".live")
    expect(status).to_contain_text("Live")

    shown.client.remember("support-bot", "Just now")
    expect(shown.page.locator(".memory .content").first).to_have_text("Just now")
    shown.client.remember("support-bot", "Long ago", time=NOW - timedelta(days=1, hours=1, minutes=59))
    shown.page.get_by_text("Long ago").wait_for()
    place = shown.contents.index("Long ago")
    assert shown.contents[place - 1].startswith("You can cancel it")
    assert shown.contents[place + 1].startswith("How do I cancel")


def test_superseding_memory_replaces_the_superseded_one(open_page: OpenPage) -> None:
    shown = open_page(fill=lambda client: client.remember("a", "Anna lives in Berlin"))
    old = shown.client.recall("a").memories[0]
    shown.client.remember("a", "Anna lives in Hamburg", supersedes=old.id)
    shown.page.get_by_text("Anna lives in Hamburg").wait_for()

    assert shown.contents == ["Anna lives in Hamburg"]


def test_new_memories_outside_of_the_filters_do_not_appear(open_page: OpenPage) -> None:
    shown = open_page("#/?agent_id=a", fill=lambda client: client.remember("a", "First"))
    shown.client.remember("b", "Of another agent")
    shown.client.remember("a", "Second")
    shown.page.get_by_text("Second", exact=True).wait_for()

    assert shown.contents == ["Second", "First"]


def test_new_memories_wait_while_the_reader_is_further_down(open_page: OpenPage) -> None:
    def fill(client: Memtrace) -> None:
        client.add_memories([{"agent_id": "a", "content": f"{n}"} for n in range(40)])

    shown = open_page(fill=fill)
    shown.page.evaluate("scrollTo({ top: 1200 })")
    shown.client.remember("a", "New")
    expect(shown.page.locator(".live")).to_contain_text("Paused · 1 new")
    assert "New" not in shown.contents

    # A click by playwright may scroll, after which nothing is left to show.
    shown.page.get_by_role("button", name="Show").dispatch_event("click")
    expect(shown.page.locator(".memory .content").first).to_have_text("New")
    expect(shown.page.locator(".live")).to_contain_text("Live")
    shown.page.get_by_role("button", name="Pause").click()
    shown.client.remember("a", "Newer")
    expect(shown.page.locator(".live")).to_contain_text("Paused · 1 new")


def test_a_dialogue_grows_at_its_end(open_page: OpenPage) -> None:
    shown = open_page("#/sessions/chat-anna-3", fill=fill)
    shown.client.remember("support-bot", "Good bye", session_id="chat-anna-3", event_type="user")
    expect(shown.page.locator(".memory .content").last).to_have_text("Good bye")


def test_page_survives_a_restart_of_the_server(open_page: OpenPage, tmp_path: Path) -> None:
    with LiveServer(tmp_path) as server:
        key, port = server.key, server.url.rpartition(":")[2]
        follower = open_page(url=server.url, key=key, fill=lambda client: client.remember("a", "Before"))
        reader = open_page(url=server.url, key=key)
    expect(follower.page.locator(".live")).to_contain_text("Reconnecting")
    reader.page.evaluate("location.hash = '#/agents'")
    expect(reader.page.get_by_role("alert")).to_have_text("The server does not respond. Trying again …")

    with LiveServer(tmp_path, "--port", port, "--bootstrap-key", key):
        follower.client.remember("a", "Meanwhile")
        expect(follower.page.locator(".live")).to_contain_text("Live")
        follower.page.get_by_text("Meanwhile").wait_for()
        assert follower.contents == ["Meanwhile", "Before"]
        expect(reader.page.locator("h1")).to_have_text("Agents")
        expect(reader.page.get_by_role("alert")).to_be_hidden()


# --- many memories


def test_document_has_only_the_memories_in_sight(open_page: OpenPage) -> None:
    def fill(client: Memtrace) -> None:
        client.add_memories([{"agent_id": "a", "content": f"Number {n}"} for n in range(1000)])

    shown = open_page(fill=fill)
    assert 50 <= len(shown.contents) <= 150
    for _ in range(600):  # a busy machine needs more of them
        shown.page.keyboard.press("End")
        if shown.page.get_by_text("Number 0", exact=True).count():
            break
        shown.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 30)))")
    shown.page.get_by_text("Number 0", exact=True).wait_for()
    shown.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(shown.page.get_by_text("Number 999", exact=True)).to_have_count(0)
    assert len(shown.contents) <= 200
    shown.page.keyboard.press("Home")
    expect(shown.page.get_by_text("Number 999", exact=True)).to_be_visible()
    expect(shown.page.get_by_text("Number 0", exact=True)).to_have_count(0)


def test_only_the_first_page_of_ten_thousand_memories_is_loaded(
    open_page: OpenPage, record_testsuite_property: Callable[[str, object], None]
) -> None:
    def fill(client: Memtrace) -> None:
        for batch in range(10):
            content = f"Number {batch}"
            client.add_memories([{"agent_id": "a", "content": f"{content} {n}"} for n in range(1000)])

    shown = open_page(None, fill=fill)
    pages: list[str] = []
    shown.page.on("request", lambda asked: pages.append(asked.url) if "/memories?" in asked.url else None)
    shown.open()
    assert shown.contents[0] == "Number 9 999"

    assert len(pages) <= 2
    assert len(shown.contents) <= 100
    duration = "performance.getEntriesByName('shown')[0].duration"  # since the navigation
    record_testsuite_property("first_memories_of_10000_ms", shown.page.evaluate(duration))


# --- actions


def test_one_memory_is_forgotten_after_a_confirmation_that_quotes_it(open_page: OpenPage) -> None:
    shown = open_page(fill=lambda client: client.remember("a", "A secret"))
    memory = shown.client.recall("a").memories[0]
    shown.go(f"#/memories/{memory.id}")
    shown.page.get_by_role("button", name="Forget …").click()
    dialog = shown.page.get_by_role("dialog")
    assert "A secret" in (dialog.text_content() or "")
    dialog.get_by_role("button", name="Cancel").click()
    assert shown.client.get_memory(memory).content == "A secret"

    shown.page.get_by_role("button", name="Forget …").click()
    dialog.get_by_role("button", name="Forget it").click()
    shown.page.get_by_text("No memories here").wait_for()
    assert shown.client.recall("a").count == 0


def test_memories_are_forgotten_by_filter_after_they_are_counted(open_page: OpenPage) -> None:
    shown = open_page(fill=fill)
    assert shown.page.get_by_role("button", name="Forget these").count() == 0  # without a filter
    shown.go("#/?agent_id=support-bot&tags=anna")
    shown.page.get_by_role("button", name="Forget these").click()
    dialog = shown.page.get_by_role("dialog", name="Forget 4 memories?")
    expect(dialog.locator("dd")).to_have_text(["support-bot", "anna"])
    shown.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert shown.client.get_agent_stats("support-bot").memory_count == 23

    shown.page.get_by_role("button", name="Forget these").click()
    shown.page.get_by_role("button", name="Forget 4 memories").click()
    shown.page.get_by_text("No memories here").wait_for()
    assert shown.client.get_agent_stats("support-bot").memory_count == 19


def test_export_has_all_shown_memories_and_can_be_imported(open_page: OpenPage) -> None:
    def fill(client: Memtrace) -> None:
        first, *_ = client.add_memories(
            [{"agent_id": "a", "content": f"{n}", "metadata": {"exact": 1.0}} for n in range(1000)]
        )
        client.remember("a", "Last", importance=1.0, tags=["x"], supersedes=first.id)
        client.remember("b", "Of another agent")

    shown = open_page("#/?agent_id=a&include_superseded=true", fill=fill)
    with shown.page.expect_download() as download:
        shown.page.get_by_role("button", name="Export").click()
    lines = download.value.path().read_text("utf-8").splitlines()

    assert download.value.suggested_filename == "memories.jsonl"
    assert len(lines) == 1001
    assert '"exact":1.0' in lines[0]
    other = open_page()
    assert other.client.import_(lines).rejected  # the ids exist already in the same store
    shown.client.forget_all(agent_id="a")
    assert shown.client.import_(lines).imported == 1001
    assert shown.client.recall("a", limit=1).memories[0].importance == 1.0
    assert len(list(shown.client.iter_memories(agent_id="a"))) == 1000  # one is superseded


# --- keys


def test_key_is_requested_once_and_kept_in_the_tab_alone(open_page: OpenPage) -> None:
    shown = open_page(None)
    urls: list[str] = []
    shown.page.on("request", lambda request: urls.append(request.url))
    shown.page.goto(f"{shown.url}/ui#/agents")
    shown.page.get_by_label("API key").fill("mtk_wrong")
    shown.page.get_by_role("button", name="Open").click()
    expect(shown.page.locator("p.wrong")).to_have_text("Unknown or revoked API key")
    shown.page.get_by_label("API key").fill(shown.key)
    shown.page.keyboard.press("Enter")
    expect(shown.page.locator("h1")).to_have_text("Agents")

    shown.page.reload()
    expect(shown.page.locator("h1")).to_have_text("Agents")
    assert shown.page.context.cookies() == []
    assert shown.page.evaluate("localStorage.length") == 0
    assert shown.key not in "".join([*urls, shown.page.url, shown.page.content()])
    assert {httpx.URL(url).netloc for url in urls} == {httpx.URL(shown.url).netloc}
    shown.page.get_by_role("button", name="Forget key").click()
    shown.page.get_by_label("API key").wait_for()
    assert shown.page.evaluate("sessionStorage.length") == 0


def test_key_in_the_url_is_removed_at_once(open_page: OpenPage) -> None:
    shown = open_page()
    assert shown.page.url == f"{shown.url}/ui#/"
    shown.page.go_back()
    assert shown.key not in shown.page.url


@pytest.mark.parametrize(
    "key", ["ключ", "mtk_a b", "%D0%BA", "%"], ids=["cyrillic", "space", "escaped", "percent"]
)
def test_key_that_no_server_gives_is_refused_at_once(open_page: OpenPage, key: str) -> None:
    shown = open_page(None)
    shown.page.goto(f"{shown.url}/ui#key={key}")
    expect(shown.page.locator("p.wrong")).to_have_text(
        re.compile("only letters, digits and _|Unknown or revoked")
    )
    shown.page.get_by_label("API key").fill(key)
    shown.page.keyboard.press("Enter")
    expect(shown.page.locator("p.wrong")).to_have_text(
        re.compile("only letters, digits and _|Unknown or revoked")
    )
    assert not shown.page.locator("#notice").is_visible()


@pytest.mark.parametrize(("role", "one", "many"), [("reader", 0, 0), ("writer", 1, 0), ("admin", 1, 1)])
def test_only_what_the_role_allows_is_offered(
    role: str, one: int, many: int, open_page: OpenPage, live_server: LiveServer
) -> None:
    shown = open_page(None, fill=lambda client: client.remember("a", "Kept"))
    shown.open("#/?agent_id=a", create_key(live_server, role, org_of(shown.client)))

    assert shown.page.locator(".who").text_content() == f"API{role}Forget key"
    assert shown.page.get_by_role("button", name="Forget these").count() == many
    shown.page.locator(".when").click()
    shown.page.get_by_role("heading", name="Memory", exact=True).wait_for()
    assert shown.page.get_by_role("button", name="Forget …").count() == one


def test_key_that_is_limited_to_an_agent_shows_that_agent(
    open_page: OpenPage, live_server: LiveServer
) -> None:
    shown = open_page(None, fill=fill)
    shown.open(
        "#/context", create_key(live_server, "reader", org_of(shown.client), agent_id="research-agent")
    )
    expect(shown.page.locator("pre.context")).to_contain_text("Use BM25")
    assert "research-agent only" in (shown.page.locator(".who").text_content() or "")
    shown.go("#/")
    assert len(shown.contents) == 3


def test_key_that_is_revoked_meanwhile_is_requested_again(
    open_page: OpenPage, live_server: LiveServer
) -> None:
    shown = open_page(None, fill=fill)
    shown.open("#/", create_key(live_server, "reader", org_of(shown.client), expires_at=1 << 62))
    shown.page.evaluate("sessionStorage.setItem('memtrace.key', 'mtk_gone')")
    shown.page.evaluate("location.hash = '#/agents'")
    shown.page.get_by_label("API key").wait_for()


def test_page_of_a_server_without_keys_requests_none(open_page: OpenPage, tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--no-auth") as server:
        shown = open_page(
            None, url=server.url, key="mtk_none", fill=lambda client: client.remember("a", "Open")
        )
        shown.page.goto(f"{server.url}/ui")
        shown.settle("#/" if shown.page.url.endswith("#/") else "")
        assert shown.contents == ["Open"]
        assert shown.page.get_by_role("button", name="Forget key").count() == 0


# --- hostile memories


def test_stored_text_never_becomes_markup_in_any_view(open_page: OpenPage) -> None:
    hostile_id = '<b onclick="x">"\'&?#%2F/..'

    def fill(client: Memtrace) -> None:
        session = client.create_session(hostile_id, metadata={HOSTILE[:200]: HOSTILE})
        client.register_agent(hostile_id, description=HOSTILE, config={"x": HOSTILE})
        old = client.remember(hostile_id, HOSTILE, session_id=session.id)
        client.remember(
            hostile_id, HOSTILE, session_id=session.id, event_type=HOSTILE[:100], tags=[HOSTILE[:100]],
            metadata={"reasoning": HOSTILE, HOSTILE: HOSTILE}, supersedes=old.id, importance=0.9,
        )  # fmt: skip

    shown = open_page(fill=fill)
    newest = shown.client.list_memories().memories[0]
    shown.page.locator(".agent").first.click()
    expect(shown.page.locator("h1")).to_have_text(hostile_id)
    query = HOSTILE.replace(" ", "+").replace("=", "%3D")
    places = [
        "#/", f"#/sessions/{newest.session_id}", f"#/memories/{newest.id}", "#/agents",
        "#/search?query=alert", f"#/search?query={query}", "#/context", "#/?json=1",
    ]  # fmt: skip
    for place in places:
        shown.page.evaluate("place => { location.hash = place }", place)
        shown.settle()
        assert "onerror" in (shown.page.locator("main").text_content() or ""), place
        assert shown.page.locator("main img, main script, main [onclick], main [onerror]").count() == 0
        assert shown.page.locator("a[href^='javascript' i]").count() == 0
    shown.go("#/agents")
    shown.page.locator("tbody a").click()
    expect(shown.page.locator("h1")).to_have_text(hostile_id)


def test_hidden_characters_are_shown_as_escapes(open_page: OpenPage) -> None:
    joined = "👩\u200d💻 \u0627\u200c\u0628\nnew line"
    text = "pay\u202e 001 \u2066evil\u2069 \u200bzero\u0007\x1b[31m \U000e0041 "
    shown = open_page(fill=lambda client: client.remember("a", text + joined))

    escaped = "pay\\u{202E} 001 \\u{2066}evil\\u{2069} \\u{200B}zero\\u{0007}\\u{001B}[31m \\u{E0041} "
    assert shown.page.locator(".content").text_content() == escaped + joined
    assert shown.page.locator(".content .escape").count() == 7


def test_very_long_memory_is_cut_in_lists_and_complete_alone(open_page: OpenPage) -> None:
    shown = open_page(fill=lambda client: client.remember("a", "x" * 60_000))
    assert "59,000 more characters" in (shown.page.locator(".content").text_content() or "")
    shown.page.locator(".when").click()
    expect(shown.page.locator(".one .content")).to_have_text("x" * 60_000)
    assert shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [390, 1280])
def test_names_without_a_space_fit_every_view(open_page: OpenPage, width: int) -> None:
    agent, session = "a" * 128, "s" * 128

    def fill(client: Memtrace) -> None:
        client.register_agent(agent, description="d" * 500)
        client.remember(agent, "Hello", session_id=session, tags=["t" * 128], event_type="e" * 128)

    shown = open_page(fill=fill)
    shown.page.set_viewport_size({"width": width, "height": 800})
    memory = shown.client.recall(agent)[0].id
    views = ("#/", f"#/sessions/{session}", f"#/memories/{memory}", "#/agents", f"#/agents/{agent}",
             "#/search?query=Hello", f"#/context?agent_id={agent}")  # fmt: skip
    for view in views:
        if view != "#/":
            shown.go(view)
        assert (view, shown.page.evaluate("document.documentElement.scrollWidth")) == (view, width)


# --- accessibility


def test_each_view_fits_a_narrow_window(open_page: OpenPage, everyones_key: str) -> None:
    shown = open_page(key=everyones_key)
    shown.page.set_viewport_size({"width": 390, "height": 800})

    for view in EVERYTHING:
        show(shown, view)
        assert (view, shown.page.evaluate("document.documentElement.scrollWidth")) == (view, 390)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_view(scheme: str, open_page: OpenPage, everyones_key: str) -> None:
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    shown = open_page(key=everyones_key, color_scheme=scheme)
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if scheme == "dark":
        options["runOnly"] = ["color-contrast"]  # no other view is requested
    for view in EVERYTHING:
        show(shown, view)
        found = [
            (view, one["id"], one["impact"], [node["html"][:200] for node in one["nodes"]])
            for one in Axe().run(shown.page, options=options).response["violations"]
        ]
        assert found == []


EVERYTHING = [*VIEWS, "memory", "json", "key"]


def show(shown: Shown, view: str) -> None:
    """Show a view of an open page; the last of them removes the key."""
    if view == "key":
        shown.page.evaluate("sessionStorage.clear()")
        shown.page.reload()
        shown.page.get_by_label("API key").wait_for()
    elif view == "memory":
        shown.go("#/")
        shown.page.locator(".memory.entity .when").first.click()
        shown.page.get_by_role("heading", name="Memory", exact=True).wait_for()
    else:
        shown.go(VIEWS.get(view, "#/agents?json=1"))


def test_dark_mode_follows_the_system(open_page: OpenPage, everyones_key: str) -> None:
    dark = open_page(key=everyones_key, color_scheme="dark")
    assert dark.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 26)"
    dark.page.emulate_media(color_scheme="light")
    assert dark.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_page_can_be_used_by_keyboard_alone(open_page: OpenPage) -> None:
    shown = open_page(None, fill=fill)
    press = shown.page.keyboard.press
    shown.page.goto(f"{shown.url}/ui")
    shown.page.get_by_label("API key").wait_for()
    shown.page.keyboard.type(shown.key)  # the field has the focus
    press("Enter")
    shown.page.locator(".memory").first.wait_for()
    focused = "document.activeElement.closest('.memory')?.querySelector('.content').textContent"
    shown.page.locator(".when").first.focus()
    press("ArrowDown")
    press("ArrowDown")
    press("ArrowUp")
    assert shown.page.evaluate(focused) == shown.contents[1]
    press("Enter")
    shown.page.get_by_role("heading", name="Memory", exact=True).wait_for()
    assert shown.page.evaluate("document.activeElement.tagName") == "H1"
    press("Tab")
    assert shown.page.evaluate("document.activeElement.textContent") == "Forget …"
    press("Enter")
    assert shown.page.evaluate("document.activeElement.textContent") == "Cancel"
    press("Tab")
    press("Enter")
    expect(shown.page.locator("h1")).to_have_text("support-bot")
    assert "Asked the carrier about parcel 5023" not in shown.contents


def test_page_has_landmarks_and_announces_new_memories(open_page: OpenPage) -> None:
    shown = open_page("#/search")
    for role in ("banner", "main", "search"):
        assert shown.page.get_by_role(role).count() == 1
    assert shown.page.get_by_role("navigation", name="Views").count() == 1
    assert shown.page.locator("[aria-current=page]").text_content() == "Search"
    shown.go("#/")
    shown.client.remember("a", "New")
    expect(shown.page.locator("#said")).to_have_text("1 memory more")
    shown.page.keyboard.press("Tab")
    assert re.match(r"Timeline", shown.page.title())
