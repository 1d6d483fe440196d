"""What was remembered, as markdown for an LLM that fits a token budget."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from memtrace_server.tokens import upper_bound

_SECTIONS = ("Decisions", "Errors", "Actions", "Facts")
# How important a memory is that does not say so itself: what was decided or went wrong is seldom routine.
_USUAL_IMPORTANCE = {"Decisions": 0.7, "Errors": 0.7, "Actions": 0.0, "Facts": 0.0}
_FAIR_SHARE = 4  # one entry takes at most a quarter of the budget; a longer one is shortened


@frozen(kw_only=True)
class Context:
    """A rendered context.

    Attributes:
        markdown: The text.
        memory_count: How many memories are in it.
        omitted_count: How many of those given are not.
        token_count: How many tokens it takes at the most.
    """

    markdown: str
    memory_count: int
    omitted_count: int
    token_count: int


@frozen(kw_only=True)
class _Entry:
    section: str
    time: str
    id: str
    rank: float
    text: str


def render(memories: Sequence[Mapping[str, Any]], max_tokens: int, *, more: bool = False) -> Context:
    """Render memories, grouped into decisions (with their reasoning), errors, actions and facts.

    What is important or recent stays: a memory ranks by the greater of its importance and its recency, which
    falls from 1 for the newest to 0 for the oldest. Within a group the oldest comes first. An entry is whole,
    or says how much of it was left out; the last line says how many memories were.

    Args:
        memories: The documents of memories, in any order.
        max_tokens: The most tokens that the text may take, as `upper_bound` counts them; never exceeded.
        more: Whether there are more memories than those given.

    Returns:
        The context; its text is empty when not even one memory fits.
    """
    entries = _entries(memories, max_tokens)
    kept: list[_Entry] = []
    # The headings and the last line are paid for first, so that what follows can only be too careful.
    left = max_tokens - upper_bound(
        _write([], len(entries), more=more) + "".join(f"\n## {s}\n\n" for s in _SECTIONS)
    )
    for entry in sorted(entries, key=lambda e: (e.rank, e.time, e.id), reverse=True):
        cost = upper_bound(entry.text)
        if cost <= left:
            kept.append(entry)
            left -= cost
    while True:
        markdown = _write(kept, len(entries) - len(kept), more=more)
        tokens = upper_bound(markdown)
        if tokens <= max_tokens:
            break
        if not kept:
            markdown, tokens = "", 0
            break
        kept.pop()  # the least of them
    return Context(
        markdown=markdown, memory_count=len(kept), omitted_count=len(entries) - len(kept), token_count=tokens
    )


def _entries(memories: Sequence[Mapping[str, Any]], max_tokens: int) -> list[_Entry]:
    ordered = sorted(memories, key=lambda memory: (memory["time"], memory["id"]))
    newest = len(ordered) - 1
    entries: list[_Entry] = []
    for age, memory in enumerate(ordered):
        section = _section(memory)
        importance = memory.get("importance")
        weight = _USUAL_IMPORTANCE[section] if importance is None else importance
        recency = age / newest if newest else 1.0
        text = _fit(memory, section, max_tokens // _FAIR_SHARE)
        entries.append(
            _Entry(
                section=section, time=memory["time"], id=memory["id"], rank=max(weight, recency), text=text
            )
        )
    return entries


def _section(memory: Mapping[str, Any]) -> str:
    if memory["memory_type"] == "decision":
        return "Decisions"
    if memory["event_type"] == "error":
        return "Errors"
    return "Actions" if memory["event_type"] == "action" else "Facts"


def _fit(memory: Mapping[str, Any], section: str, most: int) -> str:
    """One list item; with the content shortened at a word if it would take more tokens than it may."""
    content = memory["content"]
    text = _item(memory, section, content)
    if upper_bound(text) <= most:
        return text
    low, high = 0, len(content)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        if upper_bound(_item(memory, section, _shortened(content, middle))) <= most:
            low = middle
        else:
            high = middle - 1
    return _item(memory, section, _shortened(content, low)) if low else text


def _shortened(content: str, length: int) -> str:
    if length >= len(content):
        return content
    cut = content[:length]
    if not content[length].isspace():
        at_word = re.sub(r"\S+$", "", cut)
        cut = at_word or cut
    cut = cut.rstrip()
    return f"{cut} … [{len(content) - len(cut)} more characters]"


def _item(memory: Mapping[str, Any], section: str, content: str) -> str:
    """A list item; what follows its first line is indented, so no content can pass for a heading of ours."""
    reasoning = (memory.get("metadata") or {}).get("reasoning")
    if section == "Decisions" and reasoning:
        content += f"\nReasoning: {reasoning}"
    lines = content.splitlines() or [""]
    rest = textwrap.indent("\n".join(lines[1:]), "  ")
    when = f"{memory['time'][:10]} {memory['time'][11:16]}"
    return f"- {when}: {lines[0]}\n" + (f"{rest}\n" if rest else "")


def _write(kept: Sequence[_Entry], omitted: int, *, more: bool) -> str:
    parts: list[str] = []
    for section in _SECTIONS:
        items = sorted((e.time, e.id, e.text) for e in kept if e.section == section)
        if items:
            parts.append(f"## {section}\n\n" + "".join(text for _, _, text in items))
    if omitted or more:
        at_least = "At least " if more else ""
        noun = "memory" if omitted == 1 else "memories"
        parts.append(
            f"_{at_least}{omitted} older or less important {noun} left out to fit the token budget._\n"
        )
    return "\n".join(parts)
