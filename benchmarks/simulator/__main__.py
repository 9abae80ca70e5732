"""Go through the simulated worlds, print what became of them, and draw it. Run in the folder `benchmarks`."""

from __future__ import annotations

import argparse
import gc
import os
import resource
import time
from multiprocessing import Pool
from pathlib import Path

import msgspec
from figures import say

from simulator.plots import draw
from simulator.report import report
from simulator.scenarios import FULL, TINY, USUAL, Job, Outcome, jobs, outcome
from simulator.tables import write


def main() -> None:
    """Read the options and go."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--full", action="store_true", help="more hosts and more seeds (hours)")
    parser.add_argument("--tiny", action="store_true", help="hardly any, to try the program itself")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one for each core")
    parser.add_argument(
        "--keep", type=Path, help="write what became of each world into this file, and go on from there"
    )
    parser.add_argument("--only", help="a part: long, short, option, share, turn, rate or churn; nothing is reported")
    parser.add_argument("--from", type=Path, dest="kept", help="report what such a file holds instead of trying anew")
    parser.add_argument("--pictures", type=Path, help="draw the curves into this folder")
    parser.add_argument("--document", type=Path, help="write the tables between the marks of this document")
    said = parser.parse_args()
    found = _kept(said.kept) if said.kept else _tried(said)
    if said.only:
        return
    report(found)
    if said.pictures:
        draw(found, said.pictures)
    if said.document:
        write(found, said.document)


def _kept(path: Path) -> list[Outcome]:
    return [msgspec.json.decode(line, type=Outcome) for line in path.read_bytes().splitlines()]


def _tried(said: argparse.Namespace) -> list[Outcome]:
    size = FULL if said.full else TINY if said.tiny else USUAL
    found = _kept(said.keep) if said.keep and said.keep.exists() else []
    known = {each.job for each in found}
    chosen = [job for job in jobs(size) if said.only in (None, job.part) and job not in known]
    wanted = sorted(chosen, key=lambda job: -job.work)
    began, all_work, done = time.monotonic(), sum(job.work for job in wanted), 0.0
    say(f"{len(wanted)} worlds on {said.processes} processes")
    with Pool(said.processes, gc.disable) as pool:
        for number, each in enumerate(pool.imap_unordered(_gone, wanted), 1):
            found.append(each)
            done += each.job.work
            if said.keep:
                with said.keep.open("ab") as file:
                    file.write(msgspec.json.encode(each) + b"\n")
            if number % 20 == 0:
                say(f"{done / all_work:.0%} after {time.monotonic() - began:.0f} s")
    answers = sum(o.answers for o in found)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = f"{time.monotonic() - began:.0f} s, and {used.ru_utime + used.ru_stime:.0f} s of work for one core"
    say(f"{answers:,} answers in {took}")
    return sorted(found, key=lambda o: (o.job.part, o.job.world, o.job.rule, o.job.share, o.job.seed))


def _gone(job: Job) -> Outcome:
    """Go through one world. Its values hold no cycles: they are collected once, at its end."""
    found = outcome(job)
    gc.collect()
    return found


if __name__ == "__main__":
    main()
