"""Long texts, which have a table of their own and are written in several transactions.

A memory of 64 KiB takes as long to write as a hundred short ones, and a batch may have a thousand of them. So
their texts are *staged* first, some in each transaction, and other writes happen in between. The transaction
that stores the memories then only refers to the texts, which are invisible until it commits. Texts without a
reference are removed soon after their write has ended, for instance because it was refused; texts of a killed
process are removed after a while.
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
"""Characters from which on a text has its own row; in SQLite it would have its own pages anyway."""

SWEPT = 64
"""Number of unreferenced texts that one transaction removes, in some 10 ms."""

FORGOTTEN = 16
"""Number of long memories that one transaction forgets, in 4 to 10 ms."""

STAGED_FOR = 60 * times.SECOND
"""Time after which an unreferenced text is removed. A write that still needs the text stages it again."""

_STEP = 4 << 20  # characters of long texts in one transaction; they take some 10 ms
_SAMPLE = 32  # characters


class Unstaged(Exception):  # noqa: N818 - a signal to write in another way
    """Texts are too long for one transaction; nothing was written.

    Attributes:
        org: The organisation of the texts.
        texts: The texts.
    """

    def __init__(self, org: int, texts: Sequence[str]) -> None:
        super().__init__("these texts have to be staged first")
        self.org = org
        self.texts = texts


def require_short(org: int, texts: Sequence[str]) -> None:
    """Check that texts are short enough for one transaction.

    Raises:
        Unstaged: The texts are too long.
    """
    if sum(map(len, texts)) > _STEP:
        raise Unstaged(org, texts)


class Unforgotten(Exception):  # noqa: N818 - as above
    """Memories are too long to be forgotten in one transaction; nothing was written.

    Attributes:
        org: The organisation of the memories.
        parts: The rows of the memories, divided for several transactions.
    """

    def __init__(self, org: int, parts: Sequence[Sequence[int]]) -> None:
        super().__init__("these memories have to be forgotten in parts")
        self.org = org
        self.parts = parts


class Staged:
    """The staged texts of a write.

    Args:
        texts: The texts, each with its row.
    """

    def __init__(self, texts: Iterable[tuple[int, str]] = ()) -> None:
        self._texts: defaultdict[_Key, deque[tuple[int, str]]] = defaultdict(deque)
        for row, text in texts:
            self._texts[_key(text)].append((row, text))

    def row(self, text: str) -> int | None:
        """Return the row of a text if it is staged; each row is returned once.

        A repeated write may store fewer memories, because others have stored equal ones meanwhile, but in the
        same order. So only texts with the same key are compared, and a text that is not found is staged
        again.
        """
        alike = self._texts[_key(text)]
        row, first = alike.popleft() if alike else (None, "")
        return row if first == text else None  # mostly the same object


_Key = tuple[int, str, str, str]


def _key(text: str) -> _Key:
    """Return a key that distinguishes most texts; hashing them would take as long as writing them."""
    middle = len(text) // 2
    return len(text), text[:_SAMPLE], text[middle : middle + _SAMPLE], text[-_SAMPLE:]


class _Storing(Write, frozen=True, kw_only=True, eq=False):
    """The rest of a write whose texts are being staged.

    Attributes:
        original: The original write.
        staged: The staged texts, each with its row.
    """

    original: Write
    staged: Sequence[tuple[int, str]]


def staged_for(write: Write) -> Sequence[int]:
    """Return the rows of texts that were staged for a write; memories may refer to some of them."""
    return [row for row, _ in write.staged] if isinstance(write, _Storing) else ()


def begun(write: Write, reason: Unstaged | Unforgotten) -> Unfinished:
    """Return the replacement of a write whose texts are too long for one transaction."""
    if isinstance(reason, Unforgotten):
        return Unfinished(_forgetting(write, reason.org, [part for part in reason.parts if part], 0))
    original, staged = (write.original, write.staged) if isinstance(write, _Storing) else (write, ())
    return Unfinished(_staging(original, reason.org, reason.texts, staged))


def _staging(write: Write, org: int, texts: Sequence[str], staged: Sequence[tuple[int, str]]) -> Write:
    """Return a write that stages some texts, and leaves a write that stages the others or stores all."""

    def run(transaction: Transaction) -> Unfinished:
        sizes = accumulate(map(len, texts))
        some = texts[: max(1, sum(1 for _ in takewhile(lambda size: size <= _STEP, sizes)))]
        rows = cast("SqliteTransaction", transaction).stage(org, some, times.now())
        now_staged = [*staged, *zip(rows, some, strict=True)]
        left = texts[len(some) :]
        return Unfinished(_staging(write, org, left, now_staged) if left else _storing(write, now_staged))

    return _rest(write, run, staged)


def _storing(write: Write, staged: Sequence[tuple[int, str]]) -> Write:
    """Return a write that refers to staged texts."""

    def run(transaction: Transaction) -> Any:  # noqa: ANN401 - the result of any write
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
    """Divide rows into parts for one transaction each.

    Args:
        rows: The rows, each with whether its memory is long.
        before: The number of long memories that the transaction has forgotten before the first part, which
            may be empty.
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
    """Return a write that forgets parts, one per transaction; the original write forgets the last."""

    def run(transaction: Transaction) -> Any:  # noqa: ANN401 - the result of any write
        if len(parts) == 1:
            with cast("SqliteTransaction", transaction).forgotten(before):
                return write.run(transaction)
        now_forgotten = before + transaction.forget(org, parts[0])
        return Unfinished(_forgetting(write, org, parts[1:], now_forgotten))

    # The last transaction gets as many as it can forget.
    size = max(write.size, GROUP // (FORGOTTEN + 1)) if len(parts) == 1 else GROUP
    return msgspec.structs.replace(write, run=run, size=size, wants=None)
