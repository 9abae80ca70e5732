"""One simulated host: it logs in, fetches, waits as long as the work would take, and reports; or goes astray."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec

from dsage import codec, wire
from dsage.errors import ServerAway, TooLarge
from dsage.trust.documents import Enrolment, Login
from dsage.trust.envelope import Envelope, seal
from dsage.trust.invite import Link
from dsage.trust.keys import PrivateKey
from fleet import speech
from fleet.habits import Habits
from fleet.line import Line
from fleet.tally import Tally

BUSY_S: Final = 5.0
"""How long a host stays away from a server that refuses it without saying until when."""
BUSY: Final = 503
CUT_S: Final = 0.01
"""A connection that is to break lasts up to this long: some reports arrive, some do not."""


class Refused(Exception):
    """The server answered a call with an error."""

    def __init__(self, status: int, body: bytes, retry_s: float) -> None:
        super().__init__(f"{status}: {body[:200]!r}")
        self.status = status
        self.retry_s = retry_s


@dataclass(slots=True)
class Shared:
    """What all hosts of a fleet have in common. `tally` is replaced when a measurement begins."""

    habits: Habits
    context: ssl.SSLContext
    tally: Tally = field(default_factory=Tally)
    acknowledged: array[int] = field(default_factory=lambda: array("q"))
    """Replicas whose answer was acknowledged, from the start."""
    answers_of: Counter[int] | None = None
    """If wanted: how many answers of each unit have been acknowledged."""
    quorum: int = 2
    working: asyncio.Event = field(default_factory=asyncio.Event)
    """Until this is set, hosts log in and wait."""
    over: bool = False


class Host:
    """A host of its own volunteer. `link` leads to its server; `lives` goes on until the fleet is over.

    One that behaves otherwise is a class of its own, with `finishes` and `hears` as it likes.
    """

    __slots__ = ("_held", "_new", "_speed", "answers", "draw", "inside", "key", "line", "link", "shared")

    def __init__(self, shared: Shared, link: Link, key: PrivateKey, seed: int) -> None:
        self.shared = shared
        self.link = link
        self.key = key
        self.line: Line | None = None
        self.inside = False
        self._new = True
        self.draw = random.Random(seed)
        self._speed = 1.0 + shared.habits.spread * self.draw.uniform(-1.0, 1.0)
        self._held: list[speech.Task] = []
        self.answers: list[speech.Answer] = []

    @property
    def reporting(self) -> bool:
        """Whether there are answers that the server has not acknowledged."""
        return bool(self.answers)

    async def lives(self, begins_s: float) -> None:
        """Do what the fleet's habits say, beginning so many seconds from now."""
        shared = self.shared
        await asyncio.sleep(begins_s)
        while not shared.over:
            away_s = 0.0
            try:
                self.line = await Line.open(self.link.url, shared.context)
                await self._enters(self.line)
                away_s = await self._works(self.line)
            except (ServerAway, TooLarge):
                shared.tally.troubles["broken"] += 1
                away_s = self.draw.uniform(0.0, shared.habits.back_s)
            except Refused as refusal:
                shared.tally.troubles[str(refusal.status)] += 1
                away_s = (refusal.retry_s or BUSY_S) if refusal.status != 401 else 0.0
            finally:
                self.inside = False
                if self.line is not None:
                    self.line.cut()
                    self.line = None
            if not shared.over:
                await asyncio.sleep(away_s)

    # -- one connection ------------------------------------------------------------------------------------------

    async def _enters(self, line: Line) -> None:
        """Enrol if the link has a code that was not used yet, then log in."""
        if self.link.code:
            challenge = await self._challenge(line)
            enrolment = Enrolment(
                server_id=self.link.server_id, challenge=challenge, ca=self.link.ca, key=self.key.public,
                code=self.link.code, public=False,
            )  # fmt: skip
            await self._call(line, b"/v1/enrol", msgspec.msgpack.encode(seal(enrolment, self.key)))
            self.link = Link(self.link.url, self.link.server_id, self.link.ca, self.link.root)
        challenge = await self._challenge(line)
        login = Login(
            server_id=self.link.server_id, challenge=challenge, ca=self.link.ca, key=self.key.public, role="host"
        )
        envelope: Envelope = seal(login, self.key)
        reply = await self._call(line, b"/v1/login", msgspec.msgpack.encode(envelope))
        line.authorise(msgspec.msgpack.decode(reply, type=wire.LoginReply).token)
        self.shared.tally.entered += 1
        self.inside = True

    async def _challenge(self, line: Line) -> bytes:
        reply = await self._call(line, b"/v1/challenge", b"")
        return msgspec.msgpack.decode(reply, type=wire.ChallengeReply).challenge

    async def _works(self, line: Line) -> float:
        """Fetch and report until it is time to go; return for how long to stay away."""
        shared, habits, draw = self.shared, self.shared.habits, self.draw
        first = True
        await shared.working.wait()
        if self._new:
            self._new = False
            await line.quiet(habits.work_s * draw.random())
        while not shared.over:
            if self.answers and habits.cut and draw.random() < habits.cut:
                reply = self._posts(line, first)
                await asyncio.sleep(draw.uniform(0.0, CUT_S))
                reply.cancel()
                shared.tally.troubles["cut"] += 1
                return 0.0
            began = time.perf_counter()
            status, body = await self._posts(line, first)
            if status == BUSY:
                shared.tally.troubles["sent away"] += 1
                await line.quiet(line.retry_s or BUSY_S)
                continue
            if status != 200:
                raise Refused(status, body, line.retry_s)
            retry_s = self.hears(speech.understood(body), time.perf_counter() - began)
            first = False
            if retry_s:
                await line.quiet(retry_s)
            if habits.vanish and self._held and draw.random() < habits.vanish:
                if draw.random() < habits.forget:
                    self._held.clear()
                shared.tally.troubles["vanished"] += 1
                return draw.uniform(0.0, habits.away_s)
            try:
                if habits.work_s and self._held:
                    await line.quiet(habits.work_s * self._speed * draw.uniform(0.5, 1.5))
            finally:
                self.answers += [self.finishes(task) for task in self._held]
                self._held.clear()
        return 0.0

    def _posts(self, line: Line, first: bool) -> asyncio.Future[tuple[int, bytes]]:
        habits = self.shared.habits
        body = speech.exchange(
            self.link.server_id, self.key, self.answers, self._held,
            max(0, habits.batch - len(self._held)), 0.0 if self._held else habits.wait_s, first=first,
        )  # fmt: skip
        return line.post(b"/v1/exchange", body)

    def hears(self, reply: speech.Reply, took_s: float) -> float:
        """Take a reply; return for how long not to ask again."""
        shared, tally = self.shared, self.shared.tally
        tally.calls += 1
        (tally.reporting if self.answers else tally.asking).append(took_s)
        sent = {answer.entry.replica: answer for answer in self.answers}
        self.answers.clear()
        for ack in reply.acks:
            answer = sent.pop(ack.replica)
            if ack.code != "ok" or answer.report.value is None:
                tally.acks["failed" if ack.code == "ok" else ack.code] += 1
                continue
            tally.acks["ok"] += 1
            shared.acknowledged.append(ack.replica)
            if shared.answers_of is not None:
                shared.answers_of[answer.unit] += 1
                if shared.answers_of[answer.unit] == shared.quorum:
                    tally.completing.append(took_s)
        tally.acks["unanswered"] += len(sent)
        self._held += speech.tasks(reply)
        tally.leased += len(reply.units)
        return 0.0 if self._held else reply.retry_s

    def finishes(self, task: speech.Task) -> speech.Answer:
        """Return what this host says of a copy."""
        habits, chance = self.shared.habits, self.draw.random()
        if chance < habits.failed:
            return speech.answer(task, None, "failed", "crash")
        if chance < habits.failed + habits.wrong:
            return speech.answer(task, codec.encode([task.replica, self.draw.random()]), "done", "")
        if habits.noise:
            near = codec.decode(task.args) + habits.noise * self.draw.uniform(-1.0, 1.0)
            return speech.answer(task, codec.encode(near), "done", "")
        return speech.answer(task, task.args, "done", "")

    async def _call(self, line: Line, path: bytes, body: bytes) -> bytes:
        status, data = await line.post(path, body)
        if status != 200:
            raise Refused(status, data, line.retry_s)
        return data
