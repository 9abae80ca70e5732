"""The agent: keeps slots busy and the server informed, through one call.

At most two calls are under way: one that the server holds until it has something to say, and beside it one that
reports what has just finished. The server ends the held one when the other arrives. After a login a call goes out
alone, for the server takes back what that one does not list. Everything that must survive
this process is on disk before the server hears of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from dsage.errors import (
    Busy,
    DSageError,
    LoggedOut,
    MustStop,
    NotAllowed,
    RequestError,
    ServerAway,
    StorageFull,
    TooLarge,
    TooOld,
    TrustError,
)
from dsage.wire import Exchange, ExchangeReply, Holding
from dsage_client import policy
from dsage_client.demand import Demand
from dsage_client.events import Event, Tell
from dsage_client.gate import Gate
from dsage_client.guest.reasons import Reason
from dsage_client.held import Held, Lease
from dsage_client.inputs import Inputs
from dsage_client.library import Library
from dsage_client.patience import MAX_IDLE_S, Patience
from dsage_client.results import Results
from dsage_client.runner import Runner
from dsage_client.session import Session
from dsage_client.settings import SHUTDOWN_CALL_S, Settings
from dsage_client.slots import Slots
from dsage_client.spool import Finished, Spool

ENDED_S: Final = 1.0
"""How long a held call that asked for nothing may go on once there is something to ask for: one process ends it itself
when the next call comes, but behind a proxy that call may have gone to another process of the server."""
RESTING_S: Final = 600.0
"""How often a client that may not compute and holds nothing says that it is there."""
ASKED: Final = "asked"
"""Why a unit was aborted: the server said so."""


class Agent:
    """One client at work for one server. `run` goes on until `stop` is called or going on would be wrong."""

    def __init__(
        self,
        settings: Settings,
        session: Session,
        runner: Runner,
        tell: Tell,
        *,
        gate: Gate | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._session = session
        self._runner = runner
        self._gate = Gate(settings.slots) if gate is None else gate
        self._gate.join(session.server_id)
        session.line = self._gate.line
        self._tell = tell
        self._patience = Patience(settings, tell, time.monotonic, draw)
        self._spool = Spool(settings.spool, settings.damaged, self._tell_damage)
        self._results = Results(self._spool, self._patience, tell)
        self._held = Held(settings.held, settings.damaged, self._tell_damage)
        library = Library(session, settings.cache, settings.work.resolve() / "apps")
        self._inputs = inputs = Inputs(session, settings.inputs, settings.input_bytes)
        self._wake = asyncio.Event()
        self._slots = Slots(
            settings, library, inputs, runner, self._gate, self._held, self._finished, self._fail, tell, self._wake.set
        )
        self._demand = Demand(session, self._gate, self._slots, self._spool, self._patience)
        self._stop = asyncio.Event()
        self._greeted = False
        self._turned_away = False  # logged out, and not answered since: a token that is new is no use either
        self._calls = 0
        self._called = float("-inf")
        self._asked = 0
        self._failure: BaseException | None = None
        self._farewell: MustStop | None = None
        self._giving_up = False

    def stop(self) -> None:
        """Ask for an orderly end; safe to call from a signal handler of the loop."""
        self._stop.set()

    @property
    def session(self) -> Session:
        """The conversation with its server."""
        return self._session

    @property
    def slots(self) -> Slots:
        """The units that are held."""
        return self._slots

    @property
    def connected(self) -> bool:
        """Whether the server answered the last call."""
        return self._patience.connected

    @property
    def why(self) -> tuple[Reason, str, float | None]:
        """Why nothing comes from this server: the reason, the server's words for it, and in how many seconds it is
        asked again (None if that is not known)."""
        reason, words = self._patience.why
        return reason, words, self._patience.away_s or self._patience.idle_s or None

    @property
    def away_since(self) -> float | None:
        """When the server was first found to be away, in Unix seconds; None if it answered the last call."""
        return self._patience.away_since

    def look(self) -> None:
        """The gate's standing has changed: decide anew what to ask for."""
        self._wake.set()

    def limit(self, disk_bytes: int) -> None:
        """Input files may take so much of the disk."""
        self._inputs.most = disk_bytes

    def give_up(self) -> None:
        """Ask for an end for good: every unit is handed back, also begun ones."""
        self._giving_up = True
        self._stop.set()

    async def run(self) -> None:
        """Work until told to stop. Raises MustStop or SandboxRefused when this client cannot go on."""
        self._resume()
        talk = asyncio.create_task(self._talk(), name="talk")
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({talk, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            talk.cancel()
            stop.cancel()
            await asyncio.gather(talk, stop, return_exceptions=True)
            await self._leave()
        if not talk.cancelled():
            talk.result()

    # -- starting and leaving --------------------------------------------------------------------------------

    def _resume(self) -> None:
        resumed = 0
        for lease, checkpoint in self._held.load():
            if lease.replica in self._spool:
                self._held.drop(lease.replica)
            else:
                self._slots.take(lease, checkpoint, fresh=False)
                resumed += 1
        if resumed or len(self._spool):
            text = f"going on with {resumed} begun units; {len(self._spool)} finished results are still to be sent"
            self._tell(Event(kind="resumed", text=text, data={"begun": resumed, "spooled": len(self._spool)}))

    async def _leave(self) -> None:
        """End every child, hand back what was not begun, say good-bye within SHUTDOWN_CALL_S."""
        await self._slots.stop()
        if self._giving_up:
            self._slots.give_up()
        results = self._spool.batch() if self._gate.line.open else []
        message = Exchange(holding=self._holding(results))
        try:
            if self._farewell is None and (results or message.holding):
                reply = await self._session.exchange(message, results, timeout_s=SHUTDOWN_CALL_S)
                self._results.acknowledge(reply.acks)
        except (DSageError, TimeoutError) as error:
            self._tell(Event(kind="unsent", text=f"the last call did not get through: {error}"))
        finally:
            self._gate.part(self._session.server_id)
            await self._session.close()
        kept = len(self._slots)
        text = f"stopped; {kept} begun units and {len(self._spool)} finished results are kept for the next start"
        self._tell(Event(kind="stopped", text=text, data={"begun": kept, "spooled": len(self._spool)}))

    # -- the loop --------------------------------------------------------------------------------------------

    async def _talk(self) -> None:
        poll: asyncio.Task[None] | None = None
        content = False
        try:
            while True:
                self._wake.clear()
                if self._failure is not None:
                    raise self._failure
                if self._farewell is not None:
                    await self._say_farewell(self._farewell)
                self._results.settle()
                self._slots.give_back(self._demand.surplus)
                away_s, idle_s = self._patience.away_s, self._patience.idle_s
                quiet_s = 0.0 if self._sends else self._patience.quiet_s
                if away_s:
                    await self._sleep(away_s, wakeable=False)
                elif quiet_s and poll is None:
                    await self._sleep(quiet_s, wakeable=True)
                elif not self._greeted:
                    await _cancelled(poll)
                    poll = None
                    await self._call(0.0)
                elif self._sends or (self._slots.speaks and not quiet_s):
                    await self._call(0.0)
                elif poll is not None:
                    if (not content and self._demand.shut) or self._session.changed:
                        content = True
                        await self._call(0.0)
                    elif content and self._want():
                        await asyncio.wait({poll}, timeout=ENDED_S)
                        if not poll.done():
                            await _cancelled(poll)
                            poll = None
                            continue
                    else:
                        await self._either(poll)
                    if poll.done():
                        poll.result()
                        poll = None
                elif idle_s and not self._holds:
                    await self._sleep(idle_s, wakeable=True)
                elif not self._want() and not self._holds:
                    if (delay_s := self._called + RESTING_S - time.monotonic()) > 0:
                        await self._sleep(delay_s, wakeable=True)
                    else:
                        await self._call(0.0)
                elif (delay_s := self._called + self._spacing_s - time.monotonic()) > 0:
                    await self._sleep(delay_s, wakeable=True)
                elif not self._patience.hold.longest_s:
                    await self._call(0.0)
                else:
                    longest_s = min(self._settings.wait_s, idle_s or self._settings.wait_s)
                    longest_s = min(longest_s, self._patience.hold.longest_s)
                    hold_s = policy.hold_s(longest_s, self._slots.deadlines_s)
                    content = not self._want()
                    poll = asyncio.create_task(self._call(hold_s), name="poll")
        finally:
            await _cancelled(poll)

    @property
    def _sends(self) -> bool:
        """Whether there are results that may be sent now."""
        return len(self._spool) > 0 and self._gate.line.ready

    @property
    def _holds(self) -> bool:
        """Whether there are leases to renew."""
        return len(self._slots) > 0 or len(self._spool) > 0

    @property
    def _spacing_s(self) -> float:
        """How long after the last call to begin the next: not at all if the server does not know what is wanted."""
        if self._session.changed or self._want() > self._asked:
            return 0.0
        return policy.spacing_s(self._patience.hold.longest_s, self._slots.deadlines_s, busy=self._holds)

    async def _sleep(self, delay_s: float, *, wakeable: bool) -> None:
        """Wait; a wakeable sleep ends early when something has finished."""
        try:
            async with asyncio.timeout(delay_s):
                await (self._wake if wakeable else asyncio.Event()).wait()
        except TimeoutError:
            pass

    async def _either(self, poll: asyncio.Task[None]) -> None:
        wake = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait({poll, wake}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()

    async def _say_farewell(self, farewell: MustStop) -> None:
        """Finish what runs, report it if the server still listens, and stop."""
        await self._slots.wait()
        self._results.settle()
        results = self._spool.batch() if self._gate.line.open else []
        if results:
            try:
                message = Exchange(holding=self._holding(results))
                self._results.acknowledge((await self._session.exchange(message, results)).acks)
            except DSageError as error:
                self._tell(Event(kind="unsent", text=f"{len(results)} results stay here: {error.message}"))
        raise farewell

    # -- one call --------------------------------------------------------------------------------------------

    async def _call(self, hold_s: float) -> None:
        """Make one exchange and act on the reply, or note how long to stay away."""
        self._calls += 1
        number, started, greeting = self._calls, time.monotonic(), not self._greeted
        self._called = started
        results = self._results.batch() if hold_s == 0.0 and self._gate.line.ready else []
        self._asked = self._want()
        message = Exchange(holding=self._holding(results), want=self._asked, wait_s=hold_s)
        try:
            reply = await self._exchange(message, results)
        except TooOld as error:
            self._farewell = MustStop(error.message, hint=error.hint)
            self._farewell.__cause__ = error
        except TooLarge as error:
            self._results.shrink(results, error)
            if not results:
                self._refused(error)
        except Busy as error:
            self._patience.sent_away(error, results=bool(results), busy=len(self._slots) > 0)
        except LoggedOut as error:
            self._greeted = False
            if greeting and self._turned_away:
                self._refused(error)
            self._turned_away = True
        except ServerAway as error:
            self._greeted = False
            if hold_s:
                self._patience.broke(hold_s, time.monotonic() - started)
            else:
                self._patience.hold.away()
            self._refused(error)
        except NotAllowed as error:
            self._farewell = MustStop(
                f"the server does not know this client any more: {error.message}",
                hint="Ask its operator; with a fresh invite link, join again with --home and a new folder.",
            )
        except DSageError as error:
            self._refused(error)
        else:
            superseded = self._calls > number
            if hold_s:
                self._patience.hold.lived(time.monotonic() - started)
            await self._take(reply, message, results, time.monotonic() - started, superseded=superseded)

    async def _exchange(self, message: Exchange, results: list[Finished]) -> ExchangeReply:
        self._session.rest(self._patience.resting)
        self._gate.line.count(sum(len(finished.value or b"") for finished in results))
        if due_s := self._gate.line.due_s:
            asyncio.get_running_loop().call_later(due_s, self._wake.set)
        try:
            return await self._session.exchange(message, results)
        except BaseException:
            self._slots.unheard()
            raise

    def _want(self) -> int:
        return 0 if self._farewell is not None else self._demand.units

    def _holding(self, sending: list[Finished]) -> list[Holding]:
        """Return all that is held here and not in this call's reports."""
        return self._slots.holding() + self._results.holding(sending, suspended=not self._gate.line.open)

    async def _take(
        self, reply: ExchangeReply, asked: Exchange, sent: list[Finished], took_s: float, *, superseded: bool
    ) -> None:
        self._patience.answered(reply.spread_s)
        self._greeted, self._turned_away = True, False
        self._results.answered()
        self._results.acknowledge(reply.acks)
        if reply.root_version > self._session.chain.root.version:
            await self._refresh_root()
        self._patience.judged(self._session.stale)
        await self._slots.abort(reply.abort, ASKED)
        if len(reply.units) > asked.want:
            self._patience.say("protocol", f"the server sent {len(reply.units)} units; {asked.want} were asked for")
        for given in reply.units[: asked.want]:
            batch = reply.batches.get(given.batch)
            if batch is None:
                self._patience.say(
                    "protocol", f"the server sent replica {given.replica} without its proof; it is not run"
                )
                continue
            self._slots.take(
                Lease(
                    replica=given.replica,
                    lease=given.lease,
                    deadline_s=given.deadline_s,
                    document=given.document,
                    index=given.index,
                    path=given.path,
                    batch=batch,
                )
            )
        if any(finished.replica in self._spool for finished in sent):
            self._refused(RequestError("the server took results without saying what became of them"))
            return
        self._pace(reply, asked, took_s, superseded=superseded)

    def _pace(self, reply: ExchangeReply, asked: Exchange, took_s: float, *, superseded: bool) -> None:
        """Note what a reply means for when to call next."""
        empty = not (reply.units or reply.acks or reply.abort)
        retry_s = min(reply.retry_s, MAX_IDLE_S)
        if empty and asked.wait_s and not superseded and policy.spinning(asked_s=asked.wait_s, took_s=took_s):
            retry_s = max(retry_s, self._patience.spun())
        else:
            self._patience.satisfied()
        held = asked.wait_s or not self._patience.hold.longest_s
        if held and not reply.units and retry_s > 0:
            self._patience.idle(retry_s)
        if reply.units:
            self._gate.idle(self._session.server_id, False)
            self._patience.got_work()
        elif reply.reason and asked.want and not superseded and len(self._slots) < self._gate.cores:
            self._gate.idle(self._session.server_id, len(self._slots) == 0)
            self._patience.no_work(reply.reason, retry_s, reply.reasons)

    def _refused(self, error: DSageError) -> None:
        self._patience.refused(error, busy=len(self._slots) > 0)

    # -- what a reply brings ---------------------------------------------------------------------------------

    async def _refresh_root(self) -> None:
        before = self._session.chain.root.version
        try:
            await self._session.refresh_root()
        except TrustError as error:
            self._patience.say("untrusted", f"the server's new root.json is not believed: {error.message}")
        except StorageFull as error:
            self._patience.say("storage", f"the server's new root.json cannot be kept: {error.message}")
        except DSageError as error:
            self._patience.say("waiting", f"the server's new root.json cannot be fetched yet: {error.message}")
        version = self._session.chain.root.version
        if version > before:
            self._tell(Event(kind="root", text=f"root.json version {version} is in force"))
            await self._slots.recheck()

    # -- finished results ------------------------------------------------------------------------------------

    def _finished(self, finished: Finished) -> None:
        self._results.put(finished)
        if finished.status == "failed":
            self._patience.failed(finished.reason, finished.project)
        elif finished.status == "done":
            self._patience.worked(finished.project)
        self._wake.set()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._wake.set()

    def _tell_damage(self, sentence: str) -> None:
        self._tell(Event(kind="damaged", text=sentence))


async def _cancelled(poll: asyncio.Task[None] | None) -> None:
    if poll is not None:
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)
