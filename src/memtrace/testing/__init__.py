"""What a test needs of Memtrace: a server of its own, and failures on demand.

The fixtures of `memtrace.pytest_plugin` hand these out; they also work without pytest.
"""

from memtrace.testing.failures import FailNext
from memtrace.testing.server import MemtraceServer, ServerProcess

__all__ = ["FailNext", "MemtraceServer", "ServerProcess"]
