"""Record a server's home as one release made it: `PYTHONPATH=(that release's packages) python record.py NAME`.

It holds a run that is done, and one that is half way: answers that steps have folded, one that none has, one that
lacks a second opinion, units that are out under leases, and one that waits. Its keys belong to nobody. Signatures
are made to last a hundred years, so that the recording does.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import sqlite3
import sys
import tarfile
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from dsage import codec
from dsage_server.testing import World, running_server

DATABASE = "server/dsage.sqlite"
LEFT_OUT = ("work", "lock", "dsage.sqlite", "login.json", "app.py")
DAYS = 36500
LASTING = {
    "dsage.trust.ceremony.ROOT_DAYS": DAYS,
    "dsage.trust.ceremony.CODE_KEY_DAYS": DAYS,
    "dsage.trust.tls.AUTHORITY_DAYS": DAYS,
    "dsage.researcher.RUN_DAYS": DAYS,
    "dsage_server.signing.UNIT_VALID_S": DAYS * 86400.0,
}


async def live(folder: Path) -> dict[str, Any]:
    """Let a server live for a moment, and return what its people will still know of it."""
    async with running_server(folder) as running, AsyncExitStack() as stack:
        world = World(running, folder, stack)
        one, two = await world.host(), await world.host()
        done, half = await world.run(), await world.run()
        await done.make(1, 2, quorum=2)
        for host in (one, two):
            await host.report(await host.fetch(2), [1, 2])
        await done.commit(folded=[each.unit for each in (await done.answers()).answers])
        await done.commit(finished=True, result=codec.encode(3))
        await half.make(10, 11, 12)
        await one.report(await one.fetch(3), [10, 11, 12])
        await half.commit(folded=[each.unit for each in (await half.answers()).answers][:2])
        await half.make(13, quorum=2)
        await one.report(await one.fetch(1), [13])
        await half.make(14)
        out = await two.fetch(2)
        await half.make(15)
        for name, host in (("one", one), ("two", two)):
            host.key.save(folder / "people" / f"{name}.key")
        leases = [{"replica": each.replica, "lease": each.lease.hex()} for each in out]
        return {"done": done.run, "half": half.run, "fence": half.fence, "step": half.step, "out": leases}


def record(target: Path) -> None:
    """Write the recording: the home's files, and its database as SQL."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = asyncio.run(live(folder))
        connection = sqlite3.connect(folder / DATABASE)
        dump = "\n".join(connection.iterdump())
        connection.close()
        contents = {"dsage.sql": dump.encode(), "known.json": json.dumps(known).encode()}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not any(part.startswith(LEFT_OUT) for part in path.relative_to(folder).parts):
                contents[str(path.relative_to(folder))] = path.read_bytes()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for member, data in contents.items():
                entry = tarfile.TarInfo(member)
                entry.size, entry.mode = len(data), 0o600
                archive.addfile(entry, io.BytesIO(data))
        target.write_bytes(gzip.compress(packed.getvalue(), mtime=0))


if __name__ == "__main__":
    with ExitStack() as patches:
        for place, value in LASTING.items():
            patches.enter_context(mock.patch(place, value))
        record(Path(__file__).with_name(f"{sys.argv[1]}.tar.gz"))
