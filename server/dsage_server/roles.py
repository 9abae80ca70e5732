"""What a server process does beside answering: the roles, and the endless tasks of each.

With SQLite one process has every role. On PostgreSQL a process may have some of them, and each role may be had by
several processes at once: what they change is guarded by the rows themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

from dsage.errors import Conflict, UsageError
from dsage_server import timekeeping
from dsage_server.bookkeeping import keep_books
from dsage_server.contesting import decide_contests
from dsage_server.counting import count
from dsage_server.discovering import confirm_discoveries
from dsage_server.exporting import EXPORT, export_daily
from dsage_server.hub import Hub
from dsage_server.knowing import send_known
from dsage_server.looking_back import look_back
from dsage_server.maintenance import heed
from dsage_server.outlying import watch
from dsage_server.own_checks import check_some
from dsage_server.retention.archive import ARCHIVE, archive_steadily
from dsage_server.settings import Settings
from dsage_server.store import claims, processes
from dsage_validator.boxes import Boxes

log = logging.getLogger(__name__)

API: Final = "api"
VALIDATOR: Final = "validator"
PROJECTOR: Final = "projector"
SWEEPER: Final = "sweeper"
HOSTING: Final = "hosting"
ROLES: Final = {
    API: "answers clients, researchers and visitors of the pages",
    VALIDATOR: "judges the answers of apps that bring checks of their own",
    PROJECTOR: "adds up credit, looks back after proven lies, and looks for hosts that stand out",
    SWEEPER: "expires leases, signs again, collects blobs, archives runs",
    HOSTING: "drives the runs that researchers let the server drive, in a process of its own",
}
REFRESH_S: Final = 10.0

Task = tuple[str, Callable[[], Awaitable[None]]]


def parse(text: str) -> frozenset[str]:
    """Return the roles of a list with commas; all if it is empty. Raises UsageError."""
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    unknown = sorted(names - ROLES.keys())
    if unknown:
        hint = "; ".join(f"{name} {what}" for name, what in ROLES.items())
        raise UsageError(f"there is no role {', '.join(unknown)}", hint=f"The roles: {hint}.")
    return names or frozenset(ROLES)


def check(roles: frozenset[str], *, shared: bool) -> None:
    """Raise UsageError if roles are to be parted on a database that only one process may have."""
    if not shared and roles != ROLES.keys():
        raise UsageError(
            "SQLite belongs to one process, which has every role",
            hint="Roles apart need PostgreSQL: dsage serve --store postgresql://... (docs/operators.md).",
        )


def tasks(hub: Hub, roles: frozenset[str], root_file: Path, settings: Settings) -> list[Task]:
    """Return the endless tasks of a process with these roles, but for those that need a sandbox or a listener."""
    found: list[Task] = [
        ("noting that the server is alive", partial(timekeeping.keep_alive, hub)),
        ("watching root.json", partial(timekeeping.watch_root, hub, root_file)),
    ]
    if API in roles:
        found.append(("calling hosts that wait for work", partial(timekeeping.wake_hosts, hub)))
        found.append(("heeding what the operator announced", partial(heed, hub)))
        found.append(("confirming discoveries", partial(confirm_discoveries, hub)))
        found.append(("deciding contested answers", partial(decide_contests, hub)))
        found.append(("sending units whose answer is known", partial(send_known, hub)))
        found.append(("writing the files for statistics sites", partial(export_daily, hub, settings.folder / EXPORT)))
    if PROJECTOR in roles:
        found.append(("adding up credit", partial(timekeeping.fold_credit, hub)))
        found.append(("keeping the books", partial(keep_books, hub)))
        found.append(("counting who is here", partial(count, hub.store, hub.clock)))
        found.append(("looking back after lies", partial(look_back, hub)))
        found.append(("looking for what stands out", partial(watch, hub)))
    if SWEEPER in roles:
        found += [
            ("expiring leases", partial(timekeeping.expire_leases, hub)),
            ("signing again", partial(timekeeping.renew_signatures, hub)),
            ("collecting blobs", hub.blobs.keep_collecting),
        ]
        files, after_s = settings.folder / ARCHIVE, settings.archive_after_days * 86400.0
        archiving = partial(archive_steadily, hub.blobs, files, hub.clock, after_s, hub.retired)
        found.append(("archiving", archiving))
    if not hub.store.shared:
        found.append(("writing the log back", partial(timekeeping.write_back, hub)))
    else:
        found += [
            ("keeping in touch with other processes", hub.neighbours.keep_in_touch),
            ("looking what other processes did", hub.neighbours.look_around),
        ]
    return found


def checking(hub: Hub, boxes: Boxes, work_dir: Path) -> list[Task]:
    """Return the tasks of the validator."""
    check = partial(timekeeping.check_answers, hub, boxes, work_dir)
    hurried: list[Task] = [("checking answers", partial(check, hurried=True))] * timekeeping.HURRIED_CHECKERS
    return [
        *hurried,
        ("checking answers of cancelled units", partial(check, hurried=False)),
        ("computing some units itself", partial(check_some, hub, boxes, work_dir)),
    ]


async def keep_number(hub: Hub, place: processes.Place) -> None:
    """Say now and then that this process lives, and free what those claimed that do not."""
    while True:
        await asyncio.sleep(REFRESH_S)
        now = hub.clock()
        if not await hub.store.write(lambda c, t=now: processes.refresh(c, place, t)):  # type: ignore[misc]
            raise Conflict(
                f"this process was silent for more than {processes.GONE_S:.0f} s, and its number went to another",
                hint="Start it again. If the computer slept, that is why.",
            )
        for slot in await hub.store.read(lambda c, t=now: processes.gone(c, t - processes.GONE_S)):  # type: ignore[misc]
            await hub.store.write(lambda c, s=slot: claims.release_all(c, s))  # type: ignore[misc]


def start(stack: AsyncExitStack, group: Iterable[Task]) -> None:
    """Start endless tasks; they end with the stack, and one that fails ends the server."""
    running = [asyncio.create_task(timekeeping.steadily(what, work)) for what, work in group]
    main = asyncio.current_task()

    def failed(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and main is not None:
            log.error("a background task failed", exc_info=task.exception())
            main.cancel()

    for task in running:
        task.add_done_callback(failed)

    async def stop() -> None:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    stack.push_async_callback(stop)
