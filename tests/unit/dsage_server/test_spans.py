"""Requests as spans: by their template, under the caller's trace."""

from __future__ import annotations

import time
from contextvars import copy_context

import pytest
from aiohttp.test_utils import make_mocked_request

from dsage_server import tracing
from dsage_server.spans import Spans

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (503, True)])
def test_a_request_is_a_span_of_its_callers_trace(status: int, failed: bool) -> None:
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    spans = Spans(exporter, "here")
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-Id": "mine"}
    request = make_mocked_request("GET", "/unit/7", headers=headers)
    copy_context().run(tracing.begin, request)  # each request has a context of its own
    spans.told(request, "/unit/{number}", status, time.perf_counter() - 0.5)
    spans.close()
    [span] = exporter.get_finished_spans()
    assert span.name == "GET /unit/{number}"
    assert f"{span.context.trace_id:032x}" == TRACE
    assert dict(span.attributes) == {
        "http.request.method": "GET", "http.route": "/unit/{number}", "http.response.status_code": status,
        "dsage.request_id": "mine",
    }  # fmt: skip
    assert 0.5e9 <= span.end_time - span.start_time < 5e9
    assert (span.status.status_code.name == "ERROR") is failed
    assert span.resource.attributes["service.name"] == "dsage"
