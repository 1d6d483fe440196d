"""The client that does not block."""

from memtrace._async.client import AsyncMemtrace
from memtrace._async.session import AsyncSessionHandle

__all__ = ["AsyncMemtrace", "AsyncSessionHandle"]
