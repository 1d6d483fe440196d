"""Long texts: they lie in a table of their own, and many of them are written in several transactions.

A memory of 64 KiB takes as long to write as a hundred short ones, and a batch may have a thousand of them.
Their texts are *staged* first, some in each transaction, and other writes have their turns between two of
these. The transaction that stores the memories then only refers to the texts: until it commits, nothing shows
them. What is not referred to when its write has ended, as it was refused, say, is removed soon; what a
process left that was killed, after a while.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any, cast

import msgspec

from memtrace_server import times
from memtrace_server.store.protocol import Transaction, WantsOf, Write
from memtrace_server.store.writing import GROUP, Unfinished

if TYPE_CHECKING:
    from memtrace_server.store.sqlite.transaction import SqliteTransaction

LONG = 4_000
"""Characters from which on a text has a row of its own; SQLite would give it pages of its own anyway."""

SWEPT = 64
"""Texts without a memory that one transaction removes; it takes some 10 ms."""

FORGOTTEN = 16
"""Long memories that one transaction forgets, in 4 to 10 ms."""

STAGED_FOR = 60 * times.SECOND
"""After which a text that no memory refers to is removed. A write that still needs it stages it again."""

_STEP = 4 << 20  # characters of long texts in one transaction; they take some 10 ms
_SAMPLE = 32  # characters


class Unstaged(Exception):  # noqa: N818 - no error, but a reason to begin in another way
    """Texts are too long for one transaction; nothing was written.

    Attributes:
        org: Their organisation.
        texts: The texts.
    """

    def __init__(self, org: int, texts: Sequence[str]) -> None:
        super().__init__("these texts have to be staged first")
        self.org = org
        self.texts = texts


def require_short(org: int, texts: Sequence[str]) -> None:
    """Check that texts are not too long to be written in one transaction.

    Raises:
        Unstaged: They are.
    """
    if sum(map(len, texts)) > _STEP:
        raise Unstaged(org, texts)


class Unforgotten(Exception):  # noqa: N818 - as above
    """Memories are too long to be forgotten in one transaction; nothing was written.

    Attributes:
        org: Their organisation.
        parts: Their rows, divided for several transactions.
    """

    def __init__(self, org: int, parts: Sequence[Sequence[int]]) -> None:
        super().__init__("these memories have to be forgotten in parts")
        self.org = org
        self.parts = parts


class Staged:
    """Texts that are staged for a write.

    Args:
        texts: Each with its row.
    """

    def __init__(self, texts: Iterable[tuple[int, str]] = ()) -> None:
        self._texts: defaultdict[_Key, deque[tuple[int, str]]] = defaultdict(deque)
        for row, text in texts:
            self._texts[_key(text)].append((row, text))

    def row(self, text: str) -> int | None:
        """Return the row of a text, if it is staged; each row once.

        A write that is done again may store fewer memories, as others stored the same meanwhile; but in the
        same order. So one of several texts that look alike is compared, and one that is not found is staged.
        """
        alike = self._texts[_key(text)]
        row, first = alike.popleft() if alike else (None, "")
        return row if first == text else None  # which is the same string, mostly


_Key = tuple[int, str, str, str]


def _key(text: str) -> _Key:
    """What tells most texts apart: to hash all of them would take as long as to write them."""
    middle = len(text) // 2
    return len(text), text[:_SAMPLE], text[middle : middle + _SAMPLE], text[-_SAMPLE:]


class _Storing(Write, frozen=True, kw_only=True, eq=False):
    """The rest of a write, for which texts are staged.

    Attributes:
        original: The write as it came.
        staged: Texts, each with its row.
    """

    original: Write
    staged: Sequence[tuple[int, str]]


def staged_for(write: Write) -> Sequence[int]:
    """Return the rows of texts that were staged for a write, of which some may have become a memory's."""
    return [row for row, _ in write.staged] if isinstance(write, _Storing) else ()


def begun(write: Write, reason: Unstaged | Unforgotten) -> Unfinished:
    """Return what is to be done of a write instead, whose texts are too long for one transaction."""
    if isinstance(reason, Unforgotten):
        return Unfinished(_forgetting(write, reason.org, [part for part in reason.parts if part], 0))
    original, staged = (write.original, write.staged) if isinstance(write, _Storing) else (write, ())
    return Unfinished(_staging(original, reason.org, reason.texts, staged))


def _staging(write: Write, org: int, texts: Sequence[str], staged: Sequence[tuple[int, str]]) -> Write:
    """Return what stages some texts, and then leaves a write that does so with the others, or stores them."""

    def run(transaction: Transaction) -> Unfinished:
        sizes = accumulate(map(len, texts))
        some = texts[: max(1, sum(1 for _ in takewhile(lambda size: size <= _STEP, sizes)))]
        rows = cast("SqliteTransaction", transaction).stage(org, some, times.now())
        now_staged = [*staged, *zip(rows, some, strict=True)]
        left = texts[len(some) :]
        return Unfinished(_staging(write, org, left, now_staged) if left else _storing(write, now_staged))

    return _rest(write, run, staged)


def _storing(write: Write, staged: Sequence[tuple[int, str]]) -> Write:
    """Return a write that refers to texts that are staged."""

    def run(transaction: Transaction) -> Any:  # noqa: ANN401 - whatever the write returns
        with cast("SqliteTransaction", transaction).staged(staged):
            return write.run(transaction)

    return _rest(write, run, staged, write.wants)


def _rest(
    write: Write,
    run: Callable[[Transaction], Any],
    staged: Sequence[tuple[int, str]],
    wants: WantsOf | None = None,
) -> Write:
    return _Storing(
        run=run,
        deadline=write.deadline,
        org=write.org,
        size=GROUP,
        wants=wants,
        original=write,
        staged=staged,
    )


def divided(rows: Sequence[tuple[int, bool]], before: int = 0) -> list[list[int]]:
    """Divide rows into parts that one transaction forgets.

    Args:
        rows: Each with whether it is long.
        before: How many long ones the transaction has forgotten before the first part, which may be empty.
    """
    parts: list[list[int]] = [[]]
    for row, is_long in rows:
        if is_long and before >= FORGOTTEN:
            parts.append([])
            before = 0
        parts[-1].append(row)
        before += is_long
    return parts


def _forgetting(write: Write, org: int, parts: Sequence[Sequence[int]], before: int) -> Write:
    """Return what forgets some parts, one in each transaction; the write itself forgets the last."""

    def run(transaction: Transaction) -> Any:  # noqa: ANN401 - whatever the write returns
        if len(parts) == 1:
            with cast("SqliteTransaction", transaction).forgotten(before):
                return write.run(transaction)
        now_forgotten = before + transaction.forget(org, parts[0])
        return Unfinished(_forgetting(write, org, parts[1:], now_forgotten))

    # As many share the last transaction as it can forget.
    size = max(write.size, GROUP // (FORGOTTEN + 1)) if len(parts) == 1 else GROUP
    return msgspec.structs.replace(write, run=run, size=size, wants=None)
