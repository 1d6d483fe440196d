# Derived from src/memtrace/_async/__init__.py by scripts/unasync.py: edit that, then run `make regen`.
"""The client that does not block."""

from memtrace._sync.client import Memtrace
from memtrace._sync.session import SessionHandle

__all__ = ["Memtrace", "SessionHandle"]
