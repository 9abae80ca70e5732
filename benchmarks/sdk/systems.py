"""The systems that are compared: our three places, Dask, ipyparallel, and bare processes, with two workers each."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypeAlias

from lab import lab

import dsage
from dsage.grid import Grid

HERE: Final = Path(__file__).resolve().parents[1]
"""Where engines, which are programs of their own, find `sdk.work`."""
WORKERS: Final = 2
PATIENCE_S: Final = 900.0

Map: TypeAlias = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""Calls a function with each item, each call a task of its own, and returns the values in order."""
System: TypeAlias = Callable[[], AbstractContextManager[Map]]


@contextlib.contextmanager
def volunteers() -> Iterator[Grid]:
    """A server and two volunteers' clients as processes, and what `connect()` gives."""
    with lab(WORKERS) as running:
        before = os.environ.get("DSAGE_HOME")
        os.environ["DSAGE_HOME"] = str(running.home)
        try:
            with dsage.connect() as grid:
                yield grid
        finally:
            if before is None:
                del os.environ["DSAGE_HOME"]
            else:
                os.environ["DSAGE_HOME"] = before


def local() -> AbstractContextManager[Grid]:
    """This computer."""
    return dsage.local(WORKERS)


@contextlib.contextmanager
def cluster() -> Iterator[Any]:
    """A Dask scheduler with two worker processes of one thread. Raises ImportError without Dask."""
    from distributed import LocalCluster

    quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, **quiet) as running:  # type: ignore[no-untyped-call]
        yield running


@contextlib.contextmanager
def dask() -> Iterator[Grid]:
    """DSage on a Dask cluster."""
    with cluster() as running, dsage.dask(running.scheduler_address) as grid:
        yield grid


@contextlib.contextmanager
def volunteers_map() -> Iterator[Map]:
    """Volunteers, each unit computed once."""
    with volunteers() as grid:
        yield lambda function, items: grid.map(function, items, chunk=1, quorum=1).wait(PATIENCE_S)


@contextlib.contextmanager
def local_map() -> Iterator[Map]:
    """This computer, each call a unit."""
    with local() as grid:
        yield lambda function, items: grid.map(function, items, chunk=1).wait(PATIENCE_S)


@contextlib.contextmanager
def dask_map() -> Iterator[Map]:
    """DSage on a Dask cluster, each call a unit."""
    with dask() as grid:
        yield lambda function, items: grid.map(function, items, chunk=1).wait(PATIENCE_S)


@contextlib.contextmanager
def distributed_map() -> Iterator[Map]:
    """Dask by itself: the function runs in the worker."""
    from distributed import Client

    with cluster() as running, Client(running) as client:  # type: ignore[no-untyped-call]
        yield lambda function, items: list(client.gather(client.map(function, items, pure=False)))


@contextlib.contextmanager
def ipyparallel_map(chunk: int = 1) -> Iterator[Map]:
    """ipyparallel's load-balanced map over two engines; its default is one item in a message."""
    import ipyparallel as ipp  # type: ignore[import-untyped]

    with ipp.Cluster(n=WORKERS, log_level=40) as client:
        client[:].execute(f"import sys; sys.path.insert(0, {str(HERE)!r})", block=True)
        view = client.load_balanced_view()
        yield lambda function, items: list(view.map(function, items, chunksize=chunk, block=True))


@contextlib.contextmanager
def bare_map() -> Iterator[Map]:
    """Two processes of this program, with nothing around the function: what this machine gives at this moment."""
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        yield lambda function, items: pool.map(function, items, chunksize=1)


SYSTEMS: Final[dict[str, System]] = {
    "local()": local_map,
    "volunteers, quorum 1": volunteers_map,
    "dask()": dask_map,
    "Dask alone": distributed_map,
    "ipyparallel": ipyparallel_map,
    "two bare processes": bare_map,
}
