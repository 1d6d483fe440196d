"""What OpenTelemetry hears of the client."""

# ruff: noqa: SLF001  # what there is one of in a process is taken apart for each test

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
from opentelemetry import context, metrics, propagate, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sdk_harness import KEY, MEMORY, FakeServer, MakeClient, error, page

from memtrace import (
    APIConnectionError,
    APIStatusError,
    AsyncMemtrace,
    ListOptions,
    Memtrace,
    _telemetry,
)
from memtrace._requests import Call
from memtrace._templates import template_of


@attrs.frozen
class Heard:
    """What a program would export."""

    _spans: InMemorySpanExporter
    _metrics: InMemoryMetricReader

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """The points of a metric, by their attributes."""
        data = self._metrics.get_metrics_data()
        found = [
            metric
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        return {
            tuple(sorted((point.attributes or {}).items())): point
            for metric in found
            for point in metric.data.data_points
        }


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """Providers, as a program sets them; but for one test."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters)
    monkeypatch.setattr(trace, "get_tracer", tracers.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", meters.get_meter)
    _telemetry._instruments.cache_clear()
    yield Heard(spans, reader)
    _telemetry._instruments.cache_clear()
    meters.shutdown()
    tracers.shutdown()


def test_a_span_tells_of_a_request_as_the_conventions_have_it(
    sdk: Memtrace, fake_server: FakeServer, heard: Heard
) -> None:
    fake_server.answer(200, page(), extensions={"http_version": b"HTTP/1.1"})

    sdk.get_agent_memories("agent_1", ListOptions(since="24h", limit=5))

    (span,) = heard.spans
    assert span.name == "GET /api/v1/agents/{agent_id}/memories"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": "memtrace.test",
        "server.port": 80,
        "url.full": "http://memtrace.test/api/v1/agents/agent_1/memories?since=REDACTED&limit=REDACTED",
        "url.template": "/api/v1/agents/{agent_id}/memories",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "memtrace"


def test_each_try_has_a_span_and_a_retry_its_number(
    sdk: Memtrace, fake_server: FakeServer, heard: Heard
) -> None:
    fake_server.answer(503, error()).fail(httpx.ConnectError("refused")).answer(201, MEMORY)

    sdk.remember("agent_1", "User prefers dark mode")

    refused, lost, stored = heard.spans
    for span, told, status in (
        (refused, {"http.response.status_code": 503, "error.type": "503"}, StatusCode.ERROR),
        (
            lost,
            {"error.type": "memtrace.exceptions.APIConnectionError", "http.request.resend_count": 1},
            StatusCode.ERROR,
        ),
        (stored, {"http.response.status_code": 201, "http.request.resend_count": 2}, StatusCode.UNSET),
    ):
        attributes = dict(span.attributes or {})
        names = {"http.response.status_code", "error.type", "http.request.resend_count"}
        assert {name: attributes[name] for name in names & attributes.keys()} == told
        assert span.status.status_code is status
        assert span.name == "POST /api/v1/memories"
        assert attributes["url.full"] == "http://memtrace.test/api/v1/memories"
    assert refused.status.description is None  # the status says it
    assert "cannot connect" in (lost.status.description or "")


@pytest.mark.parametrize("status", [400, 404, 429, 599])
def test_a_refusal_is_an_error(
    make_client: MakeClient, fake_server: FakeServer, heard: Heard, status: int
) -> None:
    fake_server.answer(status, error())

    with pytest.raises(APIStatusError):
        make_client(max_retries=0).get_agent("agent_1")

    (span,) = heard.spans
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == str(status)


def test_a_redirect_is_none_of_its_errors(sdk: Memtrace, fake_server: FakeServer, heard: Heard) -> None:
    fake_server.answer(399)

    with pytest.raises(APIStatusError):
        sdk.get_agent("agent_1")

    (span,) = heard.spans
    assert "error.type" not in (span.attributes or {})


def test_a_store_in_this_process_is_told_of_too(make_client: MakeClient, heard: Heard) -> None:
    make_client("sqlite://", None).recall("agent_1")

    (span,) = heard.spans
    assert span.name == "GET /api/v1/memories"
    attributes = dict(span.attributes or {})
    assert (attributes["server.address"], attributes["http.response.status_code"]) == ("embedded", 200)
    assert "network.protocol.version" not in attributes


@pytest.mark.parametrize("unknown", ["trace", "metrics"])
def test_a_program_may_want_spans_or_metrics_alone(
    heard: Heard, monkeypatch: pytest.MonkeyPatch, unknown: str
) -> None:
    config = Memtrace("http://memtrace.test")._sender.config
    monkeypatch.delitem(sys.modules, f"opentelemetry.{unknown}")
    if unknown == "trace":
        monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    else:
        monkeypatch.setattr(metrics, "get_meter_provider", metrics.NoOpMeterProvider)

    attempt = _telemetry.begin(Call("GET", "/health", "", None, {}), config, 0)
    assert attempt is not None
    attempt.failed(LookupError())

    assert [span.name for span in heard.spans] == ["GET /health"]


def test_a_path_that_the_contract_does_not_have_is_not_told_as_one_of_it(heard: Heard) -> None:
    call = Call("GET", "/api/v2/memories", "", None, {})

    attempt = _telemetry.begin(call, Memtrace("http://memtrace.test")._sender.config, 0)
    assert attempt is not None
    attempt.failed(LookupError())

    (span,) = heard.spans
    assert span.name == "GET"
    assert "url.template" not in (span.attributes or {})


def test_the_time_that_each_try_takes_is_measured(
    sdk: Memtrace, fake_server: FakeServer, heard: Heard
) -> None:
    fake_server.answer(503, error()).answer(200, page())

    sdk.recall("agent_1")

    place = [("http.request.method", "GET"), ("server.address", "memtrace.test"), ("server.port", 80)]
    failed = tuple(sorted([*place, ("error.type", "503"), ("http.response.status_code", 503)]))
    done = tuple(sorted([*place, ("http.response.status_code", 200)]))
    points = heard.points("http.client.request.duration")
    versions = {("network.protocol.version", "1.1")}
    assert {tuple(a for a in key if a not in versions) for key in points} == {failed, done}
    for point in points.values():
        assert isinstance(point, HistogramDataPoint)
        assert point.count == 1
        assert 0 < point.sum < 30
        assert point.explicit_bounds == (
            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        )  # fmt: skip
    retries = heard.points("memtrace.client.retries")
    assert [point.value for point in retries.values()] == [1]
    assert {tuple(a for a in key if a not in versions) for key in retries} == {done}


def test_the_context_comes_from_the_caller_and_goes_along(heard: Heard) -> None:
    carried: list[str] = []

    def look(request: httpx.Request) -> httpx.Response:
        carried.append(request.headers["traceparent"])
        return httpx.Response(200, json=page())

    transport = httpx.MockTransport(look)

    def recall() -> None:
        with httpx.Client(transport=transport) as http_client, Memtrace(http_client=http_client) as client:
            client.recall("agent_1")

    async def recall_async() -> None:
        async with httpx.AsyncClient(transport=transport) as http_client:
            await AsyncMemtrace(http_client=http_client).recall("agent_1")

    for call in (recall, lambda: anyio.run(recall_async)):
        with trace.get_tracer("the program").start_as_current_span("its own") as own:
            call()
            assert trace.get_current_span() is own
        sent = heard.spans[-2]
        assert (sent.parent, heard.spans[-1].name) == (own.get_span_context(), "its own")
        parent = trace.get_current_span(propagate.extract({"traceparent": carried.pop()})).get_span_context()
        assert sent.context is not None
        assert (parent.trace_id, parent.span_id) == (sent.context.trace_id, sent.context.span_id)


def test_other_instrumentations_of_http_are_told_to_be_silent(
    sdk: Memtrace, fake_server: FakeServer, heard: Heard
) -> None:
    silent: list[object] = []

    def look(_: httpx.Request) -> httpx.Response:
        silent.append(context.get_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY))
        return httpx.Response(200, json=page())

    fake_server.stand_in = look
    sdk.recall("agent_1")

    assert silent == [True]
    assert context.get_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY) is None
    assert len(heard.spans) == 1


def test_no_secret_is_told(make_client: MakeClient, fake_server: FakeServer, heard: Heard) -> None:
    fake_server.answer(200, page()).fail(httpx.ConnectError("refused"))
    client = make_client("https://user:hunter2@memtrace.test:8443/prefix/", max_retries=0)

    client.recall("agent_1", tags="secret-tag")
    with pytest.raises(APIConnectionError):
        client.recall("agent_1")

    told = "".join(span.to_json() for span in heard.spans)
    assert not [secret for secret in (KEY, "hunter2", "secret-tag") if secret in told]
    attributes = dict(heard.spans[0].attributes or {})
    assert str(attributes["url.full"]).startswith("https://memtrace.test:8443/prefix/api/v1/memories?")
    assert attributes["url.template"] == "/prefix/api/v1/memories"
    assert (attributes["server.address"], attributes["server.port"]) == ("memtrace.test", 8443)


def test_a_call_that_is_cancelled_ends_its_span(heard: Heard) -> None:
    async def wait(_: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    async def cancel() -> None:
        http_client = httpx.AsyncClient(transport=httpx.MockTransport(wait))
        async with AsyncMemtrace("http://memtrace.test", KEY, http_client=http_client) as client:
            with anyio.move_on_after(0.01):
                await client.recall("agent_1")

    anyio.run(cancel)

    (span,) = heard.spans
    assert dict(span.attributes or {})["error.type"] == "asyncio.exceptions.CancelledError"
    assert span.status.status_code is StatusCode.ERROR


def test_a_call_that_is_interrupted_ends_its_span(heard: Heard) -> None:
    def interrupt(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    with (
        httpx.Client(transport=httpx.MockTransport(interrupt)) as http_client,
        Memtrace("http://memtrace.test", KEY, http_client=http_client) as client,
        pytest.raises(KeyboardInterrupt),
    ):
        client.recall("agent_1")

    (span,) = heard.spans
    assert dict(span.attributes or {})["error.type"] == "builtins.KeyboardInterrupt"


@pytest.mark.usefixtures("fake_server")
def test_without_a_provider_nothing_is_told() -> None:
    call = Call("GET", "/health", "", None, {})
    config = Memtrace("http://memtrace.test")._sender.config

    assert "opentelemetry.trace" in sys.modules
    assert _telemetry.begin(call, config, 0) is None


def test_a_program_without_opentelemetry_does_not_import_it(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from memtrace import Memtrace\n"
        "with Memtrace('sqlite://') as client:\n"
        "    client.remember('agent_1', 'Hello')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )

    assert done.stdout == "[]\n"


def test_a_provider_may_come_after_the_first_request(tmp_path: Path) -> None:
    code = """
from memtrace import Memtrace
client = Memtrace("sqlite://")
client.remember("agent_1", "Before there is OpenTelemetry")
from opentelemetry import trace
client.remember("agent_1", "Before there is a provider")
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
client.remember("agent_1", "With a provider")
client.close()
print([span.name for span in exporter.get_finished_spans()])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )

    assert done.stdout == "['POST /api/v1/memories']\n"


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("GET", "/health", "/health"),
        ("GET", "/api/v1/memories/mem_1", "/api/v1/memories/{memory_id}"),
        ("POST", "/api/v1/search", "/api/v1/search"),
        ("DELETE", "/api/v1/agents/memories", "/api/v1/agents/{agent_id}"),
        ("GET", "/api/v1/agents/stats/stats", "/api/v1/agents/{agent_id}/stats"),
        ("PATCH", "/api/v1/memories/mem_1", None),
        ("GET", "/api/v2/memories", None),
    ],
)
def test_a_template_has_no_ids(method: str, path: str, template: str | None) -> None:
    assert template_of(method, path) == template
