"""Traces: ids without an exporter, one trace over process boundaries with one, and real delivery to a collector."""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from actors.observe import observed_attempt, observed_call
from actors.owner import Connections
from actors.redact import REDACTED
from actors.telemetry import (
    configure_telemetry,
    continued,
    current_ids,
    joined,
    parse_traceparent,
    shutdown_telemetry,
    span,
    traceparent,
)
from db.tracing import database_span, trace_engine
from settings import Settings

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STORED = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def spans(settings: Settings) -> Iterator[InMemorySpanExporter]:
    """Spans of this process, as they end."""
    exporter = InMemorySpanExporter()
    configure_telemetry(settings, "test", exporter=exporter)
    yield exporter
    shutdown_telemetry()


def test_without_an_exporter_there_are_ids_and_the_stored_trace_goes_on() -> None:
    shutdown_telemetry()
    assert traceparent() is None
    assert current_ids() is None
    with continued(STORED, "attempt") as outer:
        assert not outer.is_recording()
        ids = current_ids()
        assert ids is not None
        assert ids[0] == TRACE
        assert ids[1] != PARENT
        with span("inner", rows=3) as inner:
            inner.set_attribute("more", 1)
            assert current_ids() == ids
        assert traceparent() == f"00-{ids[0]}-{ids[1]}-01"
    assert traceparent() is None


def test_a_first_span_begins_a_trace_of_its_own() -> None:
    shutdown_telemetry()
    with span("one"):
        first = current_ids()
    with span("two"):
        second = current_ids()
    assert first is not None
    assert second is not None
    assert first[0] != second[0]


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "rubbish", "00-0-0-0"),
        *(f"00-{'0' * 32}-{PARENT}-01", f"00-{'x' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"),
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(text: str | None) -> None:
    assert parse_traceparent(text) is None
    with continued(text, "attempt"):
        assert current_ids() is not None


def test_spans_carry_on_the_stored_trace_whatever_is_going_on_around(spans: InMemorySpanExporter) -> None:
    with span("around"), continued(STORED, "attempt", job="j", run=2, nothing=None), span("step"):
        pass
    step, attempt, around = spans.get_finished_spans()
    assert (attempt.context.trace_id, attempt.parent.span_id) == (int(TRACE, 16), int(PARENT, 16))
    assert attempt.kind is SpanKind.CONSUMER
    assert attempt.attributes == {"fmrp.job": "j", "fmrp.run": 2}
    assert step.context.trace_id == attempt.context.trace_id
    assert step.parent.span_id == attempt.context.span_id
    assert around.context.trace_id != attempt.context.trace_id
    assert attempt.resource.attributes["service.name"] == "fmrp-test"


def test_a_failed_step_says_why_without_secrets(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ConnectionError), span("step"):
        raise ConnectionError("redis://:hunter2@host is away")
    (failed,) = spans.get_finished_spans()
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == f"ConnectionError: redis://:{REDACTED}@host is away"
    assert not failed.events, "the library has recorded the exception as it is"


def test_an_attempt_is_a_span_with_how_it_ended(spans: InMemorySpanExporter) -> None:
    with observed_attempt("j-1", 3, actor="planning", traceparent=STORED) as attempt:
        attempt.kind = "plan"
        with observed_call("fit_shard"):
            pass
        attempt.end = "done"
    call, whole = spans.get_finished_spans()
    assert call.context.trace_id == whole.context.trace_id == int(TRACE, 16)
    assert whole.attributes["fmrp.kind"] == "plan"
    assert whole.attributes["fmrp.end"] == "done"
    assert whole.attributes["fmrp.run"] == 3


def test_a_batch_belongs_to_the_first_request_and_links_the_others(spans: InMemorySpanExporter) -> None:
    other = f"00-{'c' * 32}-{'d' * 16}-01"
    with joined(STORED, "predict", SpanKind.CONSUMER, other, None):
        pass
    (batch,) = spans.get_finished_spans()
    assert batch.context.trace_id == int(TRACE, 16)
    assert [f"{link.context.trace_id:x}" for link in batch.links] == ["c" * 32]


async def test_statements_and_copies_are_spans_of_the_attempt_without_values(
    spans: InMemorySpanExporter, connections: Connections
) -> None:
    trace_engine(connections.engine)
    trace_engine(connections.engine)
    with continued(STORED, "attempt"):
        async with connections.sessions() as session:
            await session.execute(text("SELECT :value"), {"value": "personal"})
            with database_span("COPY", "staged"):
                pass
        with pytest.raises(DBAPIError):
            async with connections.sessions() as session:
                await session.execute(text("SELECT 1 / CAST(:value AS int)"), {"value": 0})
    found = spans.get_finished_spans()
    assert {each.context.trace_id for each in found} == {int(TRACE, 16)}
    select, copy, failed, attempt = found
    assert select.name == "SELECT"
    assert all(each.parent.span_id == attempt.context.span_id for each in (select, copy, failed))
    assert "personal" not in str(select.attributes)
    assert copy.name == "COPY staged"
    assert failed.status.status_code is StatusCode.ERROR


async def test_traces_of_tasks_side_by_side_stay_apart(spans: InMemorySpanExporter, connections: Connections) -> None:
    trace_engine(connections.engine)

    async def attempt(number: int) -> None:
        with continued(f"00-{number:032x}-{PARENT}-01", "attempt"):
            async with connections.sessions() as session:
                await session.execute(text(f"SELECT {number}, pg_sleep(0.01)"))

    await asyncio.gather(*(attempt(number) for number in range(1, 9)))
    statements = [each for each in spans.get_finished_spans() if each.name == "SELECT"]
    assert len(statements) == 8
    for each in statements:
        assert each.attributes["db.query.text"].startswith(f"SELECT {each.context.trace_id},")


EXPORTING = """
from actors.telemetry import configure_telemetry, continued, shutdown_telemetry, span
from settings import Settings
configure_telemetry(Settings(), "planning")
with continued("00-{trace}-{parent}-01", "attempt plan", job="j-1", run=1, actor="planning"):
    with span("store"):
        pass
shutdown_telemetry()
"""


def test_spans_reach_a_collector_over_otlp_http() -> None:
    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        environment = {**os.environ, "FMRP_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        code = EXPORTING.format(trace=TRACE, parent=PARENT)
        subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)
    finally:
        server.shutdown()
        server.server_close()
    (resource,) = [resource for request in received for resource in request.resource_spans]
    names = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert names["service.name"] == "fmrp-planning"
    found = {each.name: each for scope in resource.scope_spans for each in scope.spans}
    assert found.keys() == {"attempt plan", "store"}
    assert {each.trace_id.hex() for each in found.values()} == {TRACE}
    assert found["attempt plan"].parent_span_id.hex() == PARENT
    assert found["store"].parent_span_id == found["attempt plan"].span_id


def test_a_dead_collector_costs_the_work_nothing() -> None:
    environment = {**os.environ, "FMRP_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    code = EXPORTING.format(trace=TRACE, parent=PARENT)
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)
