"""Requests as spans of OpenTelemetry, for who runs a collector: `dsage serve --traces URL` (the extra `otel`).

A span begins where its caller's trace says (`traceparent`), and is named by the template of the address. It is made
when the answer is there, so a request costs nothing before.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from dsage import __version__
from dsage.errors import UsageError
from dsage_server import tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

SERVICE = "dsage"
FAILED = 500


class Spans:
    """Sends spans; `close` sends the last."""

    def __init__(self, exporter: SpanExporter, name: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named = {"service.name": SERVICE, "service.version": __version__, "service.instance.id": name}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(__name__)

    @classmethod
    def to(cls, url: str, name: str) -> Spans:
        """Send them to the collector at a URL, by OTLP over HTTP. Raises UsageError if that is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            raise UsageError("OpenTelemetry is not installed", hint="pip install 'dsage[otel]'") from None
        return cls(OTLPSpanExporter(endpoint=url), name)

    def close(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()

    def told(self, request: web.BaseRequest, route: str, status: int, began: float) -> None:
        """A request that began at a moment of the performance counter was answered."""
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, StatusCode

        end_ns = time.time_ns()
        said: dict[str, Any] = {
            "http.request.method": request.method, "http.route": route, "http.response.status_code": status,
            "dsage.request_id": request.get(tracing.NAME, ""),
        }  # fmt: skip
        span = self._tracer.start_span(
            f"{request.method} {route}", context=extract(request.headers), kind=SpanKind.SERVER, attributes=said,
            start_time=end_ns - int((time.perf_counter() - began) * 1e9),
        )  # fmt: skip
        if status >= FAILED:
            span.set_status(StatusCode.ERROR)
        span.end(end_ns)
