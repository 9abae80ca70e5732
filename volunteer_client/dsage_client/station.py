"""A whole client: its parts for the servers it works for, the sandbox and cores that they share, its owner's wishes.

What may be done is decided by `guest.policy` from what `readings` and the sessions see; the station sees to it that it
is done at once, and says so to everybody who asks at the door.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dsage import __version__
from dsage.errors import Conflict, DSageError, NotFound, StorageFull, TrustError, UsageError
from dsage.files import write_whole
from dsage.sandbox import processes
from dsage.sandbox.launch import outermost
from dsage.trust.invite import Link
from dsage.wire import HostInfo, Left, LinkCode, PageLink, Privacy, TeamView, TeamWish
from dsage_client import membership, parts, statement
from dsage_client.addresses import web_address
from dsage_client.chronicle import Chronicle
from dsage_client.door.words import Done, Newcomer, Screensaver, Status
from dsage_client.events import Event, Tell
from dsage_client.gate import Gate
from dsage_client.guest import choices as chosen
from dsage_client.guest import pauses, schedule
from dsage_client.guest import preferences as preferred
from dsage_client.guest.choices import Choices
from dsage_client.guest.policy import Memory, decide
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.guest.seen import Presence, Seen
from dsage_client.guest.sentences import sentence
from dsage_client.install.screensaver import Saver
from dsage_client.parts import Part
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
PERIOD_S: Final = 0.1
"""One turn of working and resting, where units may have a part of a core only."""
FORGET_S: Final = 30.0
"""A session that has said nothing of its user for so long knows nothing."""
NOT_JOINED: Final = (
    "this computer has not joined a server yet: give the link in another terminal (`dsage join LINK`), or in "
    "the manager (`dsage manager`)"
)
LOST_S: Final = 300.0
"""A helper that has gone was there for a reason: somebody may sit at that desktop still."""
WELCOME_S: Final = 120.0
"""Whoever has just joined sees the computer work for a moment, though they are at it."""


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
        self._readings = readings
        self._chronicle = Chronicle(settings.log_file, settings.done_file)
        self._print = tell
        self._info = info
        self._sandbox = sandbox
        self._sensor = sensor
        self._gate = Gate(settings.slots)
        self._parts: dict[str, Part] = {}
        self._sessions: dict[object, tuple[Presence, float]] = {}
        self._preferences, damage = preferred.load(settings.preferences_file)
        self._choices = chosen.load(settings.choices_file)
        self._memory = Memory()
        self._standing = Standing(work=Work.HOLD, reason=Reason.CONNECTING)
        self._since = time.time()
        self._lost_at = float("-inf")
        self._seen: Seen | None = None
        self._look = asyncio.Event()
        self._news = asyncio.Event()
        self._away = False
        self._ending = asyncio.Event()
        self._said: Status | None = None
        self._told = asyncio.Event()
        self._manager: Site | None = None
        self._viewed = 0.0
        speak(self._preferences.language)
        if damage:
            self.tell(Event(kind="preferences", text=damage))

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
            self._welcome()
        if not found:
            self.tell(Event(kind="not-joined", text=NOT_JOINED))
        self._decide()
        for own, member in found:
            self._start(own, member)
        governing = [
            asyncio.create_task(self._govern(), name="govern"),
            asyncio.create_task(self._move(), name="move"),
            asyncio.create_task(self._ration(), name="ration"),
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
        self._standing = Standing(work=Work.LEAVE, reason=Reason.STOPPED)
        self._publish()
        return ends

    def _limit(self) -> None:
        """Hold every part to what the preferences say of line, memory and disk."""
        self._gate.line.bytes_s = self._preferences.network_bytes_s
        self._gate.room = Room.of_host(self._preferences.memory_percent)
        for part in self._parts.values():
            part.agent.limit(parts.disk_bytes(part.settings, self._preferences))

    def _start(self, own: Settings, member: membership.Membership) -> Part:
        server = member.server.server_id
        self._gate.join(server, self._preferences.shares.get(server, 100))
        part = parts.opened(
            own, member, lambda own: self._info(own, self._preferences), self._runner, self._gate,
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
            if self._standing.until is not None:
                delay_s = min(delay_s, max(0.05, self._standing.until - time.time()))
            try:
                async with asyncio.timeout(delay_s):
                    await self._look.wait()
            except TimeoutError:
                pass

    def _decide(self) -> None:
        self._seen = self._readings.read(self._preferences, self._presence())
        standing, self._memory = decide(
            self._preferences, self._choices, self._seen, self._memory, running=self._held()
        )
        if (standing.work, standing.reason) != (self._standing.work, self._standing.reason):
            self._since = time.time()
        if standing != self._standing:
            self._apply(standing)

    def _apply(self, standing: Standing) -> None:
        """Do at once what cannot wait: whoever came back to the computer has it to themselves now."""
        before, self._standing = self._standing, standing
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
            away = self._standing.work is Work.LEAVE
            if away == self._away:
                self._news.clear()
                if away == (self._standing.work is Work.LEAVE):
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

    async def _ration(self) -> None:
        """Give units a part of each core's time, in turns of a tenth of a second; cores were counted off before."""
        resting = False
        while True:
            percent = self._standing.percent if self._gate.open and self._gate.running else 100
            if percent == 100:
                if resting and self._gate.open:
                    self._runner.resume()
                resting = False
                await asyncio.sleep(PERIOD_S if self._gate.running else 1.0)
                continue
            self._runner.resume()
            await asyncio.sleep(PERIOD_S * percent / 100)
            if self._gate.open:
                self._runner.pause()
            resting = True
            await asyncio.sleep(PERIOD_S * (100 - percent) / 100)

    async def _account(self) -> None:
        """Keep what is known of the accounts fresh."""
        while True:
            for part in list(self._parts.values()):
                if await part.refresh():
                    self._look.set()
            await asyncio.sleep(ACCOUNT_S)

    def _held(self) -> int:
        return sum(len(part.agent.slots) for part in self._parts.values())

    def _presence(self) -> tuple[Presence, ...]:
        """Return what each session knows of its user, and what this process sees itself."""
        now = time.monotonic()
        known = []
        for said, at in self._sessions.values():
            if now - at > FORGET_S:
                said = Presence(idle_s=None, sensor=said.sensor)
            elif said.idle_s is not None:
                said = msgspec.structs.replace(said, idle_s=said.idle_s + now - at)
            known.append(said)
        if not known and now - self._lost_at < LOST_S:
            known = [Presence(idle_s=None, sensor="the session helper has gone")]
        return tuple(known) or (self._sensor(),)

    # -- saying ----------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Tell followers, and write the status file, if something has changed."""
        status = self._status()
        if self._said is not None and msgspec.structs.replace(self._said, at=status.at) == status:
            return
        before, self._said = self._said, status
        if before is not None and status.work is not Work.RUN and status.sentence != before.sentence:
            self.tell(Event(kind="standing", text=status.sentence, data={"reason": status.reason}))
        elif before is not None and status.work is Work.RUN is not before.work:
            self.tell(Event(kind="standing", text=_("Computing goes on"), data={"reason": status.reason}))
        told, self._told = self._told, asyncio.Event()
        told.set()
        with suppress(OSError):
            write_whole(self._settings.status_file, msgspec.json.encode(status), private=True, durable=False)

    def _status(self) -> Status:
        now = time.time()
        running = [unit for part in self._parts.values() for unit in statement.running(part)]
        standing = statement.as_seen(self._standing, self._parts.values(), running, now)
        for unit in running:
            unit.held = not self._gate.open
        presence = None if self._seen is None else statement.nearest(self._seen.presence)
        return Status(
            at=now,
            version=__version__,
            pid=os.getpid(),
            work=standing.work,
            reason=standing.reason,
            sentence=sentence(standing, now=now),
            since=self._since,
            until=standing.until,
            paused=self._choices.pause is not None,
            finishing=self._choices.finish,
            presence=presence,
            idle_after_s=self._preferences.idle_after_s,
            in_use_stops=self._preferences.when != "always" and self._choices.always_until is None,
            cores=self._gate.cores,
            percent=standing.percent,
            running=running,
            servers=[
                statement.membership(part, self._preferences, self._standing, now) for part in self._parts.values()
            ],
            boxes=[(pid, start) for pid in outermost() if (start := processes.started(pid)) is not None],
            sandbox=self._sandbox,
            notice=next((part.notice for part in self._parts.values() if part.notice), ""),
            screen=self._preferences.screen,
            language=self._preferences.language,
            helped=bool(self._sessions),
            viewed=self._viewed,
        )

    # -- what the owner may ask (door/owner.py) ----------------------------------------------------------------

    def attend(self, session: object, presence: Presence | None) -> None:
        """A session says what it knows of its user; None when it has gone. What follows from it is done at once."""
        if presence is None:
            self._sessions.pop(session, None)
            self._lost_at = time.monotonic()
        else:
            self._sessions[session] = (presence, time.monotonic())
        self._decide()
        if self._gate.open:
            self._runner.resume()  # a helper may have stopped what runs, on a status that had just changed
        self._look.set()

    async def status(self) -> Status:
        """What the client does now, and why."""
        self._decide()
        self._publish()
        assert self._said is not None
        return self._said

    async def follow(self) -> AsyncIterator[Status]:
        """The status now, and again whenever it has changed."""
        yield await self.status()
        while True:
            told = self._told
            await told.wait()
            assert self._said is not None
            yield self._said

    async def pause(self, duration: str = "") -> Status:
        """Pause."""
        seen = self._readings.clock()
        pause = pauses.begin(duration, now=seen.now, up=seen.up, boot=seen.boot)
        return await self._choose(msgspec.structs.replace(self._choices, pause=pause, always_until=None))

    async def resume(self) -> Status:
        """End a pause, and finishing."""
        return await self._choose(Choices(always_until=self._choices.always_until))

    async def finish(self) -> Status:
        """Begin nothing new; stop when the last unit is done."""
        return await self._choose(msgspec.structs.replace(self._choices, finish=True))

    async def always(self) -> Status:
        """Compute beside the user until the end of the day."""
        return await self._choose(Choices(always_until=schedule.midnight(time.time())))

    async def preferences(self) -> Preferences:
        """The preferences."""
        return self._preferences

    async def prefer(self, changes: dict[str, Any]) -> Preferences:
        """Change some preferences: they hold at once."""
        fresh = self._preferences.changed(changes)
        try:
            fresh.save(self._settings.preferences_file)
        except OSError as error:
            raise StorageFull(f"the preferences cannot be saved: {error.strerror}; the old ones hold") from error
        self._preferences = fresh
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
        self._welcome()
        return await self._choose(self._choices)

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
        part = self._part(server or next(iter(self._parts), ""))
        code = await part.agent.session.ask("POST", "/v1/account/link", LinkCode)
        at = part.member.server
        return str(Link(at.url, at.server_id, at.ca, at.root, code.code))

    async def page(self, server: str = "") -> str:
        """The address of the volunteer's own page. Raises NotFound, ServerAway, TrustError."""
        part = self._part(server or next(iter(self._parts), ""))
        given = (await part.agent.session.ask("POST", "/v1/account/page-link", PageLink)).url
        if not (address := web_address(given)):
            raise TrustError(f"{part.member.server.url} named a page that no browser should open")
        return address

    async def privacy(self, server: str, shown: Privacy) -> Status:
        """Let others see this of the volunteer, and no more. Raises NotFound, ServerAway."""
        part = self._part(server)
        held = await part.agent.session.ask("POST", "/v1/account/privacy", Privacy, shown)
        if part.account is not None:
            part.account.privacy = held
        part.asked, part.news = float("-inf"), True
        await part.refresh()
        return await self.status()

    async def team(self, server: str, wish: TeamWish | None = None) -> TeamView:
        """The volunteer's team at a server, after a wish about it; the code of an invite is made a link."""
        part = self._part(server)
        ask, at = part.agent.session.ask, part.member.server
        if wish is None:
            return await ask("GET", "/v1/account/team", TeamView)
        view = await ask("POST", "/v1/account/team", TeamView, wish)
        view.code = view.code and str(Link(at.url, at.server_id, at.ca, at.root, view.code))
        part.asked, part.news = float("-inf"), True
        await part.refresh()
        await self.status()
        return view

    async def view(self) -> None:
        """Let the session's helper show the full-screen view. Raises UsageError if there is none."""
        if not self._sessions:
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

    def _welcome(self) -> None:
        until = max(self._choices.always_until or 0.0, time.time() + WELCOME_S)
        self._choices = msgspec.structs.replace(self._choices, always_until=until)

    async def _choose(self, fresh: Choices) -> Status:
        """Hold to a choice, and keep it. It holds also where it cannot be kept."""
        self._choices = fresh
        try:
            fresh.save(self._settings.choices_file)
        except OSError as error:
            text = f"this choice cannot be kept over a restart: {error.strerror}"
            self.tell(Event(kind="storage", text=text))
        return await self.status()
