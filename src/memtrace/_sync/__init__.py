# Derived from src/memtrace/_async/__init__.py by scripts/unasync.py: edit that, then run `make regen`.
"""The client, and how it sends; one of two packages that differ in nothing but waiting.

Each module is imported for itself: who wants a client does not need what buffers are made of.
"""
