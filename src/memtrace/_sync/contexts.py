# Derived from src/memtrace/_async/contexts.py by scripts/unasync.py: edit that, then run `make regen`.
"""Contexts that are fitted to a tokenizer."""

from __future__ import annotations

from memtrace._contexts import C, CountTokens, Fetch, Fitting
from memtrace.models import ContextOptions


def fetch_fitted(fetch: Fetch[C], options: ContextOptions, count_tokens: CountTokens) -> C:
    """Return a context; the largest of up to three of which no more than `max_tokens` tokens are counted."""
    fitting = Fitting[C](options)
    while (asked := fitting.next_options()) is not None:
        context = fetch(asked)
        counted = count_tokens(context.context)

        fitting.add(context, counted)
    return fitting.best()
