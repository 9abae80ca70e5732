"""What visitors of the public pages wait for, and what they cost: `make bench-web` runs it.

The views are looked at in Debian's Chromium over a seeded site; boards and every other public page are asked for at
100,000 volunteers and ten million ledger rows; live pages have a thousand visitors; and pages are read while a fleet
keeps a real server at half of what it can do. The limits on how often one visitor may ask are left out where one
process plays all visitors.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import multiprocessing.synchronize
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil
from aiohttp import web
from figures import figure, say
from fleet.crowd import allow_files
from fleet.habits import Habits
from fleet.tally import percentile
from playwright.async_api import Browser, async_playwright
from serving import Bench, Options

from dsage_server.counting import count
from dsage_server.seeding.filling import fill
from dsage_server.seeding.people import Size
from dsage_server.shared import Shared
from dsage_server.store.engine import Store
from dsage_server.store.migrate import upgrade
from dsage_server.store.place import DATABASE
from dsage_server.web import pages
from dsage_server.web.live import Streams

CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
PEOPLE: Final = 100_000
LEDGER: Final = 10_000_000
SMALL: Final = Size(volunteers=300, days=60, ledger=40_000)
VIEWS: Final = ("/", "/leaderboard", "/discoveries", "/status", "/projects", "/teams")
FOUND: Final = {
    r'href="(/u/[^"?]+)"': "/leaderboard",
    r'href="(/run/\d+)"': "/",
    r'href="(/discovery/\d+)"': "/discoveries",
}
"""Pages that are found by a link on another."""
SORTED: Final = ("credit", "valid", "name")
NARROWED: Final = (
    "app=factor", "app=factor/dsage_projects.prp:Prp", "horizon=30d&app=radio", "team=1", "team=2&sort=credit",
    "device=small", "q=am",
)  # fmt: skip
"""What boards are narrowed to, or searched for."""
SINGLE: Final = (
    "/", "/projects", "/project/factor", "/discoveries", "/status", "/hardware", "/countries", "/steady", "/audit",
    "/ledger", "/teams", "/teams?sort=credit", "/teams?q=cl",
)  # fmt: skip
"""Pages of which there is one, or that are much alike."""
KINDS: Final = {
    "a team": ("/teams", r'href="(/team/[^"?#]+)"'),
    "a run": ("/project/factor", r'href="(/run/\d+)"'),
    "the units of a run": ("/project/factor", r'href="(/run/\d+)"'),
    "a unit": ("/run/{run}/units", r'href="(/unit/\d+)"'),
    "a discovery": ("/discoveries", r'href="(/discovery/\d+)"'),
}
"""Pages of which there are many: where links to them stand."""
SHIFTS: Final = """
new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const each of list.getEntries()) sum += each.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 1500);
})
"""
BAR_PAGE_MS: Final = 50
ASKED: Final = 40
VISITORS: Final = 1000
WATCHED_S: Final = 20.0
LOAD: Final = (10, 128, 5000.0)
"""Copies a call, hosts, and the replicas a second for which units are made."""
LOAD_S: Final = 30.0
EVERY_S: Final = 0.05


class Anew(Shared[Any]):
    """Shares nothing: each visitor's page is read and rendered for him."""

    async def get(self, key: str, make: Callable[[], Awaitable[Any]], *, period_s: float = 0.0) -> Any:
        """Return the value, made now."""
        return await make()


def serve(path: Path, port: Any, ready: multiprocessing.synchronize.Event, period_s: float) -> None:
    """Serve the pages of a database in a process of its own, without limits for each visitor; with no `period_s` each
    page is made anew for each look at it, but for boards, which are made beside the visitors."""
    if not period_s:
        pages.Shared = Anew  # type: ignore[attr-defined]

    async def run() -> None:
        allow_files(VISITORS * 3)
        store = Store(path)
        streams = Streams(per_address=VISITORS * 2, in_all=VISITORS * 2)
        runner = web.AppRunner(
            pages.make_pages(store, server_id="bench", name="Bench", streams=streams, period_s=period_s)
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=VISITORS).start()
        port.value = runner.addresses[0][1]
        ready.set()
        await count(store, time.time)

    asyncio.run(run())


@contextmanager
def serving(path: Path, *, period_s: float = 1.0) -> Iterator[tuple[str, psutil.Process]]:
    """Serve a database until the end of the block; give the pages' address and their process."""
    spawn = multiprocessing.get_context("spawn")
    port, ready = spawn.Value("i", 0), spawn.Event()
    process = spawn.Process(target=serve, args=(path, port, ready, period_s), daemon=True)
    process.start()
    try:
        if not ready.wait(60):
            raise TimeoutError("the pages did not start")
        yield f"http://localhost:{port.value}", psutil.Process(process.pid)
    finally:
        process.kill()
        process.join()


def made(folder: Path, size: Size) -> Path:
    """Return a new database with a made-up world of this size."""
    path = folder / DATABASE
    upgrade(path)
    store, begin = Store(path), time.perf_counter()
    fill(store, size, 1, time.time())
    store.close()
    say(f"-- {size.volunteers} volunteers and {size.ledger} ledger rows made in {time.perf_counter() - begin:.0f} s")
    return path


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Run Chromium until the end of the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        await browser.close()


async def first_views(folder: Path) -> None:
    """What each page's first view takes over the wire, and how much of it jumps."""
    with serving(made(folder, SMALL)) as (address, _):
        views = [*VIEWS, *[found async for found in linked(address)]]
        worst: dict[str, tuple[float, str]] = {}
        async with browsing() as browser:
            for page in views:
                for name, value in (await viewed(browser, address + page)).items():
                    worst[name] = max(worst.get(name, (0.0, "")), (value, page))
    for name, unit, bar in (("kB over the wire", "kB", 80), ("requests", "requests", 12), ("layout shift", "", 0.05)):
        value, page = worst[name]
        figure(f"web: first view, {name}, worst of {len(views)} pages ({page})", value, unit, bar=bar)


async def linked(address: str) -> AsyncIterator[str]:
    """Give one page of each kind that is found by a link."""
    async with aiohttp.ClientSession(address) as session:
        for pattern, where in FOUND.items():
            async with session.get(where) as reply:
                if found := re.search(pattern, await reply.text()):
                    yield found[1]


async def viewed(browser: Browser, address: str) -> dict[str, float]:
    """Look at a page with nothing kept from before; streams are not counted, since they do not end."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")
    sizes: dict[str, float] = {}
    live: set[str] = set()
    session.on(
        "Network.responseReceived", lambda e: live.add(e["requestId"]) if ".live" in e["response"]["url"] else None
    )
    session.on("Network.loadingFinished", lambda e: sizes.update({e["requestId"]: e["encodedDataLength"]}))
    await page.goto(address)
    shift = float(await page.evaluate(SHIFTS))
    await context.close()
    whole = {number: size for number, size in sizes.items() if number not in live}
    return {
        "kB over the wire": sum(whole.values()) / 1000, "requests": float(len(whole) + len(live)), "layout shift": shift
    }  # fmt: skip


async def big(address: str) -> None:
    """How long pages take at 100,000 volunteers, each asked for anew: boards, and then all others beside them."""
    async with aiohttp.ClientSession(address, timeout=aiohttp.ClientTimeout(120)) as session:
        begin = time.perf_counter()
        names = sorted(set(re.findall(r'href="/u/([^"?]+)"', await told(session, "/leaderboard"))))
        figure(
            f"web: the leaderboard when it is first asked for, {PEOPLE} volunteers",
            1e3 * (time.perf_counter() - begin),
            "ms",
        )
        took = {}
        for horizon in ("recent", "24h", "30d", "all"):
            first = f"/leaderboard?horizon={horizon}"
            await told(session, first)
            took[f"a page of {horizon}"] = await timed(session, [f"{first}&page={n}" for n in range(2, 2 + ASKED)])
            took[f"my rank in {horizon}"] = await timed(session, [f"{first}&around={name}" for name in names])
        took["a profile"] = await timed(session, [f"/u/{name}" for name in names])
        for name, asked in (await others(session)).items():
            await told(session, asked[0])
            took[name] = await timed(session, asked)
    own = statistics.median(took["a page of recent"])
    for name, each in took.items():
        middle, what = statistics.median(each), f"web: {name}, {PEOPLE} volunteers"
        figure(f"{what}, median", middle, "ms", bar=BAR_PAGE_MS, peer=("a page of the leaderboard", own))
        figure(f"{what}, p97", percentile(each, 0.97), "ms")


async def others(session: aiohttp.ClientSession) -> dict[str, list[str]]:
    """Return addresses of all other kinds of public pages, by what they are."""
    found = {f"the leaderboard by {way}": [f"/leaderboard?sort={way}&page={n}" for n in (1, 2, 3)] for way in SORTED}
    found |= {f"the leaderboard of {said}": [f"/leaderboard?{said}"] for said in NARROWED}
    found |= {path: [path] for path in SINGLE}
    for name, (where, link) in KINDS.items():
        run = found["a run"][0].rpartition("/")[2] if "a run" in found else ""
        links = sorted(set(re.findall(link, await told(session, where.format(run=run)))))
        found[name] = [f"{each}/units" for each in links] if name == "the units of a run" else links
    return {name: paths for name, paths in found.items() if paths}


async def timed(session: aiohttp.ClientSession, addresses: Sequence[str]) -> list[float]:
    """Ask for pages, one after the other and again from the first; return how long each took, in milliseconds."""
    took = []
    for number in range(ASKED):
        begin = time.perf_counter()
        await told(session, addresses[number % len(addresses)])
        took.append(1e3 * (time.perf_counter() - begin))
    return took


async def told(session: aiohttp.ClientSession, address: str) -> str:
    """Return a page, which must be there."""
    async with session.get(address) as reply:
        if reply.status != 200:
            raise LookupError(f"{address}: {reply.status} {await reply.text()}")
        return await reply.text()


async def live(address: str, process: psutil.Process) -> None:
    """What a thousand visitors of the front page cost."""
    allow_files(VISITORS * 3)
    connector = aiohttp.TCPConnector(limit=0)
    firsts: list[float] = []
    async with aiohttp.ClientSession(address, connector=connector, timeout=aiohttp.ClientTimeout(None)) as session:
        await watch_once(session)
        before = process.memory_info().rss
        watching = [asyncio.create_task(watch(session, firsts)) for _ in range(VISITORS)]
        while len(firsts) < VISITORS:
            await asyncio.sleep(0.1)
            for task in watching:
                if task.done():
                    task.result()
        start, clock = process.cpu_times(), time.perf_counter()
        await asyncio.sleep(WATCHED_S)
        end, seconds = process.cpu_times(), time.perf_counter() - clock
        grown = process.memory_info().rss - before
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    used = end.user + end.system - start.user - start.system
    figure(f"web: {VISITORS} live visitors, of a core", 100 * used / seconds, "%", bar=10)
    figure(f"web: {VISITORS} live visitors, memory of each", grown / VISITORS / 1000, "kB", bar=25)
    figure("web: from asking to the first message, p99 of all at once", 1e3 * percentile(firsts, 0.99), "ms")


async def watch_once(session: aiohttp.ClientSession) -> None:
    """Have everything made that is made once for all."""
    async with session.get("/index.live") as reply:
        await reply.content.readuntil(b"data:")


async def watch(session: aiohttp.ClientSession, firsts: list[float]) -> None:
    """Read a live page for ever."""
    begin = time.perf_counter()
    async with session.get("/index.live") as reply:
        async for line in reply.content:
            if line.startswith(b"data:"):
                firsts.append(time.perf_counter() - begin)
                break
        async for _ in reply.content.iter_any():
            pass


async def beside_work(folder: Path) -> None:
    """How long pages take while a fleet keeps the server at half of what it can do."""
    bench = Bench(folder / "work", Options())
    batch, hosts, usual = LOAD
    await bench.prepare(int(usual * 40))
    most = await bench.measure(Habits(batch=batch), hosts, 10.0)
    rate = most.replicas_per_s / 2
    took: list[float] = []
    async with bench.fleet(Habits(batch=batch, work_s=batch * hosts / rate), hosts) as crowd:
        address = bench.labs[0].described["pages_url"]
        async with aiohttp.ClientSession(address) as session:
            asking = asyncio.create_task(read_steadily(session, took))
            done = await crowd.measure(LOAD_S, bench.servers())
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
    say(f"     {done.replicas_per_s:.0f} replicas/s beside the pages, of {most.replicas_per_s:.0f}; {len(took)} pages")
    figure("web: a page while the scheduler runs at half of its most, p99", percentile(took, 0.99), "ms", bar=300)
    figure("web: the same, median", statistics.median(took), "ms")


async def read_steadily(session: aiohttp.ClientSession, took: list[float]) -> None:
    """Read one page after the other, some a second."""
    pages = ("/", "/leaderboard", "/status", "/projects", "/run/1", "/unit/1")
    while True:
        for page in pages:
            begin = time.perf_counter()
            async with session.get(page) as reply:
                await reply.read()
            took.append(1e3 * (time.perf_counter() - begin))
            await asyncio.sleep(EVERY_S)


async def all_of_it(only: str, people: int, ledger: int, world: Path | None) -> None:
    """Print every figure, or those that are named; the big `world` is kept there, or found there."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="dsage-web-") as name:
        folder = Path(name)

        def room(part: str) -> Path:
            (folder / part).mkdir()
            return folder / part

        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "views": lambda: first_views(room("views")), "work": lambda: beside_work(room("work"))
        }  # fmt: skip
        for part, work in parts.items():
            if only in ("", part):
                await work()
        if only in ("", "boards", "live"):
            path = world / DATABASE if world else room("boards") / DATABASE
            if not path.exists():
                made(path.parent, Size(volunteers=people, days=60, ledger=ledger))
            if only in ("", "boards"):
                with serving(path, period_s=0.0) as (address, _):
                    await big(address)
            if only in ("", "live"):
                with serving(path) as (address, process):
                    await live(address, process)
    say(f"-- all of it took {(time.perf_counter() - began) / 60:.1f} minutes")


def main() -> None:
    """Measure everything, or what is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("views", "work", "boards", "live"), default="", help="this part")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"volunteers (default {PEOPLE})")
    parser.add_argument("--ledger", type=int, default=LEDGER, help=f"rows of the ledger (default {LEDGER})")
    parser.add_argument("--world", type=Path, metavar="FOLDER", help="keep the big world here, or use the one here")
    options = parser.parse_args()
    asyncio.run(all_of_it(options.only, options.people, options.ledger, options.world))


if __name__ == "__main__":
    main()
