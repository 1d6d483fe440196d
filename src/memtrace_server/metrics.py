"""What the server counts, in Prometheus's text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from memtrace_server.messages import Response

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The requests of one process, by operation of the contract; nothing names a tenant."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "memtrace_requests", "Requests answered.", ["operation", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "memtrace_request_seconds",
            "Time from a request's first byte to its answer.",
            ["operation"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def count(self, operation: str | None, status: int, seconds: float) -> None:
        """Count one request."""
        name = operation or "none"
        self._requests.labels(name, str(status)).inc()
        self._seconds.labels(name).observe(seconds)

    def response(self) -> Response:
        """Return all counts as a response."""
        return Response(
            status=200, body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
