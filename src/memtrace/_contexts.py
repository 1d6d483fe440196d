"""Fitting a context to a tokenizer: which budgets to request, and which response to keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import attrs
from memtrace_api.limits import CONTEXT_OPTIONS_MAX_TOKENS_DEFAULT, CONTEXT_OPTIONS_MAX_TOKENS_MAXIMUM
from msgspec.structs import replace

from memtrace.models import AgentContext, ContextOptions, SessionContext

C = TypeVar("C", AgentContext, SessionContext)

_REQUESTS = 3
_USED = 0.9  # of the budget, if there are enough memories
_BOUND_BY_TOKEN = 2.0  # tokens by the server's bound for each that a tokenizer makes of English
# Shares of the budget to aim at, as the ratio of bound and tokens differs from one context to the next.
_AIM = 0.95
_SAFE_AIM = 0.85


class Fitting(Generic[C]):
    """The requests for one context.

    Args:
        options: The options of the context, whose `max_tokens` limits the count.
    """

    def __init__(self, options: ContextOptions) -> None:
        self._options = options
        self._most = CONTEXT_OPTIONS_MAX_TOKENS_DEFAULT if options.max_tokens is None else options.max_tokens
        self._asked: list[tuple[int, int]] = []  # the bounds asked for, and the tokens counted
        self._responses: list[C] = []
        self._is_done = False

    def next_options(self) -> ContextOptions | None:
        """Return the options of the next request; None if it would gain nothing."""
        if self._is_done or len(self._asked) == _REQUESTS:
            return None
        return attrs.evolve(self._options, max_tokens=self._next_bound())

    def add(self, context: C, counted: object) -> None:
        """Add a response, and the count of its tokens."""
        tokens = _number(counted)
        if tokens < 0:
            raise ValueError(f"count_tokens: returned {tokens}; return a number of tokens, or a list of them")
        bound = self._next_bound()
        is_same = any(context.context == known.context for known in self._responses)
        is_all = not context.omitted_count and not (context.omitted and context.omitted.shortened)
        self._asked.append((bound, tokens))
        self._responses.append(context)
        fits = tokens <= self._most
        self._is_done = is_same or (
            fits and (is_all or tokens >= _USED * self._most or bound == CONTEXT_OPTIONS_MAX_TOKENS_MAXIMUM)
        )

    def best(self) -> C:
        """Return the largest context that fits; one without memories, if none does."""
        counted = [tokens for _, tokens in self._asked]
        fitting = [number for number, tokens in enumerate(counted) if tokens <= self._most]
        if fitting:
            return self._responses[max(fitting, key=counted.__getitem__)]
        last = self._responses[-1]
        omitted = None if last.omitted_count is None else last.omitted_count + last.memory_count
        return replace(
            last,
            context="",
            memory_count=0,
            omitted_count=omitted,
            token_count=0,
            memory_ids=last.memory_ids and [],
            omitted=last.omitted and replace(last.omitted, over_budget=omitted or 0, shortened=0),
            entries=last.entries and [],
        )

    def _next_bound(self) -> int:
        if self._most > CONTEXT_OPTIONS_MAX_TOKENS_MAXIMUM or self._most < 1:
            return self._most  # which the server refuses, with the reason
        return round(min(max(self._estimate(), 1), CONTEXT_OPTIONS_MAX_TOKENS_MAXIMUM))

    def _estimate(self) -> float:
        """Estimate, from the counts so far, the bound at which the text fills its budget."""
        if not self._asked:
            return _BOUND_BY_TOKEN * self._most
        under = max(((b, n) for b, n in self._asked if n <= self._most), default=None)
        over = min(((b, n) for b, n in self._asked if n > self._most), default=None)
        if under and over and over[0] > under[0]:
            slope = (over[0] - under[0]) / (over[1] - under[1])
            return under[0] + (_AIM * self._most - under[1]) * slope
        if under:
            return under[0] * self._most / max(under[1], 1) * _AIM
        aim = _AIM if len(self._asked) == 1 else _SAFE_AIM
        return aim * self._most * min(bound / tokens for bound, tokens in self._asked)


def _number(counted: object) -> int:
    if isinstance(counted, int):
        return counted
    if isinstance(counted, Sequence) and not isinstance(counted, str):
        return len(counted)
    raise TypeError(
        f"count_tokens: returned {type(counted).__name__}; return a number of tokens, or a list of them"
    )
