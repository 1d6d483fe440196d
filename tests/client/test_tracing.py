"""Traces: one span for each call, above those of the HTTP library's instrumentation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from helpers.clients import KEY, MEMORY, FakeServer, MakeClient, error, page
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from memtrace import Memtrace, MemtraceError, NotFoundError, ServerError


@pytest.fixture(scope="session")
def exporter() -> InMemorySpanExporter:
    """Return the exporter of all tests: a process has one provider, and mutmut repeats tests in it."""
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_call_is_one_span_named_for_its_method(
    sdk: Memtrace, fake_server: FakeServer, spans: InMemorySpanExporter
) -> None:
    fake_server.respond(200, page())

    sdk.list_memories(agent_id="agent_1")

    (span,) = spans.get_finished_spans()
    assert span.name == "memtrace.list_memories"
    assert facts(span) == {"memtrace.operation": "list_memories", "memtrace.retries": 0}
    assert span.status.status_code is StatusCode.UNSET


def test_retried_call_is_one_span_with_the_number_of_retries(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float], spans: InMemorySpanExporter
) -> None:
    fake_server.respond(503).fail(httpx.ReadError("lost")).respond(200, page())

    sdk.recall("agent_1")

    (span,) = spans.get_finished_spans()
    assert facts(span)["memtrace.retries"] == len(delays) == 2


def test_a_call_that_fails_has_the_type_of_its_error_and_not_its_text(
    sdk: Memtrace, fake_server: FakeServer, spans: InMemorySpanExporter
) -> None:
    fake_server.respond(404, error("No agent secret-name", "not_found"))

    with pytest.raises(NotFoundError):
        sdk.get_agent("secret-name")

    (span,) = spans.get_finished_spans()
    assert facts(span)["error.type"] == "NotFoundError"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert not span.events
    assert "secret-name" not in span.to_json()


def test_a_call_that_is_interrupted_ends_its_span(
    sdk: Memtrace, fake_server: FakeServer, spans: InMemorySpanExporter
) -> None:
    def interrupt(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    fake_server.stand_in = interrupt

    with pytest.raises(KeyboardInterrupt):
        sdk.recall("agent_1")

    (span,) = spans.get_finished_spans()
    assert facts(span)["error.type"] == "KeyboardInterrupt"


def test_attempts_are_spans_of_the_instrumentation_below_the_call(
    make_client: MakeClient, fake_server: FakeServer, delays: list[float], spans: InMemorySpanExporter
) -> None:
    fake_server.respond(503).respond(201, MEMORY)
    HTTPXClientInstrumentor().instrument()
    try:
        make_client().remember("agent_1", "secret content")
    finally:
        HTTPXClientInstrumentor().uninstrument()

    *attempts, call = spans.get_finished_spans()
    assert call.name == "memtrace.add_memory"
    assert [span.kind for span in attempts] == [trace.SpanKind.CLIENT] * 2
    assert [span.parent and span.parent.span_id for span in attempts] == [call.context.span_id] * 2
    assert [request.headers["traceparent"][3:35] for request in fake_server.requests] == [
        trace.format_trace_id(call.context.trace_id)
    ] * 2
    assert len(delays) == 1
    for span in (*attempts, call):
        assert KEY not in span.to_json()
        assert "secret content" not in span.to_json()


def test_call_of_an_embedded_store_is_a_span(make_client: MakeClient, spans: InMemorySpanExporter) -> None:
    make_client("sqlite://", None).remember("agent_1", "text")

    assert [span.name for span in spans.get_finished_spans()] == ["memtrace.add_memory"]


def test_a_failed_call_is_below_the_span_of_the_program(
    fake_server: FakeServer, spans: InMemorySpanExporter
) -> None:
    fake_server.respond(501)

    with trace.get_tracer("program").start_as_current_span("work"), pytest.raises(ServerError):
        Memtrace("http://memtrace.test").recall("agent_1")

    call, work = spans.get_finished_spans()
    assert call.parent is not None
    assert call.parent.span_id == work.context.span_id


def test_client_without_tracing_imports_no_opentelemetry() -> None:
    code = (
        "import sys\n"
        "from memtrace import Memtrace, MemtraceError\n"
        "try:\n"
        "    Memtrace('http://127.0.0.1:1', max_retries=0).health()\n"
        "except MemtraceError:\n"
        "    print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_an_error_of_a_traced_call_is_the_same(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(400, error("Bad", "invalid_request"))

    with pytest.raises(MemtraceError) as caught:
        sdk.recall("agent_1")

    assert caught.value.code == "invalid_request"
