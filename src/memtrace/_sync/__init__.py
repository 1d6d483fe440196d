# Derived from src/memtrace/_async/__init__.py by scripts/unasync.py: edit that, then run `make regen`.
"""The client, and how it sends; one of two packages that differ in nothing but waiting."""

from memtrace._sync.buffered import WriteBuffer
from memtrace._sync.client import Memtrace
from memtrace._sync.session import SessionHandle

__all__ = ["Memtrace", "SessionHandle", "WriteBuffer"]
