"""Let a crowd of simulated hosts work at a server, to learn what it can take. Run in the folder `benchmarks`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from dsage.errors import DSageError
from dsage.home import Home
from dsage.trust.invite import Link
from dsage_server.store.place import place_of
from fleet.audit import audit
from fleet.crowd import Fleet, Measurement, fleet
from fleet.habits import Habits
from fleet.prepare import driving, enrol, make_units

HABITS = {
    "batch": "copies fetched and reported in one call, 1 to 50",
    "wait_s": "how long the server may hold a call when there is no work",
    "work_s": "seconds from fetching a batch to reporting it; 0 reports at once",
    "spread": "by which share the speeds of hosts differ",
    "failed": "share of copies reported as failed",
    "wrong": "share of copies with a wrong answer",
    "noise": "by how much numbers in answers differ from the right one",
    "vanish": "share of batches taken along into an absence",
    "forget": "share of absences after which the host has lost what it held",
    "cut": "share of reports whose connection breaks before the reply",
    "away_s": "the longest absence",
    "back_s": "within which time hosts come back when the server was away",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; a habit is an option of its own."""
    made = argparse.ArgumentParser(prog="python -m fleet", description=__doc__, epilog=EPILOG)
    made.add_argument(
        "link", nargs="?", help="an invite link for that many hosts, or the link of a server that knows them"
    )
    made.add_argument("--hosts", type=int, default=100, help="simulated hosts, each a volunteer (default 100)")
    made.add_argument("--seconds", type=float, default=20.0, help="how long to measure, after the warm-up (default 20)")
    made.add_argument("--warm-up", type=float, default=3.0, help="seconds before (default 3)")
    made.add_argument("--seed", default="fleet", help="what the hosts' keys are made of")
    made.add_argument("--server", type=int, action="append", default=[], help="a server process whose costs to measure")
    made.add_argument(
        "--home", type=Path, help="the home of a server on this machine: hosts are enrolled there directly"
    )
    made.add_argument("--store", help="its database, if that is not SQLite in its home")
    made.add_argument("--units", type=int, default=0, help="units to make first, by the login of --home")
    made.add_argument("--audit", action="store_true", help="look into the tables afterwards (needs --home)")
    for name, words in HABITS.items():
        default = getattr(Habits(), name)
        option = f"--{name.replace('_', '-')}"
        made.add_argument(option, type=type(default), default=default, help=f"{words} (default {default:g})")
    return made


EPILOG = "The hosts' answers are made up: use a server of your own for this, never one whose answers matter."


async def run(said: argparse.Namespace) -> int:
    """Prepare what is asked for, let the fleet work, and print the measurement; 1 if the audit finds a fault."""
    home = Home(said.home) if said.home else None
    where = said.store or (place_of(home.server) if home else "")
    if home is not None:
        enrol(where, said.hosts, seed=said.seed)
        if said.units:
            async with driving(home) as driver:
                await make_units(driver, said.units)
    habits = Habits(**{field.name: getattr(said, field.name) for field in dataclasses.fields(Habits)})
    async with fleet([_link(said, home)], habits, said.hosts, seed=said.seed) as crowd:
        done = await _worked(crowd, said.warm_up, said.seconds, said.server)
    faults = audit(where, crowd.shared.acknowledged) if said.audit and where else []
    document = {**msgspec.to_builtins(done), "faults": faults}
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
    return 1 if faults else 0


async def _worked(crowd: Fleet, warm_s: float, seconds: float, servers: Sequence[int]) -> Measurement:
    crowd.begin()
    await crowd.measure(warm_s)
    return await crowd.measure(seconds, servers)


def _link(said: argparse.Namespace, home: Home | None) -> Link:
    if said.link or home is None:
        return Link.parse(said.link or "")
    return Link.parse(msgspec.json.decode(home.login.read_bytes())["link"])


def main() -> int:
    """Run the command; the exit status is 0 if all went well."""
    said = parser().parse_args()
    try:
        return uvloop.run(run(said))
    except DSageError as error:
        sys.stderr.write(f"{error.message}\n{error.hint or ''}\n")
        return 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
