from __future__ import annotations

import contextlib
import copy
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import compatibility
import httpx
import pytest

from memtrace import ConflictError, NotFoundError, PermissionDeniedError
from memtrace_server.docs import render

if TYPE_CHECKING:
    from live import LiveServer

    from memtrace.testing import MemtraceServer

CONTRACT: dict[str, Any] = compatibility.load(compatibility.OPENAPI)
METHODS = {"get", "post", "put", "delete"}


class Page(HTMLParser):
    """A parser that reads the page like a browser, and fails if tags do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.examples: list[tuple[str, str]] = []
        self.articles: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self._open.append(tag)
        if tag == "article":
            self._article = dict(attrs)["id"] or ""
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "data-name":
                self.examples.append((value or "", ""))
            elif name in {"href", "src"}:
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)
            if "article" in self._open:
                self.articles[self._article] = self.articles.get(self._article, "") + data
            if self._open[-1] == "pre":
                name, text = self.examples.pop()
                self.examples.append((name, text + data))

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(CONTRACT))


def operations(contract: dict[str, Any]) -> list[dict[str, Any]]:
    return [op for item in contract["paths"].values() for method, op in item.items() if method in METHODS]


def test_every_operation_and_schema_has_an_article(page: Page) -> None:
    assert {op["operationId"] for op in operations(CONTRACT)} <= set(page.ids)
    assert {f"schema-{name}" for name in CONTRACT["components"]["schemas"]} <= set(page.ids)


def test_ids_are_unique_and_links_lead_to_them(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)


def test_page_names_no_other_host_and_only_its_own_script(page: Page) -> None:
    others = {link for link in page.links if not link.startswith("#")}
    assert others == {"ui/docs.js", "openapi.json", "ui"}
    assert page.tags.count("script") == 1
    assert not {"link", "img", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import", render(CONTRACT))


def test_every_python_example_runs(page: Page, memtrace_server: MemtraceServer) -> None:
    client = memtrace_server.client()
    examples = [text for name, text in page.examples if name == "Python"]
    assert len(examples) > 25
    for example in examples[1:]:  # the first example makes a client of an unreachable server
        with contextlib.suppress(NotFoundError, ConflictError, PermissionDeniedError):
            exec(example, {"client": client})  # noqa: S102


def test_operation_shows_fields_of_its_body_and_its_response(page: Page) -> None:
    article = page.articles["getSessionContext"]
    for field in CONTRACT["components"]["schemas"]["ContextOptions"]["properties"]:
        assert field in article
    for field in CONTRACT["components"]["schemas"]["SessionContext"]["properties"]:
        assert field in article


def test_every_description_is_shown(page: Page) -> None:
    for operation in operations(CONTRACT):
        plain = re.sub(r"`|\*\*", "", operation["description"])
        assert re.sub(r"\s+", " ", plain).strip() in re.sub(r"\s+", " ", page.text)


def test_call_is_shown_with_the_examples_of_the_contract(page: Page) -> None:
    assert "curl http://localhost:9100/api/v1/agents/support-bot/stats" in page.text
    assert "curl -X DELETE 'http://localhost:9100/api/v1/memories?agent_id=support-bot'" in page.text
    assert '-d \'{"agent_id": "support-bot", "metadata": {"task": "onboarding"}}\'' in page.text


def test_only_calls_that_need_a_key_show_one() -> None:
    html = render(CONTRACT)
    health, agents = (
        html.split(f'<article id="{name}"')[1].split("</article>")[0] for name in ("getHealth", "listAgents")
    )
    assert "x-api-key" not in health
    assert "Needs no key." in re.sub(r"<[^>]+>", "", health)
    assert "x-api-key: mtk_your_api_key" in agents
    assert "Needs a key of role reader" in re.sub(r"<[^>]+>", "", agents)


def test_limits_and_defaults_are_shown(page: Page) -> None:
    assert "at least 1; at most 1000; default 100" in page.text
    assert "one of episodic, session, decision, entity" in page.text


def test_unreadable_pattern_is_named_and_not_shown(page: Page) -> None:
    longest = max(re.findall(r"matching (\S+)", page.text), key=len)
    assert 20 < len(longest) < 62
    assert "matching a long pattern" in page.articles["schema-Timestamp"]
    assert CONTRACT["components"]["schemas"]["Timestamp"]["pattern"] not in page.text
    assert CONTRACT["components"]["schemas"]["MemoryId"]["pattern"] in page.text


def test_operations_have_unique_names() -> None:
    names = [op["summary"] for op in operations(CONTRACT)]
    assert len(names) == len(set(names))


def test_text_of_the_contract_cannot_become_markup() -> None:
    evil = '<script>alert(1)</script>"&'
    contract = copy.deepcopy(CONTRACT)
    contract["info"] |= {"title": evil, "summary": evil, "description": f"**{evil}** `{evil}`"}
    contract["tags"][0]["description"] = evil
    operation = contract["paths"]["/api/v1/memories"]["post"]
    operation |= {"summary": evil, "description": evil}
    operation["responses"]["201"]["description"] = evil
    operation["parameters"].append(
        {
            "name": evil,
            "in": "query",
            "description": evil,
            "schema": {"type": evil, "pattern": evil},
            "example": evil,
        }
    )
    operation["requestBody"]["content"]["application/json"]["examples"]["one"]["value"]["content"] = evil
    contract["components"]["schemas"][evil] = {"description": evil, "enum": [evil], "properties": {evil: {}}}

    page = Page(render(contract))

    assert page.tags.count("script") == 1  # the page's own script
    assert page.text.count(evil) > 10


def test_bold_and_code_are_rendered_but_not_bold_in_code() -> None:
    contract = copy.deepcopy(CONTRACT)
    contract["info"]["description"] = "One **bold** and `x**2**3` word.\n\nTwo."
    assert "<p>One <strong>bold</strong> and <code>x**2**3</code> word.</p>\n<p>Two.</p>" in render(contract)


def test_page_needs_no_key(live_server: LiveServer) -> None:
    answer = httpx.get(f"{live_server.url}/docs")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert {op["operationId"] for op in operations(CONTRACT)} <= set(Page(answer.text).ids)
