"""Fitting a context to a tokenizer: which budgets to request, and which response to keep."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Generic, TypeVar

import attrs
from memtrace_api.limits import CONTEXT_OPTIONS_MAX_TOKENS_DEFAULT, CONTEXT_OPTIONS_MAX_TOKENS_MAXIMUM
from msgspec.structs import replace

from memtrace.models import AgentContext, ContextOptions, SessionContext

C = TypeVar("C", AgentContext, SessionContext)

_REQUESTS = 3
_USED = 0.9  # of the budget, if there are enough memories
_AIM = 0.95  # of the budget: the ratio of bound and tokens differs from one context to the next
_BOUND_BY_TOKEN = 2.0  # tokens by the server's bound for each that a tokenizer makes of English


class Fitting(Generic[C]):
    """The requests for one context.

    Args:
        options: The options of the context, whose `max_tokens` limits the count.
    """

    def __init__(self, options: ContextOptions) -> None:
        self._options = options
        self._most = CONTEXT_OPTIONS_MAX_TOKENS_DEFAULT if options.max_tokens is None else options.max_tokens
        self._bound = self._allowed(_BOUND_BY_TOKEN * self._most)
        self._responses: list[tuple[int, C]] = []  # the tokens counted in each
        self._is_done = False

    def next_options(self) -> ContextOptions | None:
        """Return the options of the next request; None if it would gain nothing."""
        return None if self._is_done else attrs.evolve(self._options, max_tokens=self._bound)

    def add(self, context: C, counted: object) -> None:
        """Add a response, and the count of its tokens."""
        tokens = _number(counted)
        if tokens < 0:
            raise ValueError(f"count_tokens: returned {tokens}; return a number of tokens, or a list of them")
        is_known = any(context.context == known.context for _, known in self._responses)
        is_all = not context.omitted_count and not (context.omitted and context.omitted.shortened)
        self._responses.append((tokens, context))
        bound, self._bound = self._bound, self._allowed(self._bound * _AIM * self._most / max(tokens, 1))
        is_enough = tokens <= self._most and (is_all or tokens >= _USED * self._most)
        is_last = len(self._responses) == _REQUESTS
        self._is_done = is_known or is_enough or is_last or bound == self._bound

    def best(self) -> C:
        """Return the largest context that fits; one without memories, if none does."""
        fitting = [response for response in self._responses if response[0] <= self._most]
        if fitting:
            return max(fitting, key=itemgetter(0))[1]
        last = self._responses[-1][1]
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

    def _allowed(self, bound: float) -> int:
        if not 1 <= self._most <= CONTEXT_OPTIONS_MAX_TOKENS_MAXIMUM:
            return self._most  # which the server refuses, with the reason
        return round(min(max(bound, 1), CONTEXT_OPTIONS_MAX_TOKENS_MAXIMUM))


def _number(counted: object) -> int:
    if isinstance(counted, int):
        return counted
    if isinstance(counted, Sequence) and not isinstance(counted, str):
        return len(counted)
    raise TypeError(
        f"count_tokens: returned {type(counted).__name__}; return a number of tokens, or a list of them"
    )
