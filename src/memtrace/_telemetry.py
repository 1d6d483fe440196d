"""What OpenTelemetry is told of each try of a request.

It is told as soon as the program has set a provider of its own; nothing is imported that the program has not
imported itself. As the semantic conventions for HTTP have it, see opentelemetry.io/docs/specs/semconv/http:

- A span of kind CLIENT for each try, and none around them all. It ends when the answer is read. It is named
  by method and `url.template`, whose cardinality is low, and has `http.request.method`, `server.address`,
  `server.port`, `url.full`, `http.response.status_code`, `network.protocol.version` and `error.type`, and on
  a retry `http.request.resend_count`. `error.type` is the status of a refusal, or the class of what failed.
- In `url.full`, the values of the query are replaced by REDACTED, as they may be what is remembered; user and
  password of the base URL are left out.
- The histogram `http.client.request.duration`, in seconds, with the advised buckets, for each try.
- The context is propagated in the request's headers; other instrumentations of HTTP are told to be silent.

The conventions have no count of retries: the counter `memtrace.client.retries` is our own.
"""

from __future__ import annotations

import functools
import sys
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from memtrace._answers import Answer
from memtrace._config import Config
from memtrace._requests import Call
from memtrace._templates import template_of
from memtrace._version import __version__

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.metrics import Counter, Histogram
    from opentelemetry.trace import Span, Tracer

_NAME = "memtrace"
_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_FIRST_ERROR = 400
_DEFAULT_PORTS = {"http": 80, "https": 443}

Attributes = dict[str, str | int]


def begin(call: Call, config: Config, resends: int) -> Attempt | None:
    """Begin to observe a try of a request; None if nobody looks on.

    Args:
        call: The request.
        config: The settings of the client that sends it.
        resends: How many tries there were before.
    """
    # One of these is imported by who sets a provider.
    if "opentelemetry.trace" not in sys.modules and "opentelemetry.metrics" not in sys.modules:
        return None
    return Attempt(_instruments(), call, config, resends) if _is_listening() else None


class Attempt:
    """A try of a request, from when it is sent until its answer is read.

    Attributes:
        call: The request, with the headers that propagate the context.
    """

    def __init__(self, instruments: _Instruments, call: Call, config: Config, resends: int) -> None:
        from opentelemetry import context, propagate, trace  # noqa: PLC0415  # the program has it

        server = _server(config.root)
        template = template_of(call.method, call.path)
        target = None if template is None else server.path + template
        self._instruments = instruments
        self._measured: Attributes = {
            "http.request.method": call.method,
            "server.address": server.address,
            "server.port": server.port,
        }
        self._resends = resends
        self._span: Span = instruments.tracer.start_span(
            f"{call.method} {target}" if target else call.method,
            kind=trace.SpanKind.CLIENT,
            attributes={
                **self._measured,
                "url.full": f"{config.root}{call.path}{_redacted(call.query)}",
                **({"url.template": target} if target else {}),
                **({"http.request.resend_count": resends} if resends else {}),
            },
        )
        silent = context.set_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY, True)  # noqa: FBT003, SLF001
        carried: dict[str, str] = {}
        current = trace.set_span_in_context(self._span, silent)
        propagate.inject(carried, current)
        self.call = attrs.evolve(call, headers={**call.headers, **carried}) if carried else call
        self._token: Token[Context] = context.attach(current)
        self._started = perf_counter()

    def answered(self, answer: Answer) -> None:
        """End with an answer, whatever it says."""
        told: Attributes = {"http.response.status_code": answer.status}
        if answer.http_version is not None:
            told["network.protocol.version"] = answer.http_version
        if answer.status >= _FIRST_ERROR:
            told["error.type"] = str(answer.status)
        self._end(told)

    def failed(self, error: BaseException) -> None:
        """End without an answer."""
        kind = type(error)
        self._end({"error.type": f"{kind.__module__}.{kind.__qualname__}"}, str(error))

    def _end(self, told: Attributes, problem: str | None = None) -> None:
        from opentelemetry import context, trace  # noqa: PLC0415  # the program has it

        seconds = perf_counter() - self._started
        self._measured |= told
        self._instruments.duration.record(seconds, self._measured)
        if self._resends:
            self._instruments.retries.add(1, self._measured)
        context.detach(self._token)
        self._span.set_attributes(told)
        if "error.type" in told:
            self._span.set_status(trace.StatusCode.ERROR, problem)
        self._span.end()


def _is_listening() -> bool:
    """Tell whether there is a provider other than those of the API, which stand in for one."""
    from opentelemetry import metrics, trace  # noqa: PLC0415  # the program has it

    return not (
        type(trace.get_tracer_provider()).__module__.startswith("opentelemetry.trace")
        and type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics")
    )


@attrs.frozen
class _Instruments:
    """What is told. Providers that are set later are found by the API itself."""

    tracer: Tracer
    duration: Histogram
    retries: Counter


@functools.cache
def _instruments() -> _Instruments:
    from opentelemetry import metrics, trace  # noqa: PLC0415  # the program has it

    meter = metrics.get_meter(_NAME, __version__, schema_url=_SCHEMA)
    return _Instruments(
        tracer=trace.get_tracer(_NAME, __version__, schema_url=_SCHEMA),
        duration=meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        ),
        retries=meter.create_counter(
            "memtrace.client.retries",
            unit="{retry}",
            description="Tries of a request after the first one.",
        ),
    )


@attrs.frozen
class _Server:
    """Where requests go.

    Attributes:
        path: The base URL's path, without a slash at its end.
    """

    address: str
    port: int
    path: str


@functools.lru_cache(maxsize=64)
def _server(root: str) -> _Server:
    url = urlsplit(root)
    return _Server(url.hostname or "", url.port or _DEFAULT_PORTS[url.scheme], url.path)


def _redacted(query: str) -> str:
    if not query:
        return ""
    return "?" + "&".join(f"{pair.partition('=')[0]}=REDACTED" for pair in query.split("&"))
