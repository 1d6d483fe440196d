"""Sending a request until it is answered, or there is no more hope."""

from __future__ import annotations

from collections.abc import Collection
from time import perf_counter
from typing import TypeVar

import anyio

from memtrace import _log as log
from memtrace import _telemetry as telemetry
from memtrace._answered import hear_answer, hear_retry
from memtrace._answers import Answer
from memtrace._async.connection import AsyncConnection
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._requests import Call
from memtrace._responses import error_of, model_of, nothing_of
from memtrace._retries import Retries
from memtrace.exceptions import MemtraceError

T = TypeVar("T")


class AsyncSender:
    """Sends requests as a client's settings say.

    Attributes:
        config: The settings.
        connection: What to send them on.
    """

    def __init__(self, config: Config, connection: AsyncConnection) -> None:
        self.config = config
        self.connection = connection

    async def fetch(self, call: Call, model: type[T], retries: Retries | None = None) -> T:
        """Send a request and give the answer as a model.

        Raises:
            MemtraceError: If there is no such answer.
        """
        return model_of(await self._send(call, retries or self.retries()), model)

    async def execute(self, call: Call, retries: Retries | None = None) -> None:
        """Send a request whose answer is that it was done.

        Raises:
            MemtraceError: If there is no such answer.
        """
        nothing_of(await self._send(call, retries or self.retries()))

    def retries(self, *, never_on: Collection[int] = ()) -> Retries:
        """Begin to count a request's retries and its time, for who wants to look at them afterwards.

        Args:
            never_on: Statuses that are not tried again.
        """
        return Retries(self.config.max_retries, Deadline(self.config.timeout), never_on=never_on)

    async def _send(self, call: Call, retries: Retries) -> Answer:
        while True:
            outcome = await self._try(call, retries)
            if isinstance(outcome, Answer):
                return outcome
            wait = retries.wait_after(outcome)
            log.consequence(call, outcome, wait, retries.count)
            if wait is None:
                raise outcome
            hear_retry()
            if self.config.on_pause is None:
                await anyio.sleep(wait)
            else:
                self.config.on_pause(wait)

    async def _try(self, call: Call, retries: Retries) -> Answer | MemtraceError:
        attempt = telemetry.begin(call, self.config, retries.count)
        sent = call if attempt is None else attempt.call
        started = perf_counter()
        try:
            answer = await self.connection.send(sent, self.config, retries.deadline)
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
