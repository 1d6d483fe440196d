"""Contexts: memories as text for an LLM, within a token budget.

Data flows one way: `entries` merges equal memories, `selection` chooses entries for the budget, and `layouts`
writes headings and lines. `framing` makes stored text safe, and `tokens` counts what a text costs.
"""

from memtrace_server.context.composing import Context, Options, compose

__all__ = ["Context", "Options", "compose"]
