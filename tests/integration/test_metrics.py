"""What a real server tells Prometheus, and the ids of its requests."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from prometheus_client.parser import text_string_to_metric_families

from dsage import wire
from dsage.home import Home, Login
from dsage.trust.ceremony import LAB
from dsage_server import tracing
from dsage_server.server import serving
from dsage_server.store.engine import Store
from dsage_server.testing import World, local_settings


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A server that answers Prometheus."""
    home = Home(tmp_path)
    settings = dataclasses.replace(local_settings(home), metrics="127.0.0.1:0")
    async with serving(home, settings) as running, AsyncExitStack() as stack:
        Login(link=str(running.link()), key=LAB).save(home)
        yield World(running, tmp_path, stack)


async def got(url: str, **headers: str) -> tuple[int, Any, str]:
    def read() -> tuple[int, Any, str]:
        with urlopen(Request(url, headers=headers), timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()

    return await asyncio.to_thread(read)


async def told(world: World) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    _, headers, text = await got(world.running.metrics_url)
    assert headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name.removeprefix("dsage_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_what_is_for_this_computer_answers_to_its_own_names_only(world: World) -> None:
    for host in ("evil.example", "localhost.evil.example:8472"):
        with pytest.raises(HTTPError, match="403"):
            await got(world.running.metrics_url, Host=host)
    for host in ("localhost:1", "127.0.0.1", "[::1]:8472"):
        assert (await got(world.running.metrics_url, Host=host))[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/nothing"])
async def test_no_listener_tells_versions_of_what_it_is_made_of(world: World, path: str) -> None:
    async with ClientSession() as session:
        for listener in (
            world.running.url,
            world.running.pages_url,
            world.running.metrics_url.removesuffix("/metrics"),
        ):
            async with session.get(listener + path, ssl=False) as answer:
                assert answer.headers["Server"] == "DSage"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_log_in_json_has_nothing_else_in_it(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "dsage", "serve", "--listen", "127.0.0.1:0", "--pages", "127.0.0.1:0")
    process = await asyncio.create_subprocess_exec(
        *command, "--log-format", "json", env=os.environ | {"DSAGE_HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []
    async for line in process.stderr:
        lines.append(json.loads(line))
        if "dsage submit factor" in lines[-1]["message"]:
            process.terminate()
    assert await process.wait() == 0
    assert {line["level"] for line in lines} == {"info"}
    assert any(line["message"].startswith("Public pages") for line in lines)
    assert lines[-1]["message"].startswith("Stopping")


async def test_what_is_leased_reported_and_committed_is_counted(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1, 2, 3)
    before = await told(world)
    first, _ = await host.fetch(want=2)
    assert await host.report([first], [1]) == ["ok"]
    assert await host.report([first], [2]) == ["refused"]
    assert await host.report([first], [1], unit=999) == ["unknown"]
    assert await host.report([first], [1], value="of another") == ["refused"]
    after = await told(world)

    def grew(name: str, *labels: tuple[str, str]) -> float:
        return after.get((name, labels), 0.0) - before.get((name, labels), 0.0)

    assert (grew("leases_total"), grew("report_seconds_count")) == (2, 3)
    counted = {code: grew("reports_total", ("code", code)) for code in ("ok", "refused", "unknown", "late")}
    assert counted == {"ok": 1, "refused": 2, "unknown": 1, "late": 0}
    assert grew("commit_group_size_count") >= 2
    assert after["units", (("state", "valid"),)] == 1
    assert after["replicas", (("state", "leased"),)] == 1
    assert after["ready_queue", ()] == 1
    labels = (("listener", "api"), ("method", "POST"), ("route", "/v1/exchange"), ("status", "200"))
    assert grew("requests_total", *labels) == 5


async def test_addresses_never_become_labels(world: World) -> None:
    pages = world.running.pages_url
    for address in ("/unit/12345.json", "/nothing-here"):
        await asyncio.to_thread(_ignore, pages + address)
    await got(pages + "/leaderboard")
    routes = {dict(labels).get("route", "") for _, labels in await told(world)}
    assert "/unit/{number}{form}" in routes
    assert "none" in routes
    assert not any("12345" in route or "nothing" in route for route in routes)


def _ignore(url: str) -> None:
    with pytest.raises(HTTPError, match="404"):
        urlopen(url, timeout=20)


async def test_how_the_server_stands(world: World) -> None:
    found = await told(world)
    assert found["silent_seconds", ()] < 60
    assert found["database_bytes", ()] > 1000
    assert found["disk_free_bytes", ()] > 1000
    assert found["maintenance", ()] == 0
    assert found["key_expiry_days", (("key", "code lab"),)] > 100
    assert found["live_streams", ()] == 0


async def test_metrics_are_on_no_other_listener(world: World) -> None:
    host = await world.host()
    assert (await host.raw("GET", "/metrics"))[0] == 404
    await asyncio.to_thread(_ignore, world.running.pages_url + "/metrics")


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-1.2:3", True), ("a b", False), ("x" * 65, False), ("-x", False), ("", False)]
)
async def test_a_request_keeps_a_plain_id_and_gets_one_otherwise(world: World, sent: str, kept: bool) -> None:
    pages = world.running.pages_url
    _, headers, _ = await got(pages + "/healthz", **{"X-Request-Id": sent})
    assert (headers["X-Request-Id"] == sent) is kept
    assert headers["X-Request-Id"]


async def test_answers_of_the_machine_api_carry_an_id(world: World) -> None:
    host = await world.host()

    async def name(method: str, address: str, **said: Any) -> str:
        headers = (await host.raw(method, address, **said))[2]
        return {key.lower(): value for key, value in headers.items()}["x-request-id"]

    assert await name("GET", "/v1/hello") != await name("GET", "/v1/nothing")
    assert await name("POST", "/v1/exchange", data=b"nonsense", headers={"X-Request-Id": "mine"}) == "mine"
    said = msgspec.msgpack.encode(wire.Exchange())
    assert await name("POST", "/v1/exchange", data=said, headers={"X-Request-Id": "ours"}) == "ours"


async def test_what_is_logged_meanwhile_names_the_request(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = logging.getLogger().handlers[:]
    tracing.log_to_stderr("json")
    try:
        monkeypatch.setattr(Store, "read", broken)
        await asyncio.to_thread(_refused, world.running.pages_url + "/healthz")
    finally:
        logging.basicConfig(handlers=handlers, force=True)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    line, *_ = [line for line in lines if line["logger"] == "dsage_server.web.refusals"]
    assert (line["level"], line["request"]) == ("error", "mine")
    assert "no database" in line["exception"]


async def broken(*_: object) -> None:
    raise ValueError("no database")


def _refused(url: str) -> None:
    with pytest.raises(OSError, match="500"):
        urlopen(Request(url, headers={"X-Request-Id": "mine"}), timeout=20)


async def test_a_collector_gets_a_span_for_each_request(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    bodies: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    async with TestServer(app) as collector:
        home = Home(tmp_path)
        settings = dataclasses.replace(local_settings(home), traces=str(collector.make_url("/v1/traces")))
        async with serving(home, settings) as running:
            await got(running.pages_url + "/healthz", **{"X-Request-Id": "mine"})
    assert any(b"GET /healthz" in body and b"mine" in body for body in bodies)
