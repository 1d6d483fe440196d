"""Contexts: what was remembered, as text for an LLM that fits a token budget.

Data flows one way: `entries` (memories, equal ones as one) → `selection` (what the budget holds) → `layouts`
(headings and lines), with `framing` for every stored text and `tokens` for what it costs.
"""

from memtrace_server.context.composing import Context, Options, compose

__all__ = ["Context", "Options", "compose"]
