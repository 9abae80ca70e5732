"""A project server and its volunteers, all on this computer, each a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

import msgspec

from dsage.errors import DSageError
from dsage.researcher import Researcher
from dsage.trust.invite import Link
from dsage_server.demo.children import DSAGE, Child
from dsage_server.demo.place import Place

INVITE_S: Final = 600.0
CHEATER: Final = ("-P", "-m", "dsage_client.cheater")
SHOWN: Final = ("--show", "leaderboard", "--show", "discoveries")
LANDLOCK: Final = "landlock"

T = TypeVar("T")


class Serving(msgspec.Struct, frozen=True):
    """What `dsage serve --json` says when it is ready."""

    url: str
    pages_url: str
    link: str
    sandbox: str | None


@dataclass(slots=True)
class Volunteer:
    """One client as its own events tell of it; `pseudonym` is empty until it has joined."""

    name: str
    lies: bool = False
    pseudonym: str = ""
    doing: str = "is starting"
    sandbox: str | None = None
    sandbox_sentence: str = ""
    answers: int = 0
    joined: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    child: Child | None = None

    def hear(self, event: dict[str, Any]) -> None:
        """Take in one event of `dsage join --json`."""
        data = event["data"]
        match event["kind"]:
            case "sandbox":
                self.sandbox, self.sandbox_sentence = data["level"], event["text"]
            case "joined":
                self.pseudonym, self.doing = data["pseudonym"], "waits for work"
                self.joined.set()
            case "working":
                self.doing = f"computes unit {data['unit']}"
            case "finished":
                self.answers += 1
                self.doing = f"has finished unit {data['unit']}"
            case "accepted" | "refused-result":
                self.answered.set()
            case "aborted":
                self.doing = f"was called off unit {data['unit']}"
            case "waiting" | "away":
                self.doing = event["text"]


class Stage:
    """Starts the programs and ends them; `broken` gets the error when the demo cannot go on without one of them.

    `volunteers` gets those who are started; `needed` is how many honest ones it takes. `say` tells people what happens.
    """

    def __init__(
        self, place: Place, volunteers: list[Volunteer], *, slots: int, needed: int, say: Callable[[str], None]
    ) -> None:
        self.place = place
        self.volunteers = volunteers
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._slots = slots
        self._needed = needed
        self._say = say
        self._server: Child | None = None
        self._link: Link | None = None
        self._guards: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for guard in self._guards:
            guard.cancel()
        await asyncio.gather(*self._guards, return_exceptions=True)
        await asyncio.gather(*(v.child.stop() for v in self.volunteers if v.child is not None))
        if self._server is not None:
            await self._server.stop()
        if not self.broken.cancel():
            self.broken.exception()

    async def serve(self, volunteers: int) -> Serving:
        """Start the server, make an invite for so many, and return what the server says of itself."""
        said: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def hear(document: dict[str, Any]) -> None:
            if not said.done():
                said.set_result(document)

        words = ["serve", "--listen", "127.0.0.1:0", "--pages", "localhost:0", "--name", "the demo", "--own-work"]
        self._server = await self._start("server", [*DSAGE, *words, "--json"], hear)
        self._guard(self._lost_server(self._server))
        from dsage_server.cli import make_invite

        document = await self.unless_broken(said)
        serving = msgspec.convert(document["data"], Serving)
        self._link = await asyncio.to_thread(make_invite, self.place.server, volunteers, INVITE_S)
        return serving

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._server is not None
        return self._server.pid

    async def join(self, *, lies: bool = False) -> Volunteer:
        """Start one more volunteer; it joins in its own time."""
        name = "cheater" if lies else f"volunteer-{sum(not v.lies for v in self.volunteers) + 1}"
        volunteer = Volunteer(name, lies=lies)
        self.volunteers.append(volunteer)
        home = self.place.home(volunteer.name)
        link = str(self._link)
        words = [*CHEATER, link] if lies else [*DSAGE, "join", link, "--when", "always", *SHOWN, "--own-work", "--json"]
        words += ["--slots", str(self._slots), "--home", str(home)]
        volunteer.child = await self._start(volunteer.name, words, volunteer.hear)
        self._guard(self._lost_volunteer(volunteer, volunteer.child))
        return volunteer

    async def researcher(self) -> Researcher:
        """Return a connection to the server with the right to submit."""
        return await Researcher.open(self.place.server)

    async def unless_broken(self, waited: asyncio.Future[T] | Coroutine[Any, Any, T]) -> T:
        """Return what is waited for. Raises DSageError as soon as that is in vain."""
        task: asyncio.Future[T] = asyncio.ensure_future(waited)
        both: set[asyncio.Future[Any]] = {task, self.broken}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if self.broken.done():
                self.broken.result()
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _start(self, name: str, words: list[str], heard: Callable[[dict[str, Any]], None]) -> Child:
        home, log = self.place.home(name), self.place.log(name)
        home.mkdir(mode=0o700)
        return await Child.start(name, words, home=home, log=log, scratch=self.place.scratch, heard=heard)

    def _guard(self, watch: Coroutine[Any, Any, None]) -> None:
        self._guards.add(asyncio.create_task(watch))

    async def _lost_server(self, child: Child) -> None:
        self._break(await child.ended())

    async def _lost_volunteer(self, volunteer: Volunteer, child: Child) -> None:
        error = await child.ended()
        volunteer.doing = "has gone"
        left = sum(not v.lies for v in self.volunteers if v.child is not None and v.child.alive)
        if left < self._needed:
            self._break(error)
        else:
            self._say(f"{error.message}; the others go on, and its units go to them when their time has run out")

    def _break(self, error: DSageError) -> None:
        if not self.broken.done():
            self.broken.set_exception(error)
