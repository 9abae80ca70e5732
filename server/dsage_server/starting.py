"""A server as a process: it says where it is, and goes on until a signal ends it."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

from dsage.cli.output import emit, say
from dsage.home import Home, Login
from dsage.trust.ceremony import LAB
from dsage_server import tracing
from dsage_server.server import Running, serving
from dsage_server.settings import LOG_FORMS, Settings

log = logging.getLogger(__name__)


def run(home: Home, settings: Settings, as_json: bool) -> None:
    """Serve until a signal ends it."""
    tracing.log_to_stderr(settings.log_format)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        runner.run(_serve(home, settings, as_json))


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's maker of loops where there is one: a third more requests each second than asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(home: Home, settings: Settings, as_json: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(home, settings) as running:
        if running.url and home.code_key(LAB).exists():
            Login(link=str(running.link()), key=LAB).save(home)
        _settle_down()
        tell = say if settings.log_format == LOG_FORMS[0] else log.info  # nothing else comes between JSON lines
        _welcome(home, running, tell)
        emit("dsage.serve/1", _described(running), as_json)
        await stop.wait()
        tell("Stopping: volunteers keep their finished work and send it when the server is back.")


def _settle_down() -> None:
    """Tell Python that this process is a server: what was loaded stays, and its one loop must never wait long.

    Other threads that compute give way after a millisecond instead of five; garbage in circles, of which there is
    little, is looked for rarely, since each full look takes as long as many requests.
    """
    sys.setswitchinterval(0.001)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _welcome(home: Home, running: Running, tell: Callable[[str], None]) -> None:
    keys = running.keys
    if keys.made:
        tell("First start: made every key that this server needs.")
    if keys.root_key is not None:
        tell(f"The root key lies beside the server, in {keys.root_key}. Whoever has it rules every volunteer's trust:")
        tell("move it to a disk that you keep apart with `dsage keys export-root DEST`.")
    if not running.url:
        tell("This process answers nobody: its roles work on the database behind those that do.")
        return
    if running.sandbox is None:
        tell("No sandbox works here, so runs whose apps check answers themselves are refused.")
    elif running.sandbox.sentence:
        tell(f"Sandbox for checks: {running.sandbox.sentence}")
    if running.away_s > 60:
        tell(f"The server was away for {running.away_s:.0f} s; every open lease was extended by that.")
    tell(f"Machine API    {running.url}")
    tell(f"Public pages   {running.pages_url}")
    if running.metrics_url:
        tell(f"Metrics        {running.metrics_url}")
    tell("Volunteers     dsage invite            makes the link that they join with")
    tell(f"Researchers    dsage login '{running.link()}'")
    tell(f"On this computer you are logged in already ({home.folder}): dsage submit factor -p n=11^150+1")


def _described(running: Running) -> dict[str, Any]:
    return {
        "url": running.url, "pages_url": running.pages_url, "link": str(running.link()) if running.url else None,
        "server_id": running.hub.server_id, "made": [str(path) for path in running.keys.made],
        "root_key": str(running.keys.root_key) if running.keys.root_key else None,
        "sandbox": running.sandbox.level.value if running.sandbox and running.sandbox.level else None,
    }  # fmt: skip
