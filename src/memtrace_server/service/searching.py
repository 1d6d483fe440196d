"""Searching memories."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from memtrace_server import times
from memtrace_server.messages import Response
from memtrace_server.search.plan import FrozenPlan
from memtrace_server.search.query import Question, parse
from memtrace_server.search.ranking import LAST_ROW, SCALE, Match, Ranking, newest, rank
from memtrace_server.service import filters
from memtrace_server.service.call import Call
from memtrace_server.service.pages import find_page, fitting, join
from memtrace_server.store.records import Filter, Found, Words

_LEAST = 0.2  # of the best score; of 536 questions of `make eval`, one has its answer below
_LIST_POSITION_LENGTH = 3  # a list's cursor has the time, the row, and the moment of the first page


class _Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a page of a ranked search ended.

    The position has the remaining memories instead of the last score, because forgetting a memory changes the
    scores of its neighbours.

    Attributes:
        plan: The plan of the first page.
        before: The row that exceeds the rows of all memories of the search.
        salt: A salt that makes the marks of the remaining memories differ from those of other ranked ones.
        left: The marks of the remaining memories, two bytes each.
        is_complete: Whether the pages contain every match.
    """

    plan: FrozenPlan
    before: int
    salt: int
    left: bytes
    is_complete: bool

    @classmethod
    def after(cls, ranking: Ranking, before: int, left: Sequence[Match], *, is_complete: bool) -> _Position:
        """Return the position after which some matches of a ranking remain."""
        rows = {match.memory.seq for match in left}
        others = {match.memory.seq for match in ranking.matches} - rows
        for salt in range(256):
            marks = {_mark(row, salt) for row in rows}
            if marks.isdisjoint(_mark(row, salt) for row in others):
                break
        return cls(ranking.plan, before, salt, b"".join(sorted(marks)), is_complete)

    def is_left(self, match: Match) -> bool:
        """Return whether a match is on one of the remaining pages."""
        mark = _mark(match.memory.seq, self.salt)
        return any(self.left[at : at + 2] == mark for at in range(0, len(self.left), 2))


def _mark(row: int, salt: int) -> bytes:
    return hashlib.blake2b(row.to_bytes(8, signed=True), digest_size=2, salt=salt.to_bytes(2)).digest()


def search_memories(call: Call) -> Response:
    """Return a page of the memories that match."""
    wanted = filters.from_search(call.body, call.now)
    question = parse(call.body.get("query") or "")
    if question is not None and not question.is_ranked:
        question = None  # its exclusions are in the filter
    is_grouped = call.body.get("group_by") is not None
    resolved_at, ranking = _resolved_at(call, wanted, question, is_grouped=is_grouped)
    of_time = None if question is None or resolved_at is None else _of_its_time(wanted, question, resolved_at)
    if of_time is not None:
        wanted, question = of_time, None
    is_ranked = question is not None and call.body.get("order") in {None, "relevance"}
    if is_ranked or is_grouped:
        found, rest = _best(call, wanted, question, ranking, resolved_at=resolved_at)
    else:
        options = {**call.body, "order": "asc" if call.body.get("order") == "asc" else "desc"}
        found, rest = find_page(call, wanted, options, resolved_at=resolved_at)
        missed = call.transaction.count_unsearched(call.org, wanted)
        rest |= {"is_complete": not missed, "unindexed_count": missed}
    took = (times.now() - call.now) // 1_000_000
    return Response(status=200, body=join("results", found, {"query_time_ms": max(took, 0), **rest}))


def best_matches(call: Call, wanted: Filter, text: str, limit: int) -> list[Found]:
    """Return the memories that match a question best, among those that pass a filter.

    Memories with less than a fifth of the best score are left out: they only share a common word with the
    question.
    """
    question = parse(text)
    if question is None or not question.is_ranked:
        return []
    wanted = attrs.evolve(wanted, words=question.words)
    now = _asked_at(call, wanted)
    is_about_it, ranking = _is_about_its_time(call, wanted, question, now)
    of_time = _of_its_time(wanted, question, now) if is_about_it else None
    if of_time is not None:
        return list(call.transaction.page(call.org, of_time, call.now, order="desc", limit=limit))
    ranking = ranking or rank(call.transaction, call.org, wanted, question, now=call.now)
    least = _LEAST * max((match.score for match in ranking.matches), default=0)
    return [match.memory for match in ranking.matches[:limit] if match.score >= least]


def _asked_at(call: Call, wanted: Filter) -> int:
    """Return the moment to which relative times of a question refer."""
    return call.now if wanted.as_of is None else wanted.as_of


def _resolved_at(
    call: Call, wanted: Filter, question: Question | None, *, is_grouped: bool
) -> tuple[int | None, Ranking | None]:
    """Return the moment to which relative times refer, if a search lists the memories of a time.

    The first page decides whether the search is a list; the cursors of a list keep the moment.

    Returns:
        The moment or None, and the question's ranking if it was needed to decide.
    """
    if question is None:
        return None, None
    position = call.position(tuple[Any, ...])
    if position is None:
        now = _asked_at(call, wanted)
        is_about_it, ranking = _is_about_its_time(call, wanted, question, now)
        return (now if is_about_it else None), ranking
    if not is_grouped:
        return (position[2] if len(position) == _LIST_POSITION_LENGTH else None), None
    ranked = call.position(_Position)
    return (None if ranked is None or ranked.plan.words else ranked.plan.now), None


def _is_about_its_time(
    call: Call, wanted: Filter, question: Question, now: int
) -> tuple[bool, Ranking | None]:
    """Return whether a question is about a time alone, because no memory has any of its other words.

    Returns:
        Whether the question is, and its ranking if it was needed to decide.
    """
    span = question.time(now)
    if span is None:
        return False, None
    if not span.others:
        return True, None
    ranking = rank(call.transaction, call.org, wanted, question, now=call.now)
    if not ranking.answered.isdisjoint(span.others):
        return False, ranking
    if ranking.is_complete:
        return True, ranking
    # The best memories may have only words of the time, such as "May", while others have the other words.
    others = attrs.evolve(question, stems=span.others)
    return not rank(call.transaction, call.org, wanted, others, now=call.now, limit=1).matches, ranking


def _of_its_time(wanted: Filter, question: Question, resolved_at: int) -> Filter | None:
    """Return the filter for the time that a question names, or None if it names no time."""
    span = question.time(resolved_at)
    if span is None:
        return None
    starts = [start for start in (wanted.since, span.start) if start is not None]
    ends = [end for end in (wanted.until, span.end) if end is not None]
    return attrs.evolve(
        wanted,
        since=max(starts, default=None),
        until=min(ends, default=None),
        words=Words(unwanted=question.unwanted) if question.unwanted else None,
    )


def _best(
    call: Call,
    wanted: Filter,
    question: Question | None,
    ranking: Ranking | None,
    *,
    resolved_at: int | None,
) -> tuple[Sequence[Found], dict[str, Any]]:
    """Return a page of the best matches with their scores, or of the newest memories if there is no question.

    Args:
        call: The request.
        wanted: The filter of the memories.
        question: The question.
        ranking: The question's ranking, if it is known already.
        resolved_at: The moment to which relative times refer in a list.
    """
    position = call.position(_Position)
    before, plan = (LAST_ROW, None) if position is None else (position.before, position.plan)
    now = call.now
    if question is None:
        known = plan or FrozenPlan(now if resolved_at is None else resolved_at, 0, b"", b"")
        ranking = newest(call.transaction, call.org, wanted, now=now, before=before, known=known)
    elif ranking is None:
        ranking = rank(call.transaction, call.org, wanted, question, now=now, before=before, known=plan)
    matches = ranking.matches
    if position is not None:
        matches = [match for match in matches if position.is_left(match)]
    elif call.body.get("group_by") is not None:
        matches = _best_of_sessions(matches)
    order = call.body.get("order")
    if order in {"asc", "desc"}:
        matches = sorted(matches, key=_moment, reverse=order == "desc")
    fit = fitting([match.memory for match in matches[: call.body["limit"]]])
    page = matches[: len(fit)]
    is_complete = ranking.is_complete if position is None else position.is_complete
    rest: dict[str, Any] = {
        "is_complete": is_complete,
        "unindexed_count": ranking.missed,
        "has_more": len(matches) > len(page),
    }
    if rest["has_more"]:
        if position is None:
            before = call.transaction.last_seq(call.org) + 1
        after = _Position.after(ranking, before, matches[len(page) :], is_complete=is_complete)
        rest["next_cursor"] = call.cursor(after)
    return [match.memory if question is None else _with_score(match) for match in page], rest


def _moment(match: Match) -> tuple[int, int]:
    return match.memory.time, match.memory.seq


def _best_of_sessions(matches: Sequence[Match]) -> list[Match]:
    """Return the first match of each session, and every match without a session."""
    seen: set[str] = set()
    found: list[Match] = []
    for match in matches:
        if match.session_id is None or match.session_id not in seen:
            found.append(match)
        if match.session_id is not None:
            seen.add(match.session_id)
    return found


def _with_score(match: Match) -> Found:
    """Return a memory with the score in its document."""
    memory = match.memory
    doc = f'{memory.doc[:-1]},"score":{match.score / SCALE:.6f}}}'
    return msgspec.structs.replace(memory, doc=doc)
