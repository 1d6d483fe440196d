# Derived from src/memtrace/_async/sender.py by scripts/unasync.py: edit that, then run `make regen`.
"""Sending a request until it is answered, or there is no more hope."""

from __future__ import annotations

import time
from collections.abc import Collection
from time import perf_counter
from typing import TypeVar

from memtrace import _log as log
from memtrace import _telemetry as telemetry
from memtrace._answered import hear_answer, hear_retry
from memtrace._answers import Answer
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._requests import Call
from memtrace._responses import error_of, model_of, nothing_of
from memtrace._retries import Retries
from memtrace._sync.connection import Connection
from memtrace.exceptions import MemtraceError

T = TypeVar("T")


class Sender:
    """Sends requests as a client's settings say.

    Attributes:
        config: The settings.
        connection: What to send them on.
    """

    def __init__(self, config: Config, connection: Connection) -> None:
        self.config = config
        self.connection = connection

    def fetch(self, call: Call, model: type[T], retries: Retries | None = None) -> T:
        """Send a request and give the answer as a model.

        Raises:
            MemtraceError: If there is no such answer.
        """
        return model_of(self._send(call, retries or self.retries()), model)

    def execute(self, call: Call, retries: Retries | None = None) -> None:
        """Send a request whose answer is that it was done.

        Raises:
            MemtraceError: If there is no such answer.
        """
        nothing_of(self._send(call, retries or self.retries()))

    def retries(self, *, never_on: Collection[int] = ()) -> Retries:
        """Begin to count a request's retries and its time, for who wants to look at them afterwards.

        Args:
            never_on: Statuses that are not tried again.
        """
        return Retries(self.config.max_retries, Deadline(self.config.timeout), never_on=never_on)

    def _send(self, call: Call, retries: Retries) -> Answer:
        while True:
            outcome = self._try(call, retries)
            if isinstance(outcome, Answer):
                return outcome
            wait = retries.wait_after(outcome)
            log.consequence(call, outcome, wait, retries.count)
            if wait is None:
                raise outcome
            hear_retry()
            if self.config.on_pause is None:
                time.sleep(wait)
            else:
                self.config.on_pause(wait)

    def _try(self, call: Call, retries: Retries) -> Answer | MemtraceError:
        attempt = telemetry.begin(call, self.config, retries.count)
        sent = call if attempt is None else attempt.call
        started = perf_counter()
        try:
            answer = self.connection.send(sent, self.config, retries.deadline)
        except BaseException as failure:
            if attempt is not None:
                attempt.failed(failure)
            if not isinstance(failure, MemtraceError):  # such as the end of the task
                raise
            log.failure(call, failure, retries.count, perf_counter() - started)
            return failure
        if attempt is not None:
            attempt.answered(answer)
        hear_answer(answer)
        log.answer(answer, retries.count, perf_counter() - started)
        return answer if answer.is_success else error_of(answer)
