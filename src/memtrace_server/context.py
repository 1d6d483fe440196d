"""What was remembered, as markdown for an LLM that fits a token budget."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from attrs import frozen

from memtrace_server.tokens import upper_bound

_SECTIONS = ("Decisions", "Errors", "Actions", "Facts")
# What a memory counts for that has no importance of its own: what was decided or failed is seldom routine.
_USUAL_IMPORTANCE = {"Decisions": 0.7, "Errors": 0.7}
# No memory is shortened below this part of the budget, or this number of tokens.
_SHARES = 8
_WORTHWHILE = 200
# When so many did not fit, the budget is as good as full, and measuring the others would gain nothing.
_MISFITS = 50
# More characters than a token ever has, as `upper_bound` counts them: a longer text need not be measured.
_CHARACTERS_PER_TOKEN = 16
# How far to look back for the end of a word. Some scripts have no spaces, and encoded data has none.
_LONGEST_WORD = 40


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


def render(memories: Sequence[Mapping[str, Any]], max_tokens: int, *, more: bool = False) -> Context:
    """Render memories, grouped into decisions (with their reasoning), errors, actions and facts.

    What is important or recent stays. A memory ranks by the greater of its importance and its recency, which
    falls from 1 for the newest to 0 for the oldest; without an importance of its own, a decision or an error
    counts as 0.7 important, anything else as 0. In this order each memory is taken that still fits. One that
    is longer than its fair share of the budget (an eighth of it, or more if the others leave more) is
    shortened at the end of a word, and says by how much. The last line says how many memories were left out.

    Within a group the oldest comes first. Every line of a memory but its first is indented, so that none can
    pass for a heading or an entry of the context.

    Args:
        memories: The documents of memories as the server stores them, their times in UTC, in any order.
        max_tokens: The most tokens that the text may take, as `upper_bound` counts them; never exceeded.
        more: Whether there are older memories than those given.

    Returns:
        The context. Its text is empty when `max_tokens` is too few for anything.
    """
    entries = _ranked(memories)
    kept = _chosen(entries, max_tokens, more=more)
    while True:
        markdown = _written(kept, len(entries) - len(kept), more=more)
        tokens = upper_bound(markdown)
        if tokens <= max_tokens:
            break
        if not kept:
            markdown, tokens = "", 0
            break
        kept.pop()  # the one that ranks least
    return Context(
        markdown=markdown,
        memory_count=len(kept),
        omitted_count=len(entries) - len(kept),
        token_count=tokens,
    )


@frozen(kw_only=True, eq=False)
class _Entry:
    section: str
    rank: float
    place: int  # in order of time
    when: str
    texts: tuple[str, ...]  # the content and, of a decision, its reasoning

    def item(self, length: int | None = None) -> str:
        """Write it as a list item, each of its texts shortened to a length if one is given."""
        texts = self.texts if length is None else [_shortened(text, length) for text in self.texts]
        first, *others = "\n".join(texts).splitlines() or [""]
        lines = [f"- {self.when} {first}", *(f"  {line}" for line in others)]
        return "".join(f"{line.rstrip()}\n" for line in lines)


@frozen(kw_only=True)
class _Kept:
    section: str
    place: int
    item: str


def _ranked(memories: Iterable[Mapping[str, Any]]) -> list[_Entry]:
    """Make entries of the memories, the most important or recent first."""
    # Of two times in the same second, the one with more digits sorts right only without the Z.
    ordered = sorted(memories, key=lambda memory: (memory["time"][:-1], memory["id"]))
    newest = len(ordered) - 1
    entries = []
    for place, memory in enumerate(ordered):
        section = _section(memory)
        importance = memory.get("importance")
        if importance is None:
            importance = _USUAL_IMPORTANCE.get(section, 0.0)
        entry = _Entry(
            section=section,
            rank=max(importance, place / newest if newest else 1.0),
            place=place,
            when=f"{memory['time'][:10]} {memory['time'][11:16]}",
            texts=_texts(memory, section),
        )
        entries.append(entry)
    return sorted(entries, key=lambda entry: (entry.rank, entry.place), reverse=True)


def _section(memory: Mapping[str, Any]) -> str:
    if memory["memory_type"] == "decision":
        return "Decisions"
    if memory["event_type"] == "error":
        return "Errors"
    return "Actions" if memory["event_type"] == "action" else "Facts"


def _texts(memory: Mapping[str, Any], section: str) -> tuple[str, ...]:
    content = memory["content"].strip()
    reasoning = (memory.get("metadata") or {}).get("reasoning")
    if section != "Decisions" or not reasoning:
        return (content,)
    if not isinstance(reasoning, str):
        reasoning = json.dumps(reasoning, ensure_ascii=False)
    return content, f"Reasoning: {reasoning.strip()}"


def _chosen(entries: Sequence[_Entry], max_tokens: int, *, more: bool) -> list[_Kept]:
    """Choose what fits, and shorten what would take more than its fair share."""

    @cache
    def whole(entry: _Entry) -> tuple[str, int]:
        item = entry.item()
        return item, _cost(item)

    def keep(entry: _Entry, item: str) -> _Kept:
        return _Kept(section=entry.section, place=entry.place, item=item)

    headings = "".join(f"\n## {section}\n\n" for section in {entry.section for entry in entries})
    room = max_tokens - upper_bound(headings + _last_line(0, more=more))
    left = room
    for entry in entries:
        left -= whole(entry)[1]
        if left < 0:
            break
    else:
        return [keep(entry, whole(entry)[0]) for entry in entries]

    left = room = max_tokens - upper_bound(headings + _last_line(len(entries), more=more))
    share = _fair_share((whole(entry)[1] for entry in entries), room)
    kept: list[_Kept] = []
    misfits = 0
    for entry in entries:
        item, cost = "", 0
        if left >= share or sum(map(len, entry.texts)) <= share * _CHARACTERS_PER_TOKEN:
            item, cost = whole(entry)
            if cost > share:
                item, cost = _fitted(entry, share)
        if item and cost <= left:
            left -= cost
            kept.append(keep(entry, item))
        else:
            misfits += 1
            if misfits == _MISFITS:
                break
    return kept


def _cost(item: str) -> int:
    """Count what an item adds to the bound of a text that ends with a line break."""
    return upper_bound("\n" + item) - upper_bound("\n")


def _fair_share(costs: Iterable[int], room: int) -> int:
    """Find the most that one may cost so that all of them fit, or the least to which one is shortened."""
    least = max(room // _SHARES, min(room, _WORTHWHILE))
    known: list[int] = []
    left = room
    for cost in costs:
        left -= min(cost, least)
        if left < 0:
            return least
        known.append(cost)
    left = room
    known.sort()
    for done, cost in enumerate(known):
        share = left // (len(known) - done)
        if cost > share:
            return share
        left -= cost
    return room


def _fitted(entry: _Entry, most: int) -> tuple[str, int]:
    """Shorten an entry until it costs no more than it may, to nothing if no beginning of it does."""
    low, high = 0, min(max(map(len, entry.texts)), _CHARACTERS_PER_TOKEN * most)
    while low < high:
        middle = (low + high + 1) // 2
        if _cost(entry.item(middle)) <= most:
            low = middle
        else:
            high = middle - 1
    if not low:
        return "", 0
    item = entry.item(low)
    return item, _cost(item)


def _shortened(text: str, length: int) -> str:
    """Shorten a text at the end of a word, or of a character at least, and say by how much."""
    if len(text) <= length:
        return text
    end = length
    if not text[end].isspace():
        in_word = re.search(r"\s(\S*)\Z", text[max(0, end - _LONGEST_WORD) : end])
        if in_word:
            end -= len(in_word[1])
        while end and _inside_character(text[end - 1], text[end]):
            end -= 1
    beginning = text[:end].rstrip()
    return f"{beginning} … [{len(text) - len(beginning)} more characters]"


def _inside_character(before: str, after: str) -> bool:
    """Whether two code points belong to what a reader sees as one character."""
    flag = "\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff"
    skin_tone = "\U0001f3fb" <= after <= "\U0001f3ff"
    joined = "\u200d" in (before, after)
    return flag or skin_tone or joined or unicodedata.category(after).startswith("M")


def _written(kept: Sequence[_Kept], omitted: int, *, more: bool) -> str:
    parts = []
    for section in _SECTIONS:
        items = {entry.place: entry.item for entry in kept if entry.section == section}
        if items:
            parts.append(f"## {section}\n\n" + "".join(items[place] for place in sorted(items)))
    last = _last_line(omitted, more=more)
    if last or not parts:
        parts.append(last or "_No memories._\n")
    return "\n".join(parts)


def _last_line(omitted: int, *, more: bool) -> str:
    if not omitted:
        return "_Older memories left out._\n" if more else ""
    count = f"At least {omitted}" if more else f"{omitted}"
    noun = "memory" if omitted == 1 else "memories"
    return f"_{count} older or less important {noun} left out to fit the token budget._\n"
