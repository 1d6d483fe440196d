"""Contexts that are fitted to a tokenizer."""

from __future__ import annotations

import inspect  # unasync: remove

from memtrace._contexts import AsyncCountTokens, AsyncFetch, C, Fitting
from memtrace.models import ContextOptions


async def fetch_fitted(fetch: AsyncFetch[C], options: ContextOptions, count_tokens: AsyncCountTokens) -> C:
    """Return a context; the largest of up to three of which no more than `max_tokens` tokens are counted."""
    fitting = Fitting[C](options)
    while (asked := fitting.next_options()) is not None:
        context = await fetch(asked)
        counted = count_tokens(context.context)
        if inspect.isawaitable(counted):  # unasync: remove
            counted = await counted
        fitting.add(context, counted)
    return fitting.best()
