"""Selection of memories for a context whose budget does not hold all of them.

Half of the budget goes to important memories and half to recent ones; what one half does not use goes to the
other. The best matches of a question come before both, with up to half of the budget. Neither half keeps
chatter while an important memory is left out.

Chatter is any memory that is neither important, nor a match, nor among the newest few, as a model that misses
the last messages cannot go on. A decision, an error or an entity without an importance displaces only older
chatter, as many errors must not hide what people said since.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Hashable, Iterable, Sequence

from attrs import frozen

from memtrace_server.context import tokens
from memtrace_server.context.entries import Entry
from memtrace_server.context.layouts import Layout

# A memory that is longer than its fair share is shortened, but not below 1/_SHARES of the budget or
# _MIN_SHARE tokens.
_SHARES = 8
_MIN_SHARE = 200
# The newest memories that stay, as far as one share holds them.
_NEWEST = 8
# The remaining tokens go to the beginning of one more memory, unless they are fewer than 1/_REMAINDERS of the
# budget or _MIN_REMAINDER tokens.
_REMAINDERS = 25
_MIN_REMAINDER = 30
# After this number of memories that did not fit, the budget counts as full.
_MAX_MISFITS = 12
# More characters than `tokens` ever counts as one token, so that longer texts need not be counted.
_CHARACTERS_PER_TOKEN = 16
_USUAL = 2  # characters per token in English
# The search for the length at which a text has a given cost: the maximum number of counts, the fraction of
# the cost that is close enough, and the fraction to aim at.
_MAX_COUNTS = 8
_CLOSE = 0.95
_AIM = 0.98


@frozen(kw_only=True, eq=False)
class Choice:
    """An entry that was chosen for a context.

    Attributes:
        entry: The entry.
        text: The lines of the entry, without the time at the beginning.
        cost: What the lines add to the bound.
        length: The number of characters that each text was shortened to; None if no text was shortened.
    """

    entry: Entry
    text: str
    cost: int
    length: int | None = None


def lead_cost(headings: str, stamp: str) -> int:
    """Return what the headings before an entry, and the time at its beginning, add to the bound."""
    # A time consists of digits and signs, each of which is a token.
    return (tokens.added(headings) if headings else 0) + len(stamp)


def select(
    entries: Sequence[Entry], matches: Sequence[Entry], layout: Layout, room: int, reserve: int
) -> list[Choice]:
    """Return the entries that are chosen for a context, in its order.

    Args:
        entries: All entries, in the context's order.
        matches: The entries that match the question, the best first.
        layout: The layout that writes entries.
        room: The tokens that entries may cost, with their times and headings.
        reserve: The part of `room` that the last line needs if not all entries fit.
    """
    important = sorted(
        [entry for entry in entries if entry.is_important],
        key=lambda entry: (entry.importance, entry.last.position),
        reverse=True,
    )
    recent = sorted(entries, key=lambda entry: entry.last.position, reverse=True)
    ranked = list(dict.fromkeys([*matches, *important, *recent]))
    budget = _Budget(entries, layout)
    if budget.holds_all(ranked, room):
        return budget.all()
    budget.open(room - reserve, ranked)
    important = _without_repeats(important)
    budget.take(_without_repeats(matches), budget.left // 2)
    budget.take(important, budget.left // 2)
    budget.take(recent[:_NEWEST], room // _SHARES, in_order=True)
    urged = {entry for entry in important if entry.is_urged}
    budget.take([entry for entry in recent if entry in urged], budget.left)
    if budget.lacks(urged):
        recent = [entry for entry in recent if entry.is_important]
    budget.take(recent, budget.left, in_order=True)
    return budget.chosen()


def _without_repeats(entries: Iterable[Entry]) -> list[Entry]:
    """Return the first of the entries that say the same, at different times."""
    found: dict[Hashable, Entry] = {}
    for entry in entries:
        found.setdefault(entry.said, entry)
    return list(found.values())


class _Budget:
    """The chosen entries, and the tokens that are left."""

    def __init__(self, entries: Sequence[Entry], layout: Layout) -> None:
        self._entries = entries
        self._layout = layout
        self._positions = {entry: position for position, entry in enumerate(entries)}
        self._whole: dict[Entry, Choice] = {}
        self._chosen: dict[int, Choice] = {}
        self._order: list[int] = []  # the positions of chosen entries
        self._headings: dict[str, int] = {}  # cache of costs
        self._share = 0
        self._remainder = 0
        self.left = 0

    def chosen(self) -> list[Choice]:
        """Return the chosen entries, in the context's order."""
        return [self._chosen[position] for position in self._order]

    def all(self) -> list[Choice]:
        """Return all entries unshortened, in the context's order."""
        return [self._as_whole(entry) for entry in self._entries]

    def lacks(self, entries: Iterable[Entry]) -> bool:
        """Return whether any of the entries is not chosen."""
        return any(self._positions[entry] not in self._chosen for entry in entries)

    def holds_all(self, ranked: Iterable[Entry], room: int) -> bool:
        """Return whether all entries fit unshortened; stop counting at the first that does not."""
        for entry in ranked:
            if self._is_longer(entry, room):
                return False
            room -= self._as_whole(entry).cost
        return sum(map(self._lead, [None, *self._entries], self._entries)) <= room

    def open(self, room: int, ranked: Sequence[Entry]) -> None:
        """Start to choose among ranked entries, with `room` tokens."""
        self.left = max(room, 0)
        self._remainder = max(self.left // _REMAINDERS, _MIN_REMAINDER)
        self._share = self._fair_share(ranked, self.left)

    def take(self, entries: Iterable[Entry], allowance: int, *, in_order: bool = False) -> None:
        """Choose entries in this order, until they have used up the allowance.

        With `in_order`, only important entries are chosen after an important one that does not fit.
        """
        until = self.left - allowance
        misfits = 0
        important_only = False
        for entry in entries:
            if self.left <= until or misfits == _MAX_MISFITS:
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
        """Return what an entry adds to the cost of headings and times if it is inserted at an index."""
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

    def _fitting(self, entry: Entry, left: int) -> Choice | None:
        """Return an entry that costs at most its share and the tokens left, shortened if necessary."""
        limit = min(self._share, left)
        may_be_shortened = limit >= min(self._share, self._remainder)
        if not may_be_shortened and self._layout.size(entry) > _USUAL * limit:
            return None
        if not self._is_longer(entry, limit):
            return self._as_whole(entry)
        return self._shortened(entry, limit) if may_be_shortened else None

    def _as_whole(self, entry: Entry) -> Choice:
        known = self._whole.get(entry)
        if known is None:
            text = self._layout.text(entry)
            known = self._whole[entry] = Choice(entry=entry, text=text, cost=tokens.added(text))
        return known

    def _is_longer(self, entry: Entry, limit: int) -> bool:
        """Return whether an entry costs more than `limit` tokens, counting as little of it as possible."""
        size = self._layout.size(entry)
        if entry in self._whole or size <= _USUAL * max(limit, 1):
            return self._as_whole(entry).cost > limit
        if size > _CHARACTERS_PER_TOKEN * limit:
            return True
        text = self._layout.text(entry, _USUAL * limit)
        return tokens.added(text) > limit or self._as_whole(entry).cost > limit

    def _shortened(self, entry: Entry, limit: int) -> Choice | None:
        """Return an entry shortened so that it costs at most `limit`, and not much less."""
        best: Choice | None = None
        shortest, longest = 0, min(self._layout.size(entry), limit * _CHARACTERS_PER_TOKEN)
        whole = self._whole.get(entry)
        length = min(longest, _near(longest, limit, whole.cost) if whole else _USUAL * limit)
        for _ in range(_MAX_COUNTS):
            if not shortest < length <= longest:
                break
            text = self._layout.text(entry, length)
            cost = tokens.added(text)
            if cost <= limit:
                shortest = length
                if self._layout.shows(entry, length):
                    best = Choice(entry=entry, text=text, cost=cost, length=length)
                if cost >= limit * _CLOSE:
                    break
            else:
                longest = length - 1
            estimate = _near(length, limit, cost)
            is_inside = shortest < estimate <= longest
            length = estimate if is_inside else (shortest + longest + 1) // 2
        return best

    def _fair_share(self, ranked: Iterable[Entry], room: int) -> int:
        """Return the maximum cost of an entry at which all fit, or the minimum share if there is none."""
        least = max(room // _SHARES, min(room, _MIN_SHARE))
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


def _near(length: int, limit: int, cost: int) -> int:
    """Return the length at which a text should cost slightly less than `limit`, from its cost at `length`."""
    return int(length * limit / max(cost, 1) * _AIM)
