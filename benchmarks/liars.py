"""Kill servers at random while liars and honest hosts work, and count the ledger again. `make fault-liars`.

Four in ten hosts lie. Some lie from their first answer; sleepers behave until their word is taken alone; colluders give
the same wrong answer to the same units. A researcher folds what is accepted and takes back what falls. Server processes
are ended by kill -9 at moments that a seed draws, now and then while they are starting. When nothing is left to do the
rows are read and everything is counted again (`fleet.recount`), and held against the clients' own journal; the audit of
every siege comes after that.

On SQLite one process has every role; on PostgreSQL the validator is a process of its own, and so is the projector.
The exit status is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import uvloop
from figures import figure, say
from fleet import recount, speech
from fleet.habits import Habits
from fleet.host import Host, Shared
from siege import Siege, siege

from dsage import codec, wire
from dsage.errors import Busy, Reopened, ServerAway
from dsage.trust.invite import Link
from dsage.trust.keys import PrivateKey
from dsage_server.store.testing import POSTGRESQL, SQLITE, postgres_cluster
from dsage_server.testing import HandDriver

HOSTS: Final = 30
HONEST, RASH, SLEEPER, COLLUDER = "honest", "rash", "sleeper", "colluder"
ROLES: Final = (
    HONEST, SLEEPER, HONEST, RASH, HONEST, COLLUDER, HONEST, HONEST, SLEEPER, HONEST,
)  # fmt: skip
"""What the host with a number is, again and again."""
LIES: Final = {HONEST: 0.0, RASH: 0.3, SLEEPER: 0.3, COLLUDER: 0.2}
"""The share of their answers that are lies."""
SLEEPS: Final = 30
"""How many right answers sleepers and colluders give first."""
NOISE: Final = 0.2
"""By how much answers differ that are measured; the app's own rule says what is near enough."""
PACE: Final = Habits(batch=5, work_s=0.3, wait_s=20.0, back_s=0.3, cut=0.01)
QUIET_S: Final = 150.0
"""How long it may take until nothing is left to do, after the last kill: a claim of a killed process lasts a minute."""
AGAIN: Final = 0.15
"""The share of kills after which the process is killed once more while it starts."""
PARTED: Final = [("--roles", "api"), ("--roles", "validator"), ("--roles", "projector,sweeper")]
_LEFT: Final = {
    "open units": "SELECT count(*) FROM unit WHERE state IN ('ready', 'active', 'comparing')",
    "copies that are out": "SELECT count(*) FROM replica WHERE state = 'leased'",
    "answers that nobody judged": "SELECT count(*) FROM replica WHERE state = 'reported'",
    "liars not looked at": "SELECT count(*) FROM standing WHERE due IS NOT NULL",
    "credit not added up": "SELECT (SELECT coalesce(sum(amount_milli), 0) FROM credit_entry) - "
    "(SELECT coalesce(sum(amount_milli), 0) FROM credit_sum)",
}

T = TypeVar("T")


class Journal:
    """What the server told clients that it has, flushed to disk before the client does anything else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def note(self, noted: Sequence[recount.Noted]) -> None:
        """Write down what was acknowledged in one reply."""
        os.write(self._file, b"".join([msgspec.json.encode(each) + b"\n" for each in noted]))
        os.fsync(self._file)

    def read(self) -> list[recount.Noted]:
        """Return everything that was acknowledged."""
        return [msgspec.json.decode(line, type=recount.Noted) for line in self.path.read_bytes().splitlines()]

    def close(self) -> None:
        """End writing."""
        os.close(self._file)


class Person(Host):
    """A host that is honest or lies, by its number, and keeps a journal."""

    __slots__ = ("given", "journal", "lied", "role")

    def __init__(self, shared: Shared, link: Link, key: PrivateKey, number: int, journal: Journal) -> None:
        super().__init__(shared, link, key, number)
        self.role = ROLES[number % len(ROLES)]
        self.journal = journal
        self.given = 0
        self.lied: set[int] = set()

    def finishes(self, task: speech.Task) -> speech.Answer:
        """Return the right answer, or a lie."""
        self.given += 1
        value = codec.decode(task.args)
        if self._lies(task.unit):
            self.lied.add(task.replica)
            value += 7 if self.role == COLLUDER else self.draw.randrange(2, 1 << 30)
        elif isinstance(value, float):
            value += self.draw.uniform(-NOISE, NOISE)
        return speech.answer(task, codec.encode(value), "done", "")

    def hears(self, reply: speech.Reply, took_s: float) -> float:
        """Write down what was acknowledged, then go on."""
        sent = {each.entry.replica: each for each in self.answers}
        known = [sent[ack.replica] for ack in reply.acks if ack.code == "ok"]
        if known:
            self.journal.note(
                [
                    recount.Noted(each.entry.replica, each.unit, each.entry.value, each.entry.replica in self.lied)
                    for each in known
                ]
            )
        return super().hears(reply, took_s)

    def _lies(self, unit: int) -> bool:
        if self.role in (SLEEPER, COLLUDER) and self.given <= SLEEPS:
            return False
        if self.role == COLLUDER:
            return hashlib.sha256(f"unit {unit}".encode()).digest()[0] < 256 * LIES[COLLUDER]
        return self.draw.random() < LIES[self.role]


@dataclass
class Author:
    """A researcher's driver: it makes units, folds what was accepted, takes back what fell, through every kill.

    `values` makes arguments, `open_units` is how many it keeps open while it `makes` more.
    """

    driver: HandDriver
    value: Callable[[int], object]
    open_units: int
    quorum: int = 2
    adaptive: bool = True
    makes: bool = True
    made: int = 0
    folded: dict[int, int] = field(default_factory=dict)
    """By unit the copy whose answer it folded; 0 for one that failed."""
    taken_back: int = 0

    async def works(self) -> None:
        """Go on for ever."""
        driver = self.driver
        while True:
            heard = await patiently(lambda: driver.answers(wait_s=1.0))
            new = self._new(heard.open_units)
            if not (new or heard.answers or heard.retracted):
                continue
            try:
                await patiently(
                    lambda heard=heard, new=new: driver.commit(  # type: ignore[misc]
                        units=new, folded=[each.unit for each in heard.answers],
                        replicas=[each.replica for each in heard.answers],
                        retracted=[each.unit for each in heard.retracted],
                    )
                )  # fmt: skip
            except Reopened:
                continue
            self.made += len(new)
            self.taken_back += len(heard.retracted)
            for each in heard.retracted:
                del self.folded[each.unit]
            self.folded |= {each.unit: each.replica for each in heard.answers}

    def _new(self, open_units: int) -> list[wire.NewUnit]:
        wanted = max(0, self.open_units - open_units) if self.makes else 0
        return [
            wire.NewUnit(key=str(n), args=codec.encode(self.value(n)), quorum=self.quorum, adaptive=self.adaptive)
            for n in range(self.made + 1, self.made + 1 + wanted)
        ]


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what is asked for, as soon as the server is there."""
    while True:
        try:
            return await ask()
        except (ServerAway, Busy):
            await asyncio.sleep(0.1)


@dataclass
class Ordeal:
    """What was done, and what was found afterwards."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    found: recount.Tables = field(default_factory=recount.Tables)
    journal: list[recount.Noted] = field(default_factory=list)
    taken_back: int = 0
    seconds: float = 0.0


@contextlib.asynccontextmanager
async def working(authors: Sequence[Author]) -> AsyncIterator[None]:
    """Let authors work; if one cannot go on, so cannot the rest."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(author.works()) for author in authors]
        yield
        for task in tasks:
            task.cancel()


async def ordeal(kills: int, seed: int, store: str = "") -> Ordeal:
    """Kill servers so many times while liars work, wait until nothing is left to do, and count again."""
    done, draw, began = Ordeal(), random.Random(seed), time.monotonic()
    more = PARTED if store else [()]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dsage-liars-"))
        journal = Journal(Path(folder) / "journal")
        stack.callback(journal.close)
        made = siege(
            units=400, hosts=HOSTS, habits=PACE, store=store, servers=len(more), more=more, links=[0],
            kind=lambda shared, link, key, number: Person(shared, link, key, number, journal),
        )  # fmt: skip
        under = await stack.enter_async_context(made)
        authors = await _authors(under)
        async with working(authors):
            done.kills = await _kills(under, kills, draw)
            say(f"{done.kills.total()} kills after {time.monotonic() - began:.0f} s; what is left is worked off")
            for author in authors:
                author.makes = False
            await _quiet(under, authors)
        for number in range(len(more)):
            under.kill(number)
        done.found, done.journal = recount.tables(under.where), journal.read()
        done.taken_back = sum(author.taken_back for author in authors)
        done.faults = [*recount.faults(done.found, done.journal), *_told(done.found, authors)]
        for fault in done.faults:
            say(f"FAULT: {fault}")
    done.seconds = time.monotonic() - began
    return done


async def _authors(under: Siege) -> list[Author]:
    """Return one for the units that are there, and one each for adaptive units, fixed quorums, and an `agree`."""
    return [
        Author(under.driver, float, 0, makes=False),
        Author(await under.run(0), int, 250),
        Author(await under.run(0), int, 60, adaptive=False),
        Author(await under.run(0, name="Near"), lambda n: n + 0.5, 40),
    ]


async def _kills(under: Siege, kills: int, draw: random.Random) -> Counter[str]:
    """End processes at random, and start each again."""
    done: Counter[str] = Counter()
    while done.total() < kills:
        await under.goes_on(draw.randrange(1, 150), within_s=90.0)
        await asyncio.sleep(draw.uniform(0.0, 0.1))
        victim = draw.randrange(len(under.labs))
        name = under.more[victim][-1] if under.more[victim] else "server"
        under.kill(victim)
        done[name] += 1
        while done.total() < kills and draw.random() < AGAIN:
            before = under.process(victim)
            starts = asyncio.create_task(under.start(victim))
            await under.until(lambda b=before, v=victim: under.process(v) is not b)  # type: ignore[misc]
            await asyncio.wait({starts}, timeout=draw.uniform(0.0, 2.5))
            under.kill(victim)
            with contextlib.suppress(ServerAway):
                await starts
            done[name] += 1
        await under.start(victim)
    return done


async def _quiet(under: Siege, authors: Sequence[Author]) -> None:
    """Wait until nothing is left to do. Raises TimeoutError with what is."""
    left: dict[str, int] = {}

    def over() -> bool:
        left.update({what: under.count(query) for what, query in _LEFT.items()})
        ended = under.count("SELECT count(*) FROM unit WHERE state IN ('valid', 'failed')")
        left["answers not folded"] = ended - sum(len(author.folded) for author in authors)
        return not any(left.values())

    end = time.monotonic() + QUIET_S
    while not await asyncio.to_thread(over):
        if time.monotonic() > end:
            logs = "\n".join(under.log(number)[-2000:] for number in range(len(under.labs)))
            raise TimeoutError(f"after {QUIET_S:.0f} s there are still {left}; {under.troubles()}\n{logs}")
        await asyncio.sleep(0.5)


def _told(found: recount.Tables, authors: Sequence[Author]) -> Iterator[str]:
    """Whether what researchers folded, and did not take back, is what stands accepted."""
    for author in authors:
        units = {unit.id: unit.canonical or 0 for unit in found.units.values() if unit.run == author.driver.run}
        differ = sum(author.folded.get(number) != canonical for number, canonical in units.items())
        if differ or author.folded.keys() - units.keys():
            yield f"{differ} answers of run {author.driver.run} are not what its researcher folded"


def tell(done: Ordeal, kind: str) -> None:
    """Print the figures."""
    found, noted = done.found, {each.replica: each for each in done.journal}
    states = Counter(unit.state for unit in found.units.values())
    entries = Counter(entry.kind for entry in found.entries)
    liars = {found.copies[each.replica].host for each in done.journal if each.lie and each.replica in found.copies}
    hosts = {copy.host for copy in found.copies.values()}
    caught, wrong = recount.caught(found), recount.wrong(found, noted)
    fixed = sum(not found.units[number].adaptive for number in wrong)
    lies = {each.replica for each in done.journal if each.lie}
    stolen = sum(entry.amount for entry in found.entries if entry.replica in lies)
    cleared = [found.copies[entry.replica] for entry in found.entries if entry.kind == "manual" and entry.replica]
    say(f"{kind}: cleared of a lie {Counter(copy.host for copy in cleared)}, of whom {sorted(liars)} lied")
    for name, value, unit in (
        ("kills", done.kills.total(), "kills"),
        ("acknowledged answers", len(noted), "answers"),
        ("lies among them", sum(each.lie for each in noted.values()), "answers"),
        ("units", len(found.units), "units"),
        ("units valid in the end", states["valid"], "units"),
        ("units given up, with the reason", states["failed"], "units"),
        ("grants", entries["grant"], "rows"),
        ("reversals", entries["reversal"], "rows"),
        ("answers that were cleared of a lie and paid again", len(cleared), "answers"),
        ("folded answers that researchers took back", done.taken_back, "answers"),
        ("hosts that lied", len(liars), "hosts"),
        ("of them found lying", len(liars & caught), "hosts"),
        ("honest hosts found lying", len(caught & (hosts - liars)), "hosts"),
        ("wrong answers accepted in the end, adaptive", len(wrong) - fixed, "units"),
        ("wrong answers accepted in the end, fixed quorum", fixed, "units"),
        (
            "fixed quorums of nobody but hosts found lying",
            len(recount.on_liars(found, adaptive=False)),
            "units",
        ),
        ("credit that lies still have", stolen / 1000, "credits"),
        ("time", done.seconds, "s"),
    ):
        figure(f"{kind}: {name}", value, unit)
    figure(f"{kind}: kinds of faults that the recount found", len(done.faults), "kinds", bar=0)
    say(f"{kind}: kills by process {dict(done.kills)}")


async def run(said: argparse.Namespace) -> int:
    """Run what is asked for."""
    wrong = 0
    for kind in said.only:
        say(f"{kind}: {said.kills} kills, seed {said.seed}")
        with contextlib.ExitStack() as stack:
            store = stack.enter_context(postgres_cluster()).database() if kind == POSTGRESQL else ""
            done = await ordeal(said.kills, said.seed, store)
        tell(done, kind)
        wrong += len(done.faults)
    return 1 if wrong else 0


def main() -> int:
    """Run the command; the exit status is 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="on each database (default 100)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="to repeat a run")
    kinds = (SQLITE, POSTGRESQL)
    parser.add_argument("--only", action="append", choices=kinds, help="one database (default: both)")
    said = parser.parse_args()
    said.only = said.only or kinds
    return uvloop.run(run(said))


if __name__ == "__main__":
    sys.exit(main())
