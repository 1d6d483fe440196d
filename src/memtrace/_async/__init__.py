"""The client, and how it sends; one of two packages that differ in nothing but waiting."""

from memtrace._async.buffered import AsyncWriteBuffer
from memtrace._async.client import AsyncMemtrace
from memtrace._async.session import AsyncSessionHandle

__all__ = ["AsyncMemtrace", "AsyncSessionHandle", "AsyncWriteBuffer"]
