"""What Prometheus is told: counters that requests and commits move, and how the server stands when it is asked.

They have a listener of their own (`--metrics ADDR`), so that no proxy before the pages shows them to the world.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from dsage import __version__, wire
from dsage.errors import DSageError
from dsage.states import ReplicaState, UnitState
from dsage_server.api import problems
from dsage_server.api.names import answering_to
from dsage_server.store import attention, reopening, tallies
from dsage_server.store.attention import Glance
from dsage_validator.checks import Verdict

if TYPE_CHECKING:
    from dsage.trust.inventory import Line
    from dsage_server.hub import Hub
    from dsage_server.web.operators.machine import Disk, Machine

ROUTE: Final = "/metrics"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


class Meters:
    """Counters of one server process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "dsage_requests", "Requests that were answered.", ("listener", "method", "route", "status"),
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "dsage_request_seconds", "How long answers took; calls that were held included.", ("listener", "route"),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._leases = Counter("dsage_leases", "Copies of units that were handed out.", registry=self.registry)
        self._reports = Counter(
            "dsage_reports", "Results that came, by what was said to them.", ("code",), registry=self.registry
        )
        self._troubles = Counter(
            "dsage_failed_checks", "Answers that a rule or an app's own check could not judge.", registry=self.registry
        )
        self._report_seconds = Histogram(
            "dsage_report_seconds", "From a call with results until what it changed was on disk.", buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._groups = Histogram(
            "dsage_commit_group_size", "Changes that shared a commit.", buckets=SIZES, registry=self.registry
        )

    def kind(self, listener: str, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        """Return what counts answers of one kind: `route` is the template of an address."""
        requests = self._requests.labels(listener, method, route, str(status))
        return requests, self._seconds.labels(listener, route)

    def committed(self, changes: int) -> None:
        """So many changes shared a commit."""
        self._groups.observe(changes)

    def exchanged(self, leased: int, reported: int, seconds: float) -> None:
        """A client's call was committed."""
        if leased:
            self._leases.inc(leased)
        if reported:
            self._report_seconds.observe(seconds)

    def acknowledged(self, acks: Iterable[wire.Ack]) -> None:
        """A client was told what became of its results."""
        codes = [ack.code for ack in acks]
        for code in set(codes):
            self._reports.labels(code).inc(codes.count(code))

    def judged(self, verdicts: Iterable[Verdict]) -> None:
        """The answers to one unit were judged, as far as they could be."""
        self._troubles.inc(sum(bool(verdict.trouble) for verdict in verdicts))


@dataclass(frozen=True, slots=True, eq=False)
class _Stand(Collector):
    """How the server stood at one moment, as gauges."""

    gauges: list[GaugeMetricFamily]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self.gauges


@web.middleware
async def _plainly(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except DSageError as error:
        return problems.answer(error, request.path)


class Metrics:
    """The handler: what the meters counted, and how the server stands now."""

    def __init__(self, hub: Hub, machine: Machine, streams: Callable[[], int]) -> None:
        self._hub = hub
        self._machine = machine
        self._streams = streams

    def app(self, names: frozenset[str] | None = None) -> web.Application:
        """Return the application of the listener; one for this computer alone answers to these `names` only."""
        app = web.Application(middlewares=[_plainly, *([] if names is None else [answering_to(names)])])
        app.router.add_get(ROUTE, self.show)
        return app

    async def show(self, _: web.Request) -> web.Response:
        """Everything, in the text format of Prometheus."""
        now = self._hub.clock()

        def look(connection: Connection) -> tuple[dict[str, int], Glance, int, Disk, list[Line]]:
            sums, found = tallies.of(connection), attention.glance(connection, now)
            contested = len(reopening.contested(connection))
            return sums, found, contested, self._machine.disk(connection), self._machine.keys(now)

        stand = CollectorRegistry()
        stand.register(_Stand(self._gauges(*await self._hub.store.read(look))))
        body = generate_latest(self._hub.meters.registry) + generate_latest(stand)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})

    def _gauges(
        self, sums: dict[str, int], found: Glance, contested: int, disk: Disk, keys: list[Line]
    ) -> list[GaugeMetricFamily]:
        hub, crowd, pressure = self._hub, self._hub.exchanges.crowd, self._hub.pressure
        told = [
            _by("units", "Units, by state.", "state", {s.value: sums.get(f"unit.{s}", 0) for s in UnitState}),
            _by("replicas", "Copies, by state.", "state", {s.value: sums.get(f"replica.{s}", 0) for s in ReplicaState}),
            _by("info", "The server's version.", "version", {__version__: 1}),
            _by("key_expiry_days", "Days until a key, a certificate or root.json ends.", "key", _days(keys)),
        ]
        for name, words, value in (
            ("hosts_hour", "Computers that were here within an hour.", found.hosts_hour),
            ("volunteers_hour", "Volunteers whose computers were here within an hour.", found.people_hour),
            ("ready_queue", "Copies that wait in this process to be handed out.", hub.ready.unsent),
            ("hosts_about", "Computers that call this process.", len(crowd)),
            ("calls_waiting", "Calls that wait for a commit in this process.", pressure.pending),
            ("calls_held", "Calls held open in this process while there is nothing to say.", pressure.held),
            ("calls_shed", "Calls that this process sent away so far, because it was busy.", pressure.shed),
            ("live_streams", "Live pages that are open at this process.", self._streams()),
            ("check_queue", "Units whose answers wait in this process to be judged.", len(hub.checks)),
            ("unjudged_units", "Units with an answer that nobody has judged.", found.unjudged),
            ("contested_units", "Accepted units whose answer was contradicted, to be decided.", contested),
            ("ledger_unfolded", "Rows of the ledger that are in no sum yet.", found.unfolded),
            ("ledger_lag_seconds", "Age of the oldest of them.", found.unfolded_s),
            ("silent_seconds", "Since a server process last said that it lives.", found.alive_s or 0.0),
            ("maintenance", "1 while no work is given out.", int(found.maintenance is not None)),
            ("requests_waiting", "Requests that wait for the operator's signature.", found.requests),
            ("outlying_hosts", "Hosts that stand out.", found.outlying_hosts),
            ("lying_hosts", "Hosts that were found lying.", found.lying_hosts),
            ("database_bytes", "Size of the database, its log included.", disk.database),
            ("disk_free_bytes", "Room on the disk of the server's folder.", disk.free),
        ):  # fmt: skip
            told.append(GaugeMetricFamily(f"dsage_{name}", words, value=value))
        return told


def _by(name: str, words: str, label: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"dsage_{name}", words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _days(keys: list[Line]) -> dict[str, float]:
    return {f"{line.role} {line.name}".strip(): line.days_left for line in keys if line.days_left is not None}


class Watch:
    """Tells the meters what one listener answers; the kinds of answers are few, and kept at hand."""

    def __init__(self, meters: Meters, listener: str) -> None:
        self._meters = meters
        self._listener = listener
        self._kinds: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def __call__(self, request: web.BaseRequest, route: str, status: int, began: float) -> None:
        """A request that began at a moment of the performance counter was answered."""
        key = (request.method if request.method in METHODS else "other", route, status)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = self._meters.kind(self._listener, *key)
        requests, seconds = kind
        requests.inc()
        seconds.observe(time.perf_counter() - began)
