"""The interface of the DSage of 2008 over today's: an old script runs with its import changed.

`from dsage.classic import *` brings `dsage`, which starts and connects, and `DistributedFunction`. Every job is a run
of its own, computed once where the volunteers are one's own. Nothing is pickled: arguments, variables and results are
data, and functions travel as source. Options that have no meaning any more are named in a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final

from dsage import grid
from dsage.classic.connection import DSage, Job, JobWrapper
from dsage.classic.functions import DistributedFunction
from dsage.family import Family, possible
from dsage.grid import Grid
from dsage.home import Home
from dsage.researcher import Researcher

__all__ = ["BlockingDSage", "DSage", "DistributedFunction", "Job", "JobWrapper", "dsage"]

ERRORS_PER_WORKER: Final = 2
"""A volunteer that failed so often with a unit is not given it again."""

BlockingDSage = DSage


class _Session:
    """The old `dsage` object: starts, connects, ends."""

    def __init__(self) -> None:
        self._opened: list[DSage] = []

    def setup(self, **gone: Any) -> None:
        """There is nothing to set up: the first start makes every key. Here for old scripts."""
        _warn("setup", gone)

    def start_all(self, port: int = 0, workers: int = 2, failure_threshold: int = 3, **gone: Any) -> DSage:
        """Start a server and `workers` volunteers on this computer, and return a connection when all are ready.

        They end with this program. A job that fails is tried again `failure_threshold` times, two times at most on
        each worker. Where the server's packages are not installed jobs run in `dsage.local()`, with a warning.
        """
        _warn("start_all", gone)
        retries = min(failure_threshold, ERRORS_PER_WORKER * workers - 1)
        if not possible():
            warnings.warn("the server's packages are not installed: jobs run in dsage.local()", stacklevel=2)
            return self._kept(DSage(grid.local(workers), retries=failure_threshold))
        family = Family(workers, port=port)

        async def opening() -> Researcher:
            return await Researcher.open(Home(family.home))

        try:
            return self._kept(DSage(Grid(opening, away=False), family=family, retries=retries))
        except BaseException:
            family.close()
            raise

    def connect(self, server: str | None = None, **gone: Any) -> DSage:
        """Connect to the server of the last login, or of a link. Two volunteers must agree on each job there."""
        _warn("connect", gone)
        return self._kept(DSage(grid.connect(server), own=False))

    def kill_all(self) -> None:
        """End everything that was started or connected here."""
        while self._opened:
            self._opened.pop().disconnect()

    def _kept(self, opened: DSage) -> DSage:
        self._opened.append(opened)
        return opened


def _warn(what: str, gone: Mapping[str, Any]) -> None:
    if gone:
        warnings.warn(f"{what}({', '.join(sorted(gone))}) has no meaning any more", stacklevel=3)


dsage = _Session()
