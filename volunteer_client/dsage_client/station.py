"""A whole client: its parts for the servers it works for, the sandbox and cores that they share, its owner's wishes.

What may be done is decided by its `conduct`; the station sees to it that it is done at once, and says so to everybody
who asks at the door.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dsage.errors import Conflict, DSageError, NotFound, UsageError
from dsage.trust.invite import Link
from dsage.wire import HostInfo, Left, Privacy, TeamView, TeamWish
from dsage_client import account, membership, parts, statement
from dsage_client.chronicle import Chronicle
from dsage_client.conduct import Conduct
from dsage_client.door.words import Done, Newcomer, Screensaver, Status
from dsage_client.events import Event, Tell
from dsage_client.following import Followed
from dsage_client.gate import Gate
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.guest.seen import Presence
from dsage_client.install.screensaver import Saver
from dsage_client.parts import Part
from dsage_client.rationing import ration
from dsage_client.readings import Readings
from dsage_client.runner import Room, Runner
from dsage_client.settings import Settings
from dsage_client.words import _, speak

if TYPE_CHECKING:
    from dsage_client.manager.app import Site

LOOK_S: Final = 5.0
"""How often the computer is looked at while nothing happens."""
PROGRESS_S: Final = 1.0
"""How often the progress of running units is news."""
ACCOUNT_S: Final = 2.0
"""How often it is seen whether an account is worth asking about."""
NOT_JOINED: Final = (
    "this computer has not joined a server yet: give the link in another terminal (`dsage join LINK`), or in "
    "the manager (`dsage manager`)"
)


class Station:
    """One client at work. `run` goes on until `stop` is called or no part can go on."""

    def __init__(
        self,
        settings: Settings,
        runner: Runner,
        readings: Readings,
        tell: Tell,
        info: Callable[[Settings, Preferences], HostInfo],
        *,
        sandbox: str,
        sensor: Callable[[], Presence],
    ) -> None:
        self._settings = settings
        self._runner = runner
        self._conduct = Conduct(settings, readings, sensor)
        self._chronicle = Chronicle(settings.log_file, settings.done_file)
        self._print = tell
        self._info = info
        self._sandbox = sandbox
        self._gate = Gate(settings.slots)
        self._parts: dict[str, Part] = {}
        self._look = asyncio.Event()
        self._news = asyncio.Event()
        self._away = False
        self._ending = asyncio.Event()
        self._followed = Followed(settings.status_file, self.tell)
        self._manager: Site | None = None
        self._viewed = 0.0
        speak(self._conduct.preferences.language)
        if self._conduct.damage:
            self.tell(Event(kind="preferences", text=self._conduct.damage))

    # -- living ----------------------------------------------------------------------------------------------

    def tell(self, event: Event, server: str = "") -> None:
        """Tell the owner of an event of the client, or of its part for one server."""
        self._chronicle.heard(event, server)
        if event.kind == "accepted" and server in self._parts:
            self._parts[server].news = True
        self._print(event)
        self._look.set()

    async def run(self, found: list[tuple[Settings, membership.Membership]], *, welcome: bool = False) -> None:
        """Work for these servers until told to stop; `welcome` who has just joined. Raises what ended the last part."""
        if welcome:
            self._conduct.welcome()
        if not found:
            self.tell(Event(kind="not-joined", text=NOT_JOINED))
        self._decide()
        for own, member in found:
            self._start(own, member)
        governing = [
            asyncio.create_task(self._govern(), name="govern"),
            asyncio.create_task(self._move(), name="move"),
            asyncio.create_task(ration(self._gate, self._runner), name="ration"),
            asyncio.create_task(self._account(), name="account"),
            asyncio.create_task(self._ending.wait(), name="ending"),
        ]
        try:
            await asyncio.wait(governing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in governing:
                task.cancel()
            results = await asyncio.gather(*governing, return_exceptions=True)
            results += await self._leave()
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
        ended = [part.ended for part in self._parts.values() if part.ended is not None]
        if ended and len(ended) == len(self._parts):
            raise ended[-1]

    async def stop(self) -> None:
        """End in good order."""
        self._ending.set()

    def end(self) -> None:
        """The same, from a signal's handler."""
        self._ending.set()

    async def _leave(self) -> list[BaseException | None]:
        """End every part, and return how each ended."""
        for part in self._parts.values():
            part.agent.stop()
        tasks = [part.task for part in self._parts.values() if part.task]
        ends: list[BaseException | None] = list(await asyncio.gather(*tasks, return_exceptions=True))
        if self._manager is not None:
            await self._manager.close()
        await self._runner.close()
        self._conduct.standing = Standing(work=Work.LEAVE, reason=Reason.STOPPED)
        self._publish()
        return ends

    def _limit(self) -> None:
        """Hold every part to what the preferences say of line, memory and disk."""
        self._gate.line.bytes_s = self._conduct.preferences.network_bytes_s
        self._gate.room = Room.of_host(self._conduct.preferences.memory_percent)
        for part in self._parts.values():
            part.agent.limit(parts.disk_bytes(part.settings, self._conduct.preferences))

    def _start(self, own: Settings, member: membership.Membership) -> Part:
        server = member.server.server_id
        self._gate.join(server, self._conduct.preferences.shares.get(server, 100))
        part = parts.opened(
            own, member, lambda own: self._info(own, self._conduct.preferences), self._runner, self._gate,
            lambda event: self.tell(event, server),
        )  # fmt: skip
        self._parts[server] = part
        self._limit()
        part.task = asyncio.create_task(self._work(part), name=f"part-{server}")
        part.task.add_done_callback(self._watch)
        return part

    async def _work(self, part: Part) -> None:
        try:
            await part.agent.run()
        except DSageError as error:
            part.ended = error
            self.tell(Event(kind="ended", text=f"{part.member.server.url}: {error.message}. {error.hint}"), part.server)
            if all(other.ended is not None for other in self._parts.values()):
                self._ending.set()

    def _watch(self, task: asyncio.Task[None]) -> None:
        """End all if a part ended as nobody has thought of: that is not to be passed over in silence."""
        if not task.cancelled() and task.exception() is not None:
            self._ending.set()

    # -- deciding --------------------------------------------------------------------------------------------

    async def _govern(self) -> None:
        """Decide anew whenever something has happened, when the last decision runs out, and now and then."""
        while True:
            self._look.clear()
            self._decide()
            self._publish()
            delay_s = PROGRESS_S if self._gate.running and self._gate.open else LOOK_S
            if self._conduct.standing.until is not None:
                delay_s = min(delay_s, max(0.05, self._conduct.standing.until - time.time()))
            try:
                async with asyncio.timeout(delay_s):
                    await self._look.wait()
            except TimeoutError:
                pass

    def _decide(self) -> None:
        before = self._conduct.standing
        standing = self._conduct.decide(running=self._held())
        if standing != before:
            self._apply(before, standing)

    def _apply(self, before: Standing, standing: Standing) -> None:
        """Do at once what cannot wait: whoever came back to the computer has it to themselves now."""
        if standing.work in (Work.HOLD, Work.LEAVE):
            self._runner.pause()
        elif before.work in (Work.HOLD, Work.LEAVE):
            self._runner.resume()
        self._gate.set(standing)
        self._news.set()
        for part in self._parts.values():
            part.agent.look()

    async def _move(self) -> None:
        """Put units away and take them up again, one after the other, as the last decision asks."""
        while True:
            away = self._conduct.standing.work is Work.LEAVE
            if away == self._away:
                self._news.clear()
                if away == (self._conduct.standing.work is Work.LEAVE):
                    await self._news.wait()
                continue
            self._away = away
            if away:
                await asyncio.gather(*(part.agent.slots.put_away() for part in self._parts.values()))
                await self._runner.rest()
            else:
                for part in self._parts.values():
                    part.agent.slots.take_up()
            for part in self._parts.values():
                part.agent.look()

    async def _account(self) -> None:
        """Keep what is known of the accounts fresh."""
        while True:
            for part in list(self._parts.values()):
                if await part.refresh():
                    self._look.set()
            await asyncio.sleep(ACCOUNT_S)

    def _held(self) -> int:
        return sum(len(part.agent.slots) for part in self._parts.values())

    # -- saying ----------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Say what has changed, if anything has."""
        self._followed.publish(
            statement.client(
                self._conduct, list(self._parts.values()), self._gate, sandbox=self._sandbox, viewed=self._viewed
            )
        )

    # -- what the owner may ask (door/owner.py) ----------------------------------------------------------------

    def attend(self, session: object, presence: Presence | None) -> None:
        """A session says what it knows of its user; None when it has gone. What follows from it is done at once."""
        self._conduct.sessions.say(session, presence)
        self._decide()
        if self._gate.open:
            self._runner.resume()  # a helper may have stopped what runs, on a status that had just changed
        self._look.set()

    async def status(self) -> Status:
        """What the client does now, and why."""
        self._decide()
        self._publish()
        return self._followed.said

    async def follow(self) -> AsyncIterator[Status]:
        """The status now, and again whenever it has changed."""
        yield await self.status()
        while True:
            yield await self._followed.next()

    async def pause(self, duration: str = "") -> Status:
        """Pause."""
        self._conduct.pause(duration)
        return await self._chosen()

    async def resume(self) -> Status:
        """End a pause, and finishing."""
        self._conduct.resume()
        return await self._chosen()

    async def finish(self) -> Status:
        """Begin nothing new; stop when the last unit is done."""
        self._conduct.finish()
        return await self._chosen()

    async def always(self) -> Status:
        """Compute beside the user until the end of the day."""
        self._conduct.always()
        return await self._chosen()

    async def preferences(self) -> Preferences:
        """The preferences."""
        return self._conduct.preferences

    async def prefer(self, changes: dict[str, Any]) -> Preferences:
        """Change some preferences: they hold at once."""
        self._conduct.prefer(changes)
        fresh = self._conduct.preferences
        speak(fresh.language)
        self._limit()
        for part in self._parts.values():
            self._gate.join(part.server, fresh.shares.get(part.server, 100))
            part.agent.session.introduce(self._info(part.settings, fresh))
            part.agent.look()
        await self.status()
        return fresh

    async def log(self, most: int = 100) -> list[str]:
        """The last lines of the log."""
        return await asyncio.to_thread(self._chronicle.lines, most)

    async def done(self, most: int = 100) -> list[Done]:
        """The units that ended here last."""
        return self._chronicle.ended(most)

    async def present(self, presence: Presence) -> None:
        """Say what somebody without a connection of their own knows of the user."""
        self.attend(self, presence)

    async def join(self, link: str, newcomer: Newcomer | None = None) -> Status:
        """Give time to one more server, and show at once that it works. Raises what `membership.enrol` raises."""
        wanted = Link.parse(link)
        present = self._parts.get(wanted.server_id)
        if present is not None and present.ended is None:
            raise Conflict(
                f"this computer works for {present.member.server.url} already", hint="There is nothing to do."
            )
        own = self._settings.of(wanted.server_id)
        member = membership.known(own, wanted)
        if isinstance(member, Link):
            member = await membership.enrol(own, member, membership.client_key(own), time.time(), newcomer)
        self.tell(Event(kind="joined", text=f"joined {member.server.url} as {member.pseudonym}"), wanted.server_id)
        self._start(own, member)
        self._conduct.welcome()
        return await self._chosen()

    async def leave(self, server: str, *, erase: bool = False) -> Left | None:
        """Hand back what is held of a server, and forget it. Raises NotFound; ServerAway, and the work for it goes on,
        if it could not be told to `erase`."""
        part = self._part(server)
        part.agent.give_up()
        if part.task is not None:
            await asyncio.gather(part.task, return_exceptions=True)
        try:
            left = await parts.farewell(part.settings, part.member, erase=erase)
        except DSageError:
            self._start(part.settings, part.member)
            raise
        del self._parts[part.server]
        await asyncio.to_thread(parts.forget, part.settings)
        said = parts.parting(left, erase=erase)
        self.tell(Event(kind="left", text=f"left {part.member.server.url}; its key and data are removed here{said}"))
        await self.status()
        return left

    async def link(self, server: str = "") -> str:
        """A link by which another computer joins the same account."""
        return await account.link(self._part(server or next(iter(self._parts), "")))

    async def page(self, server: str = "") -> str:
        """The address of the volunteer's own page. Raises NotFound, ServerAway, TrustError."""
        return await account.page(self._part(server or next(iter(self._parts), "")))

    async def privacy(self, server: str, shown: Privacy) -> Status:
        """Let others see this of the volunteer, and no more. Raises NotFound, ServerAway."""
        await account.privacy(self._part(server), shown)
        return await self.status()

    async def team(self, server: str, wish: TeamWish | None = None) -> TeamView:
        """The volunteer's team at a server, after a wish about it; the code of an invite is made a link."""
        view = await account.team(self._part(server), wish)
        if wish is not None:
            await self.status()
        return view

    async def view(self) -> None:
        """Let the session's helper show the full-screen view. Raises UsageError if there is none."""
        if not self._conduct.sessions:
            raise UsageError(
                _("the session helper does not run, and the client itself has no screen"),
                hint=_("`dsage saver --full-screen` shows it too; `dsage tray` starts the helper."),
            )
        self._viewed = time.time()
        await self.status()

    async def screensaver(self, *, use: bool = False) -> Screensaver:
        """Whether the owner's screensaver shows DSage. Raises UsageError, StorageFull."""
        own = Saver(Path.home(), self._settings.shared)
        return await asyncio.to_thread(own.use if use else own.look)

    def _part(self, server: str) -> Part:
        """Return the part for a server, by its id or address. Raises NotFound."""
        for part in self._parts.values():
            if server in (part.server, part.member.server.url):
                return part
        raise NotFound(f"this computer does not work for {server!r}", hint="`dsage status` lists its servers.")

    async def manager(self, invite: str = "") -> str:
        """The address of the manager's page, good once and for a minute; with an invite, of the page to join by."""
        if self._manager is None:
            from dsage_client.manager.app import serve

            self._manager = await serve(self)
        return self._manager.link(invite)

    async def _chosen(self) -> Status:
        """Hold to what was chosen, and keep it. It holds also where it cannot be kept."""
        try:
            self._conduct.keep()
        except OSError as error:
            text = f"this choice cannot be kept over a restart: {error.strerror}"
            self.tell(Event(kind="storage", text=text))
        return await self.status()
