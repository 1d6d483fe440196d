"""Adapters for agent frameworks: one module per framework, each imported by its own name.

Each adapter takes a `Memtrace`, an `AsyncMemtrace` or a URL, and needs the extra of its name, such as
`memtrace-sdk[langgraph]`. Adapters translate calls and keep no state of their own.
"""
