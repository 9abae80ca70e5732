"""The parts of a client, one for each server: where they lie, and how one is opened."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dsage.connection import Connection, login
from dsage.errors import DSageError, NotAllowed, NotFound, ServerAway, StorageFull, TrustError
from dsage.trust.envelope import Envelope
from dsage.trust.invite import Link
from dsage.wire import About, AccountView, HostInfo, Leave, Left
from dsage_client import membership
from dsage_client.agent import Agent
from dsage_client.events import Event, Tell
from dsage_client.gate import Gate
from dsage_client.guest.preferences import Preferences
from dsage_client.install.update import ASK_EVERY_S, Updates
from dsage_client.runner import Runner
from dsage_client.session import ROLE, Session
from dsage_client.settings import Settings

MOVED: Final = ("client.key", "membership.json", "root.json", "spool", "held", "damaged", "cache", "inputs")
"""What lay in the folder of a client itself when it could work for one server only."""

FAREWELL_S: Final = 10.0
SOON_S: Final = 20.0
SELDOM_S: Final = 1800.0
"""How long what is known of an account is good for: after an answer was accepted, and otherwise."""


@dataclass(slots=True)
class Part:
    """A client's part for one server. `ended` is why it works no more, until the client starts again."""

    settings: Settings
    member: membership.Membership
    agent: Agent
    ended: DSageError | None = None
    account: AccountView | None = None
    about: About | None = None
    tell: Tell = field(default=lambda _: None, repr=False)
    notice: str = ""
    asked: float = float("-inf")
    asked_release: float = float("-inf")
    news: bool = True
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def server(self) -> str:
        """The server's id."""
        return self.member.server.server_id

    @property
    def name(self) -> str:
        """What people call the server."""
        return (self.about.name if self.about else "") or self.member.server.url

    async def refresh(self) -> bool:
        """Ask the server about the account, now and then; say whether it was asked and answered.

        It is worth asking when something was accepted since, and about twice an hour anyway, as other computers of
        the same volunteer work too.
        """
        since_s = time.monotonic() - self.asked
        if not self.agent.connected or since_s < (SOON_S if self.news else SELDOM_S):
            return False
        self.asked, self.news = time.monotonic(), False
        try:
            self.account = await self.agent.session.ask("GET", "/v1/account", AccountView)
            self.about = self.about or await self.agent.session.ask("GET", "/v1/about", About)
            if time.monotonic() - self.asked_release > ASK_EVERY_S:
                await self._hear_of_release()
                self.asked_release = time.monotonic()
        except DSageError:
            return False
        return True

    async def _hear_of_release(self) -> None:
        """Ask once a day whether there is a newer client; what is not signed by the root is no news."""
        session, updates = self.agent.session, Updates(self.settings.folder / "release.json")
        now = session.clock()
        try:
            updates.hear(await session.ask("GET", "/v1/release", Envelope), session.chain, now)
        except TrustError as error:
            self.tell(Event(kind="untrusted", text=f"the notice of a newer client is not believed: {error.message}"))
        except StorageFull as error:
            self.tell(Event(kind="storage", text=f"the notice of a newer client cannot be kept: {error.message}"))
        except NotFound:
            pass
        self.notice = updates.notice(session.chain, now, pages=self.about.pages_url if self.about else "")


def known(settings: Settings) -> list[Settings]:
    """Return the settings of every part that has joined a server, in the order in which they joined.

    A client of before, which had one part in the folder itself, is moved to where it belongs.
    """
    old = membership.Membership.load(settings.folder / "membership.json")
    if old is not None:
        own = settings.of(old.server.server_id).folder
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in sorted(MOVED, key=lambda name: name == "membership.json"):
            if (settings.folder / name).exists():
                shutil.move(settings.folder / name, own / name)
    folders = [path for path in _folders(settings.servers) if (path / "membership.json").exists()]
    return [settings.of(path.name) for path in sorted(folders, key=lambda path: path.stat().st_ctime)]


def choose(settings: Settings, link: Link | None) -> list[tuple[Settings, membership.Membership | Link]]:
    """Return the parts of a client, and with `link` the one that it makes or moves: a Link where it must still join.

    Raises UsageError if what is kept of one is damaged.
    """
    found = [(own, membership.known(own, None)) for own in known(settings)]
    if link is not None:
        own = settings.of(link.server_id)
        found = [pair for pair in found if pair[0].folder != own.folder] + [(own, membership.known(own, link))]
    return found


def disk_bytes(settings: Settings, preferences: Preferences) -> int:
    """Return how much of the disk the input files of one part may take: an equal share of what its owner allows."""
    return min(settings.input_bytes, preferences.disk_bytes) // max(1, len(_folders(settings.servers)))


def opened(
    settings: Settings,
    member: membership.Membership,
    info: Callable[[Settings], HostInfo],
    runner: Runner,
    gate: Gate,
    tell: Tell,
) -> Part:
    """Put the part for one server together. Raises UsageError or a TrustError if what it believed cannot be read."""
    link, pem = member.server, member.ca_pem.encode() or None

    async def connect() -> Connection:
        return await Connection.open(link, ca_pem=pem)

    session = Session(
        connect,
        membership.client_key(settings),
        membership.load_chain(settings, link),
        lambda envelope: membership.save_root(settings, envelope),
        info(settings),
    )
    return Part(settings, member, Agent(settings, session, runner, tell, gate=gate), tell=tell)


async def farewell(settings: Settings, member: membership.Membership, *, erase: bool) -> Left | None:
    """Tell a server that this computer leaves, and return its answer. None if it could not be told: it finds out when
    the leases run out. Raises ServerAway if it could not be told to `erase`: without the key nobody can ask again."""
    link, key = member.server, membership.client_key(settings)
    try:
        async with asyncio.timeout(FAREWELL_S):
            connection = await Connection.open(link, ca_pem=member.ca_pem.encode() or None)
            try:
                token = (await login(connection, key, ROLE, link.server_id)).token
                return await connection.call("POST", "/v1/account/leave", Leave(erase=erase), Left, token=token)
            finally:
                await connection.close()
    except NotAllowed:
        return None
    except (DSageError, TimeoutError) as error:
        if not erase:
            return None
        raise ServerAway(
            f"{link.url} could not be told to erase the account ({error or 'it does not answer'}), so this computer "
            "stays a member",
            hint="Try again when the server answers, or leave without erasing: the account then stays there.",
        ) from None


def parting(left: Left | None, *, erase: bool) -> str:
    """Return in words what came of leaving, to go after "left SERVER"; "" if there is nothing to say."""
    if left is None:
        return "; the server could not be told"
    if left.erased:
        return "; the server has forgotten the account"
    others = f"; {left.others} other computers of the account stay" if left.others else ""
    return f"{others}, and the account with them" if others and erase else others


def forget(settings: Settings) -> None:
    """Remove everything of one server's part: its key, what is held, what was fetched."""
    shutil.rmtree(settings.folder, ignore_errors=True)


def _folders(place: Path) -> list[Path]:
    try:
        return [path for path in place.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
