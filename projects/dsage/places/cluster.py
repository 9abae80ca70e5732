"""A Dask cluster of machines of one's own: Dask schedules, each unit runs in a box on one of its workers.

Dask pickles what it sends; that is only the name of our fixed runner (`cluster_worker.run_unit`) with bytes, numbers
and text. Arguments, answers and source travel inside as our own encoded bytes. Nothing is computed twice to be checked.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from dsage.errors import ServerAway, UsageError
from dsage.function import DistributedFunction
from dsage.places import cluster_worker
from dsage.places.book import Entry
from dsage.places.memory import MemoryPlace
from dsage.sandbox.level import Outcome

CONNECT_S: Final = 10.0
RECOUNT_S: Final = 2.0
"""How often the cluster's size is looked at: it may grow and shrink."""
AHEAD: Final = 2
"""Units sent for each thread of the cluster, so that none waits for the next one."""
LOST: Final = 3
"""How often a unit is sent again when the worker that had it, or its source, is gone."""


class ClusterPlace(MemoryPlace):
    """The workers of a Dask scheduler. `client` is an asynchronous `distributed.Client`."""

    def __init__(self, client: Any, threads: int) -> None:
        super().__init__(f"Dask at {client.scheduler.address}", AHEAD * max(threads, 1))
        self._client = client
        self._token = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._sources: dict[str, asyncio.Task[Any]] = {}
        self._counting = asyncio.get_running_loop().create_task(self._recount())

    @classmethod
    async def open(cls, address: Any) -> Self:
        """Connect to a scheduler: its address, a `distributed.Client`, or (None) what Dask's own configuration says.

        Raises UsageError if `distributed` is not installed or no address is known, ServerAway if nobody answers.
        """
        try:
            import dask
            from distributed import Client
        except ModuleNotFoundError as error:
            raise UsageError("this needs Dask", hint="Install it: pip install 'dsage[dask]'") from error
        known = address if address is not None else dask.config.get("scheduler-address", None)
        if known is None:
            raise UsageError(
                "no scheduler is known", hint="Give its address: dask('tcp://HOST:8786'), or a distributed.Client."
            )
        if not isinstance(known, str | Client):
            raise UsageError(f"{known!r} is not the address of a Dask scheduler, nor a distributed.Client")
        there: Any = known
        where, security = (known, None) if isinstance(known, str) else (there.scheduler.address, there.security)
        client: Any = Client(  # type: ignore[no-untyped-call]
            where, asynchronous=True, security=security, timeout=CONNECT_S, set_as_default=False
        )
        try:
            await client
        except (OSError, TimeoutError) as error:
            await client.close(timeout=CONNECT_S)
            raise ServerAway(
                f"no Dask scheduler answers at {where}", hint="Check the address; `dask scheduler` starts one."
            ) from error
        except ValueError as error:
            await client.close(timeout=CONNECT_S)
            raise UsageError(f"{where!r} is not the address of a Dask scheduler: {error}") from error
        threads = await client.nthreads()
        return cls(client, sum(threads.values()))

    async def about(self) -> dict[str, str]:
        """Return how many threads its workers have."""
        threads = await self._client.nthreads()
        return {"workers": str(len(threads)), "threads": str(sum(threads.values()))}

    async def execute(self, entry: Entry, inputs: dict[str, Path], on_output: Callable[[bytes], None]) -> Outcome:
        """Run one unit on a worker; what it prints comes with its end."""
        from distributed import CancelledError, KilledWorker

        files = await asyncio.to_thread(lambda: {name: path.read_bytes() for name, path in inputs.items()})
        number = f"{self._token}.{next(self._numbers)}"
        for _ in range(LOST):
            try:
                return await self._sent(entry, number, files)
            except (CancelledError, KilledWorker, OSError):
                self._sources.pop(entry.run.packed.sha256, None)
        return Outcome("failed", None, "lost", f"its worker was gone {LOST} times before it could answer", 0.0, 0.0)

    async def close(self) -> None:
        """Stop everything; the cluster itself goes on."""
        self._counting.cancel()
        await super().close()
        with suppress(OSError, TimeoutError):
            await self._client.run(cluster_worker.close, self._token)
        await self._client.close()

    async def _sent(self, entry: Entry, number: str, files: dict[str, bytes]) -> Outcome:
        packed, new = entry.run.packed, entry.new
        source = await self._source(packed.sha256, packed.data)
        limits = (new.cpu_s, new.wall_s, new.memory_bytes, new.disk_bytes, new.output_bytes)
        future = self._client.submit(
            cluster_worker.run_unit, number, source, packed.sha256, packed.entry, new.args, limits, files,
            packed.function.verify is not DistributedFunction.verify,
            key=f"dsage-{number}", pure=False, retries=0, priority=entry.run.priority,
        )  # fmt: skip
        try:
            status, value, reason, detail, cpu_s, wall_s, output = await future.result()
        except asyncio.CancelledError:
            if not future.done():
                await asyncio.shield(self._stop(future, number))
            raise
        return Outcome(status, value, reason, detail, cpu_s, wall_s, output)

    async def _stop(self, future: Any, number: str) -> None:
        with suppress(OSError, TimeoutError):
            await future.cancel()
            await self._client.run(cluster_worker.stop, number)

    async def _source(self, sha256: str, data: bytes) -> Any:
        """Return the future of an app's source, which goes to each worker once."""
        if sha256 not in self._sources:
            self._sources[sha256] = asyncio.ensure_future(self._client.scatter(data, hash=False))
        return await self._sources[sha256]

    async def _recount(self) -> None:
        while True:
            await asyncio.sleep(RECOUNT_S)
            with suppress(OSError, TimeoutError):
                threads = await self._client.nthreads()
                self.book.workers = AHEAD * max(sum(threads.values()), 1)
                self.changed()
