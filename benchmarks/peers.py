"""What other systems do with trivial tasks on this machine, beside the server's rates.

None of them is the same thing. dramatiq: a Redis queue, on disk once a second. dask.distributed and ipyparallel: tasks
in the memory of one scheduler. None replicates, validates, signs or speaks TLS; a task is done once where DSage does
two replicas on machines that do not trust one another.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from figures import figure, say
from lab import wait_for

TASKS = 5_000
CHUNK = 50
WORKERS = 2
BOINC = """
     BOINC, quoted and not run here. Its server of 21 August 2026 on a machine like this one (2 cores, both in use;
     MariaDB flushed at every commit, FastCGI under lighttpd, quorum 2, no TLS, no files), full cycle to credited:
       up to 1 task a request    about 155 replicas/s (244 sent, validation behind)
       up to 10                  about 195 replicas/s (370 to 440 sent)
       dispatch alone, 50        505 replicas/s"""
BOINC_RATES = {1: 155.0, 10: 195.0}


def peers(rates: Mapping[int, float]) -> None:
    """Run each peer, and set it beside the server's rate at the same tasks a call, if that was measured."""
    say(BOINC)
    found = {
        "dramatiq + Redis (file synced each second)": (1, dramatiq),
        "dask.distributed, default settings": (1, dask),
        "ipyparallel, chunks of 1": (1, lambda: ipyparallel(1)),
        f"ipyparallel, chunks of {CHUNK}": (CHUNK, lambda: ipyparallel(CHUNK)),
    }
    for name, (batch, run) in found.items():
        try:
            rate = run()
        except (ImportError, FileNotFoundError) as error:
            say(f"     {name} is not here: {error}")
            continue
        if batch in rates:
            figure(
                f"server: {batch} a call, beside a peer", rates[batch], "replicas/s", better="higher", peer=(name, rate)
            )
        else:
            figure(f"peer: {name}", rate, "tasks/s", better="higher")
    for batch in BOINC_RATES.keys() & rates.keys():
        figure(f"server: {batch} a call, beside a peer as measured earlier", rates[batch], "replicas/s",
               better="higher", peer=("BOINC, FastCGI", BOINC_RATES[batch]))  # fmt: skip


def dramatiq() -> float:
    """Tasks a second from the first one enqueued to the last one run, by two worker processes of four threads."""
    with _redis() as url:
        os.environ["DSAGE_BENCH_REDIS"] = url
        import peer_actor

        here = Path(__file__).parent
        worker = [str(Path(sys.executable).with_name("dramatiq")), "peer_actor", "--processes", str(WORKERS)]
        with subprocess.Popen([*worker, "--threads", "4", "--path", str(here)], stderr=subprocess.DEVNULL) as process:
            try:
                peer_actor.count.send(0)
                wait_for(lambda: peer_actor.counter.get(peer_actor.DONE))
                return _timed(lambda: _enqueue(peer_actor))
            finally:
                process.terminate()


def _enqueue(actor: object) -> None:
    count, counter = actor.count, actor.counter  # type: ignore[attr-defined]
    for number in range(TASKS):
        count.send(number)
    wait_for(lambda: int(counter.get("done")) > TASKS)


def dask() -> float:
    """Tasks a second through one scheduler and two worker processes."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,  # type: ignore[no-untyped-call]
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        client.gather(client.map(_same, range(100), key="warm"))
        return _timed(lambda: client.gather(client.map(_same, range(TASKS), key="same")))


def ipyparallel(chunk: int) -> float:
    """Tasks a second through the load-balanced view and two engines."""
    import ipyparallel as ipp  # type: ignore[import-untyped]

    with ipp.Cluster(n=WORKERS, log_level=40) as client:
        view = client.load_balanced_view()
        same = ipp.interactive(_same)  # engines cannot import this module
        view.map(same, range(10), chunksize=1, block=True)
        tasks = TASKS if chunk == 1 else 20 * TASKS
        return _timed(lambda: view.map(same, range(tasks), chunksize=chunk, block=True), tasks)


def _same(number: int) -> int:
    return number


def _timed(work: Callable[[], object], tasks: int = TASKS) -> float:
    begin = time.perf_counter()
    work()
    return tasks / (time.perf_counter() - begin)


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    """Run a Redis of our own on a socket file, append-only file synced each second. Raises FileNotFoundError."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("redis-server; apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="dsage-redis-") as folder:
        socket = Path(folder) / "socket"
        settings = ["--port", "0", "--unixsocket", str(socket), "--dir", folder, "--save", "", "--appendonly", "yes"]
        with subprocess.Popen([program, *settings, "--appendfsync", "everysec"], stdout=subprocess.DEVNULL) as process:
            try:
                wait_for(socket.exists)
                yield f"unix://{socket}"
            finally:
                process.terminate()


if __name__ == "__main__":
    peers({})
