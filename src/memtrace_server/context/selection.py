"""Which memories a context has when its budget does not hold all of them.

Half of the budget belongs to what is important and half to what is recent; what one half leaves goes to the
other, and the best matches of a question come before both, in up to half of the budget. Neither half keeps
chatter while something important is left out.

Chatter is what is neither important, nor a match, nor among the newest few, as a model that misses what was
said last cannot go on. To a decision, an error or an entity without an importance, only what is older is
chatter, as a flood of errors must not hide what people said since.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence

from attrs import frozen

from memtrace_server.context import tokens
from memtrace_server.context.entries import Entry
from memtrace_server.context.layouts import Layout

# A memory that is longer than its fair share is shortened, but not below this part of the budget, or this
# number of tokens.
_SHARES = 8
_LEAST_SHARE = 200
# So many of the newest stay, as far as one share holds them.
_NEWEST = 8
# What is left at the end goes to the beginning of one more memory, unless it is less than this.
_REMAINDERS = 25
_LEAST_REMAINDER = 30
# After so many memories that did not fit, the budget is as good as full.
_MISFITS = 12
# More characters than a token ever has, as `tokens` counts them: a longer text need not be counted.
_CHARACTERS_PER_TOKEN = 16
_USUAL = 2  # characters that a token has in English
# How often to count before the length is found at which a text costs what it may, and what is close enough.
_COUNTS = 8
_CLOSE = 0.95
_AIM = 0.98


@frozen(kw_only=True, eq=False)
class Chosen:
    """An entry that a context has.

    Attributes:
        entry: The entry.
        text: Its lines, without the time at their beginning.
        cost: What they add to the bound.
        length: The characters that each of its texts was shortened to; None if all are whole.
    """

    entry: Entry
    text: str
    cost: int
    length: int | None = None


def lead_cost(headings: str, stamp: str) -> int:
    """Return what the headings before an entry and the time at its beginning add to the bound."""
    # A time consists of digits and signs, and each is a token.
    return (tokens.added(headings) if headings else 0) + len(stamp)


def select(
    entries: Sequence[Entry], matches: Sequence[Entry], layout: Layout, room: int, reserve: int
) -> list[Chosen]:
    """Return the entries that a context has, in its order.

    Args:
        entries: All entries, in the context's order.
        matches: Those that match the question, the best first.
        layout: What writes them.
        room: The tokens that entries may cost, with their times and headings.
        reserve: Those of them that are needed for the last line if not all entries fit.
    """
    important = sorted(
        [entry for entry in entries if entry.is_important],
        key=lambda entry: (entry.importance, entry.last.place),
        reverse=True,
    )
    recent = sorted(entries, key=lambda entry: entry.last.place, reverse=True)
    ranked = list(dict.fromkeys([*matches, *important, *recent]))
    budget = _Budget(entries, layout)
    if budget.holds_all(ranked, room):
        return budget.all()
    budget.open(room - reserve, ranked)
    budget.take(matches, budget.left // 2)
    budget.take(important, budget.left // 2)
    budget.take(recent[:_NEWEST], room // _SHARES, in_order=True)
    budget.take([entry for entry in recent if entry.is_urged], budget.left)
    if budget.lacks([entry for entry in important if entry.is_urged]):
        recent = [entry for entry in recent if entry.is_important]
    budget.take(recent, budget.left, in_order=True)
    return budget.chosen()


class _Budget:
    """What is chosen, and how many tokens are left."""

    def __init__(self, entries: Sequence[Entry], layout: Layout) -> None:
        self._entries = entries
        self._layout = layout
        self._positions = {entry: position for position, entry in enumerate(entries)}
        self._whole: dict[Entry, Chosen] = {}
        self._chosen: dict[int, Chosen] = {}
        self._order: list[int] = []  # the positions of what is chosen
        self._headings: dict[str, int] = {}  # what was counted already
        self._share = 0
        self._remainder = 0
        self.left = 0

    def chosen(self) -> list[Chosen]:
        """Return what is chosen, in the context's order."""
        return [self._chosen[position] for position in self._order]

    def all(self) -> list[Chosen]:
        """Return all entries, whole, in the context's order."""
        return [self._as_whole(entry) for entry in self._entries]

    def lacks(self, entries: Iterable[Entry]) -> bool:
        """Return whether any of the entries is not chosen."""
        return any(self._positions[entry] not in self._chosen for entry in entries)

    def holds_all(self, ranked: Iterable[Entry], room: int) -> bool:
        """Return whether all entries fit, whole; count no more of them than do."""
        for entry in ranked:
            if self._is_longer(entry, room):
                return False
            room -= self._as_whole(entry).cost
        return sum(map(self._lead, [None, *self._entries], self._entries)) <= room

    def open(self, room: int, ranked: Sequence[Entry]) -> None:
        """Begin to choose, with `room` tokens for entries, of which those ranked first will be taken."""
        self.left = max(room, 0)
        self._remainder = max(self.left // _REMAINDERS, _LEAST_REMAINDER)
        self._share = self._fair_share(ranked, self.left)

    def take(self, entries: Iterable[Entry], allowance: int, *, in_order: bool = False) -> None:
        """Choose entries in this order, until they have used up the allowance.

        With `in_order`, none that is not important follows an important one that does not fit.
        """
        until = self.left - allowance
        misfits = 0
        important_only = False
        for entry in entries:
            if self.left <= until or misfits == _MISFITS:
                return
            position = self._positions[entry]
            if position in self._chosen or (important_only and not entry.is_important):
                continue
            at = bisect(self._order, position)
            lead = self._lead_at(at, entry)
            choice = self._fitting(entry, self.left - lead)
            if choice is None:
                misfits += 1
                important_only |= in_order and entry.is_important
                continue
            self.left -= lead + choice.cost
            self._order.insert(at, position)
            self._chosen[position] = choice

    def _lead_at(self, at: int, entry: Entry) -> int:
        """Count what an entry adds to headings and times if it is put there among those that are chosen."""
        before = self._entries[self._order[at - 1]] if at else None
        cost = self._lead(before, entry)
        if at < len(self._order):
            after = self._entries[self._order[at]]
            cost += self._lead(entry, after) - self._lead(before, after)
        return cost

    def _lead(self, before: Entry | None, entry: Entry) -> int:
        headings = self._layout.headings(before, entry)
        if headings not in self._headings:
            self._headings[headings] = lead_cost(headings, "")
        return self._headings[headings] + lead_cost("", self._layout.stamp(before, entry))

    def _fitting(self, entry: Entry, left: int) -> Chosen | None:
        """Return an entry that costs no more than its share and what is left, shortened if need be."""
        most = min(self._share, left)
        may_be_shortened = most >= min(self._share, self._remainder)
        if not may_be_shortened and self._layout.size(entry) > _USUAL * most:
            return None
        if not self._is_longer(entry, most):
            return self._as_whole(entry)
        return self._shortened(entry, most) if may_be_shortened else None

    def _as_whole(self, entry: Entry) -> Chosen:
        known = self._whole.get(entry)
        if known is None:
            text = self._layout.text(entry)
            known = self._whole[entry] = Chosen(entry=entry, text=text, cost=tokens.added(text))
        return known

    def _is_longer(self, entry: Entry, most: int) -> bool:
        """Return whether an entry costs more than so many tokens, counting no more of it than need be."""
        size = self._layout.size(entry)
        if entry in self._whole or size <= _USUAL * max(most, 1):
            return self._as_whole(entry).cost > most
        if size > _CHARACTERS_PER_TOKEN * most:
            return True
        text = self._layout.text(entry, _USUAL * most)
        return tokens.added(text) > most or self._as_whole(entry).cost > most

    def _shortened(self, entry: Entry, most: int) -> Chosen | None:
        """Return an entry shortened so that it costs no more than `most`, and not much less."""
        best: Chosen | None = None
        shortest, longest = 0, min(self._layout.size(entry), most * _CHARACTERS_PER_TOKEN)
        whole = self._whole.get(entry)
        length = min(longest, _near(longest, most, whole.cost) if whole else _USUAL * most)
        for _ in range(_COUNTS):
            if not shortest < length <= longest:
                break
            text = self._layout.text(entry, length)
            cost = tokens.added(text)
            if cost <= most:
                shortest = length
                if self._layout.shows(entry, length):
                    best = Chosen(entry=entry, text=text, cost=cost, length=length)
                if cost >= most * _CLOSE:
                    break
            else:
                longest = length - 1
            estimate = _near(length, most, cost)
            is_inside = shortest < estimate <= longest
            length = estimate if is_inside else (shortest + longest + 1) // 2
        return best

    def _fair_share(self, ranked: Iterable[Entry], room: int) -> int:
        """Return the most that one may cost so that all fit, or the least that one is shortened to."""
        least = max(room // _SHARES, min(room, _LEAST_SHARE))
        known: list[int] = []
        left = room
        for entry in ranked:
            cost = room if self._is_longer(entry, least) else self._as_whole(entry).cost
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


def _near(length: int, most: int, cost: int) -> int:
    """Return the length at which a text should cost nearly `most`, which costs so much at another."""
    return int(length * most / max(cost, 1) * _AIM)
