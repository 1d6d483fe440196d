"""Sending a request until it is answered, or there is no more hope."""

from __future__ import annotations

import logging
from collections.abc import Collection
from time import perf_counter
from typing import TypeVar

import anyio

from memtrace._answers import Answer
from memtrace._async.connection import AsyncConnection
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._requests import Call
from memtrace._responses import error_of, model_of, nothing_of
from memtrace._retries import Retries
from memtrace.exceptions import MemtraceError

T = TypeVar("T")

logger = logging.getLogger("memtrace")


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
            started = perf_counter()
            error: MemtraceError
            try:
                answer = await self.connection.send(call, self.config, retries.deadline)
            except MemtraceError as failure:
                error = failure
            else:
                if logger.isEnabledFor(logging.DEBUG):
                    milliseconds = (perf_counter() - started) * 1000
                    named = answer.request_id
                    logger.debug("%s: %d in %.1f ms, request %s", call, answer.status, milliseconds, named)
                if answer.is_success:
                    return answer
                error = error_of(answer)
            wait = retries.wait_after(error)
            if wait is None:
                logger.debug("%s: given up after %d retries: %s", call, retries.count, error)
                raise error
            logger.debug("%s: retry %d in %.2f s, because of: %s", call, retries.count, wait, error)
            if self.config.on_pause is None:
                await anyio.sleep(wait)
            else:
                self.config.on_pause(wait)
