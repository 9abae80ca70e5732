"""A stand-in for the agent behind the manager: an `Owner` in this process that remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from dsage.errors import DSageError, UsageError
from dsage.wire import Left, Privacy, TeamView, TeamWish
from dsage_client.door.words import Device, Done, Membership, Newcomer, Running, Screensaver, Status
from dsage_client.guest.preferences import Preferences, Window
from dsage_client.guest.reasons import Reason, Work
from dsage_client.guest.seen import Presence

NOW = 1_795_363_200.0
HOSTILE = '<img src="https://evil.invalid/x" onerror="document.title=1"><script>document.title=2</script>'
LINK = f"https://lab.example:8443/join#v=1&id=lab&ca={'a' * 64}&root={'b' * 64}"
CODE = "single-use-code"


def busy_status() -> Status:
    """An agent that works for two servers, one of them hostile in its words."""
    return Status(
        at=NOW, version="0.1.0", pid=1, work=Work.RUN, reason=Reason.WORKING,
        sentence="Computing: nobody has used this computer for 12 minutes", since=NOW - 720,
        presence=Presence(idle_s=720.0, quality="event", sensor="x11"),
        sandbox="bubblewrap",
        running=[
            Running(
                server="lab", unit=4711, project="factor", title="Factors of 2^1277-1", fraction=0.4321, cpu_s=3725,
                since=NOW - 3600,
            ),
            Running(server="dark", unit=7, project="waves", title=HOSTILE, cpu_s=12, since=NOW - 15, held=True),
        ],
        servers=[
            Membership(
                server="lab", name="Number Lab", url="https://lab.example:8443", pages="https://lab.example",
                pseudonym="steady-otter-417", reason=Reason.WORKING, sentence="At work on its units.", connected=True,
                granted=1234.5, pending=12.25, team="Night owls", page="https://lab.example/u/steady-otter-417",
                shown=Privacy(leaderboard=True),
                devices=[Device(name="desk", seen=NOW - 10, here=True), Device(name="", seen=NOW - 90000)],
                projects={"factor": "Factors of Mersenne numbers", "render": "A picture of ten thousand tiles"},
            ),
            Membership(
                server="dark", name=HOSTILE, url="https://dark.example", pages="javascript:alert(1)",
                pseudonym="brisk-wren-203", reason=Reason.SERVER_AWAY, page="javascript:alert(2)",
                sentence="The server does not answer; asked again at 15:30.", projects={"waves": HOSTILE},
            ),
        ],
    )  # fmt: skip


class OwnerStand:
    """An agent without work. `asked` is all it was asked, in order; `refuses` maps a wish to the error it gets."""

    def __init__(self) -> None:
        self.now = busy_status()
        self.kept = Preferences(
            hours=(
                Window(days=("mon", "tue", "wed", "thu", "fri"), start="18:00", end="08:00"),
                Window(days=("sat", "sun")),
            ),
            exclusive_apps=("steam",),
        )
        self.asked: list[tuple[Any, ...]] = []
        self.saver = Screensaver()
        self.told = True
        self.refuses: dict[str, DSageError] = {}
        self.lines = ["12:00:01 joined lab.example as steady-otter-417", f"12:00:02 {HOSTILE}"]
        self.ended = [
            Done(
                at=NOW - 100 * n, server="lab", unit=4700 - n, project="factor", title="Factors of 2^1277-1",
                status=status, cpu_s=61.5 * n, reason=reason,
            )
            for n, (status, reason) in enumerate(
                [("done", ""), ("done", ""), ("failed", "memory"), ("returned", ""), ("aborted", ""), ("done", "")]
            )
        ]  # fmt: skip
        self._news = asyncio.Condition()
        self._changes = 0
        self.followers = 0

    async def change(self, **fields: Any) -> Status:
        """Replace fields of the status, and tell those who follow it."""
        async with self._news:
            self.now = msgspec.structs.replace(self.now, **fields)
            self._changes += 1
            self._news.notify_all()
        return self.now

    async def status(self) -> Status:
        return self.now

    async def follow(self) -> AsyncIterator[Status]:
        self.followers += 1
        try:
            while True:
                seen = self._changes
                yield self.now
                async with self._news:
                    await self._news.wait_for(lambda: self._changes > seen)  # noqa: B023 - used before it changes
        finally:
            self.followers -= 1

    async def pause(self, duration: str = "") -> Status:
        self._note("pause", duration)
        if duration not in ("30m", "1h", "3h", "tomorrow", ""):
            raise UsageError(f"{duration!r} is no duration")
        return await self.change(
            work=Work.HOLD, reason=Reason.PAUSED, sentence="Paused by you until 15:30", paused=True, until=NOW + 1800
        )

    async def resume(self) -> Status:
        self._note("resume")
        return await self.change(
            work=Work.RUN, reason=Reason.WORKING, sentence="Computing", paused=False, finishing=False, until=None
        )

    async def finish(self) -> Status:
        self._note("finish")
        return await self.change(reason=Reason.FINISHING, sentence="Finishing what is begun", finishing=True)

    async def always(self) -> Status:
        self._note("always")
        return await self.change(in_use_stops=False)

    async def preferences(self) -> Preferences:
        return self.kept

    async def prefer(self, changes: dict[str, Any]) -> Preferences:
        self._note("prefer", changes)
        self.kept = self.kept.changed(changes)
        return self.kept

    async def log(self, most: int = 100) -> list[str]:
        return self.lines[-most:]

    async def done(self, most: int = 100) -> list[Done]:
        return self.ended[:most]

    async def present(self, presence: Presence) -> None:
        self._note("present", presence)

    async def join(self, link: str, newcomer: Newcomer | None = None) -> Status:
        self._note("join", link, newcomer)
        return self.now

    async def leave(self, server: str, *, erase: bool = False) -> Left | None:
        self._note("leave", server, erase)
        gone = next(member for member in self.now.servers if member.server == server)
        await self.change(servers=[member for member in self.now.servers if member is not gone])
        others = sum(not device.here for device in gone.devices)
        return Left(returned=0, erased=erase and not others, others=others) if self.told else None

    async def privacy(self, server: str, shown: Privacy) -> Status:
        self._note("privacy", server, shown)
        next(member for member in self.now.servers if member.server == server).shown = shown
        return await self.change()

    async def team(self, server: str, wish: TeamWish | None = None) -> TeamView:
        self._note("team", server, wish)
        return TeamView()

    async def view(self) -> None:
        self._note("view")

    async def screensaver(self, *, use: bool = False) -> Screensaver:
        if use:
            self._note("screensaver")
            self.saver = Screensaver(chosen=True)
        return self.saver

    async def link(self, server: str = "") -> str:
        self._note("link", server)
        return f"{LINK}&code={CODE}"

    async def page(self, server: str = "") -> str:
        self._note("page", server)
        return "http://localhost:8000/login/once"

    async def manager(self, invite: str = "") -> str:
        return ""

    async def stop(self) -> None:
        self._note("stop")

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if error := self.refuses.get(what[0]):
            raise error
