"""Searching memories."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec

from memtrace_server import times
from memtrace_server.messages import Response
from memtrace_server.ranking import score
from memtrace_server.service import filters
from memtrace_server.service.call import Call
from memtrace_server.service.pages import find_page, join, what_follows
from memtrace_server.store.records import Filter, Found, Words

_CANDIDATES = 1_000  # the newest matches, which are ranked; the contract says so at SearchOrder


def search_memories(call: Call) -> Response:
    """A page of what matches."""
    wanted = filters.from_search(call.body, call.now)
    ranked = call.body.get("order", "relevance") == "relevance" and wanted.words is not None
    if ranked and wanted.words is not None:
        found, rest = _most_relevant(call, wanted, wanted.words)
    else:
        options = {**call.body, "order": "asc" if call.body.get("order") == "asc" else "desc"}
        found, rest = find_page(call, wanted, options)
    took = (times.now() - call.now) // 1_000_000
    return Response(status=200, body=join("results", found, {"query_time_ms": max(took, 0), **rest}))


def best_matches(call: Call, wanted: Filter, question: str, limit: int) -> list[Found]:
    """Return the memories that match a question best, among those that a filter lets through."""
    words = filters.words(question)
    if words is None:
        return []
    ranked = _ranked(call, attrs.evolve(wanted, words=words), words)
    return [memory for _, memory in ranked[:limit]]


def _most_relevant(call: Call, wanted: Filter, words: Words) -> tuple[Sequence[Found], dict[str, object]]:
    ranked = _ranked(call, wanted, words)
    after = call.position(tuple[int, int])
    if after is not None:
        ranked = [scored for scored in ranked if scored[0] < after]
    page = ranked[: call.body["limit"]]
    return [m for _, m in page], what_follows(call, len(ranked) > len(page), [place for place, _ in page])


def _ranked(call: Call, wanted: Filter, words: Words) -> list[tuple[tuple[int, int], Found]]:
    found = call.transaction.page(call.org, wanted, call.now, order="desc", limit=_CANDIDATES)
    ranked = [((score(words.wanted, msgspec.json.decode(m.doc)["content"]), m.seq), m) for m in found]
    ranked.sort(key=lambda scored: scored[0], reverse=True)
    return ranked
