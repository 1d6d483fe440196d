# Derived from src/memtrace/_async/flusher.py by scripts/unasync.py: edit that, then run `make regen`.
"""Sending what a buffer holds: one batch at a time, in order, in the background or while the caller waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import cast

import attrs
from memtrace_api import requests

from memtrace import _leftovers as leftovers
from memtrace._background import Background
from memtrace._buffer import Backlog, Batch, Failure, not_stored
from memtrace._landed import memory_for, newest_of
from memtrace._requests import call
from memtrace._sync.connection import home
from memtrace._sync.sender import Sender
from memtrace.exceptions import (
    BadRequestError,
    BufferedWriteError,
    ConflictError,
    MemtraceError,
    ResponseValidationError,
)
from memtrace.models import AddMemoriesRequest, Memory, MemoryList

OnFailure = Callable[[BufferedWriteError], None]

# What a server says of a batch that it stored, but forgot before the batch was sent again.
_FORGOTTEN_SINCE = "answer_forgotten"

logger = logging.getLogger("memtrace")


@attrs.define
class Receipt:
    """As much of the answer to a batch as a buffer has use for."""

    count: int


class Flusher:
    """Sends what a backlog holds.

    Who has to wait, for room or for a flush, does not wait for the background, but takes a turn at sending.

    Attributes:
        backlog: What is held.
        sender: What sends it.
        on_failure: Who is told what failed, instead of the caller.
        home: Where this can be used.
    """

    def __init__(
        self,
        sender: Sender,
        backlog: Backlog,
        on_failure: OnFailure | None = None,
        *,
        is_closed: bool = False,
    ) -> None:
        self.backlog = backlog
        self.home = home()
        self.sender = sender
        self.on_failure = on_failure
        self._is_closed = is_closed
        # For the backlog and the two flags; never held while waiting for anything.
        self._mutex = threading.Lock()
        self._background = Background()
        self._is_working = False

    def stamp(self) -> datetime:
        """Give the time of a memory that has none."""
        with self._mutex:
            return self.backlog.stamp(datetime.now(UTC))

    def add(self, contents: Sequence[bytes]) -> None:
        """Take memories, as JSON, all of them or none; wait if there is no room.

        Raises:
            BufferedWriteError: If others have failed, or this is closed.
            BadRequestError: If there can never be room.
        """
        while not self._added(contents):
            self._send()
        with self._mutex:
            is_working, self._is_working = self._is_working, True
            is_due = self._is_due()
        if not is_working:
            self._start()
        elif is_due:
            self._background.wake()

    def flush(self) -> None:
        """Send what is held, and wait until all of it is stored or has failed.

        Raises:
            BufferedWriteError: If some could not be stored.
        """
        self._drain()
        with self._mutex:
            self._raise_failed()

    def close(self) -> None:
        """Take no more, and flush.

        Raises:
            BufferedWriteError: If some could not be stored.
        """
        self.finish(None)

    def finish(self, exception: BaseException | None) -> None:
        """Take no more and flush, at the end of a block that may have ended in an exception.

        That exception is not replaced. If it hands over memories of a buffer, those that have failed since
        join them; else a note says that there are some.

        Raises:
            BufferedWriteError: If some could not be stored, and there is no exception.
        """
        with self._mutex:
            self._is_closed = True
        with self._background.shield():
            self._drain()
        self._background.wake()
        with self._mutex:
            if exception is None:
                self._raise_failed()
            elif self.backlog.failed:
                since = not_stored(self.backlog.failed)
                if isinstance(exception, BufferedWriteError):
                    exception.failed += since.failed
                    self._handed_over()
                    exception.add_note(f"And since then, {since}; `failed` has them too.")
                else:
                    exception.add_note(f"And {since}; `failed` of the buffer has what could not.")

    def _added(self, contents: Sequence[bytes]) -> bool:
        with self._mutex:
            if self._is_closed:
                raise BufferedWriteError("This buffer is closed; make a new one")
            self._raise_failed()
            if not self.backlog.has_room(contents):
                return False
            self.backlog.add(contents, monotonic())
            leftovers.remember(self.backlog, self)
            return True

    def _start(self) -> None:
        try:
            self._background.start(self._work)
        except RuntimeError as error:
            # There is no thread to be had, as when the interpreter is about to end: then here and now.
            logger.debug("Nothing is sent in the background: %s", error)
            with self._mutex:
                self._is_working = False
            self._drain()

    def _work(self) -> None:
        """Send what is due until nothing is held."""
        try:
            while (wait := self._wait()) is not None:
                if wait > 0 and not self._background.is_ending:
                    self._background.wait(wait)
                else:
                    self._send(only_if_due=True)
        except BaseException:
            # Cancelled: who adds the next memory starts it anew.
            with self._mutex:
                self._is_working = False
            raise

    def _wait(self) -> float | None:
        with self._mutex:
            wait = self.backlog.due_in(monotonic())
            self._is_working = wait is not None
            return wait

    def _is_due(self) -> bool:
        return self.backlog.due_in(monotonic()) == 0 or self._background.is_ending

    def _drain(self) -> None:
        last = self.backlog.added
        while not self.backlog.is_settled(last):
            self._send()

    def _send(self, *, only_if_due: bool = False) -> None:
        """Wait for the turn, and send the next batch."""
        failed: list[Failure] = []
        with self._background.turn:
            with self._mutex:
                batch = None if only_if_due and not self._is_due() else self.backlog.take()
            if batch is None:
                return
            settle = self._outcome(batch)
            with self._mutex:
                before = len(self.backlog.failed)
                settle()
                if new := self.backlog.failed[before:]:
                    logger.warning("%s", not_stored(new))
                if self.on_failure is not None:
                    failed = self.backlog.hand_over()
                leftovers.remember(self.backlog, self)
        if failed:
            # Not in the turn, as it may well want to remember something.
            self._tell(failed)

    def _tell(self, failed: list[Failure]) -> None:
        try:
            cast("OnFailure", self.on_failure)(not_stored(failed))
        except Exception:
            logger.exception("on_failure failed; what it was to handle is raised instead")
            with self._mutex:
                self.backlog.take_back(failed)
                leftovers.remember(self.backlog, self)

    def _outcome(self, batch: Batch) -> Callable[[], None]:
        """Send a batch, and give what the backlog has to do then."""
        try:
            return self._answered(batch)
        except (BadRequestError, ConflictError) as error:
            return partial(self.backlog.refused, batch, error)
        except MemtraceError as error:
            return partial(self.backlog.given_up, error)
        except Exception as error:  # noqa: BLE001  # the hooks of the caller's http_client may raise anything
            unknown = MemtraceError(f"Sending a batch failed: {error!r}")
            unknown.__cause__ = error
            return partial(self.backlog.given_up, unknown)

    def _answered(self, batch: Batch) -> Callable[[], None]:
        write = call(requests.add_memory, body=AddMemoriesRequest(memories=[]), idempotency_key=batch.key)
        try:
            receipt = self.sender.fetch(attrs.evolve(write, content=batch.content), Receipt)
        except ConflictError as conflict:
            if conflict.code == _FORGOTTEN_SINCE:
                return partial(self.backlog.stored, batch)
            there = self._there(batch) if conflict.code is None else set()
            if not there:
                raise
            return partial(self.backlog.stored, batch, there)
        if receipt.count != len(batch):
            raise ResponseValidationError(
                f"The answer to {write} speaks of {receipt.count} memories, and {len(batch)} were sent"
            )
        return partial(self.backlog.stored, batch)

    def _there(self, batch: Batch) -> set[int]:
        """Give the places of the memories that a Memtrace 0.x server has.

        It refuses a batch for one duplicate, does not say which, and has stored what came before it. A batch
        that was stored, and is sent again because the answer was lost, is all duplicates.
        """
        there: set[int] = set()
        newest: dict[str, list[Memory]] = {}
        for place, request in enumerate(batch.requests):
            if request.agent_id not in newest:
                listing = call(requests.list_memories, **newest_of(request.agent_id).to_dict())
                newest[request.agent_id] = (self.sender.fetch(listing, MemoryList)).memories
            if memory_for(request, newest[request.agent_id]) is not None:
                there.add(place)
        return there

    def _raise_failed(self) -> None:
        if failed := self._handed_over():
            raise not_stored(failed)

    def _handed_over(self) -> list[Failure]:
        failed = self.backlog.hand_over()
        leftovers.remember(self.backlog, self)
        return failed
