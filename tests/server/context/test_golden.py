"""Complete contexts equal the reviewed ones, and the documentation shows three of them."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from server.context.golden_files import DOCS, NAMES, SHOWN, context_of, load


@pytest.mark.parametrize("name", NAMES)
def test_context_equals_the_reviewed_one(name: str) -> None:
    golden = load(name)

    assert context_of(golden) == golden["context"]


def test_documentation_shows_three_golden_contexts() -> None:
    shown = SHOWN.findall(DOCS.read_text("utf-8"))

    assert len(shown) == 3
    for _, name, text, _ in shown:
        assert text == load(name)["context"], name


def test_golden_contexts_have_headings_and_paragraphs_only() -> None:
    for name in NAMES:
        kinds = {token.type for token in MarkdownIt("commonmark").parse(load(name)["context"])}
        assert kinds <= {"heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline"}, name
