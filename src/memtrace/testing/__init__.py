"""Tools for tests: a server, and failures on demand.

The fixtures of `memtrace.pytest_plugin` return these classes; they also work without pytest.
"""

from memtrace.testing.failures import FailNext
from memtrace.testing.server import MemtraceServer, ServerProcess

__all__ = ["FailNext", "MemtraceServer", "ServerProcess"]
