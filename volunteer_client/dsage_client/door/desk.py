"""The caller's side of the agent's door: one method per wish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, cast

import msgspec

from dsage.account import Left, Privacy, TeamView, TeamWish
from dsage.errors import DSageError, NoAgent, RequestError, UsageError, class_of
from dsage.sockets import reachable
from dsage_client.door.words import MAX_LINE, Ask, Done, Newcomer, Reply, Screensaver, Status
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.seen import Presence

DOOR: Final = "door"
"""The socket's name in the folder of a client."""


class Desk:
    """A connection to the agent of `folder`. Use `open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, folder: Path) -> Desk:
        """Connect. Raises NoAgent if nobody answers."""
        try:
            with reachable(folder / DOOR) as address:
                reader, writer = await asyncio.open_unix_connection(address, limit=MAX_LINE)
        except OSError as error:
            raise NoAgent(f"no agent runs here ({folder}: {error.strerror or error})") from None
        return cls(reader, writer)

    async def __aenter__(self) -> Desk:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def status(self) -> Status:
        """What the client does now, and why."""
        return cast(Status, await self._ask(Ask(do="status"), Status))

    async def follow(self) -> AsyncIterator[Status]:
        """The status now, and again whenever it has changed. Nothing else can be asked on this connection."""
        await self._send(Ask(do="follow"))
        while True:
            yield await self._reply(Status)

    async def pause(self, duration: str = "") -> Status:
        """Pause for `30m`, `1h`, until `tomorrow`, or until `resume`. Raises UsageError for what is no duration."""
        return cast(Status, await self._ask(Ask(do="pause", what=duration), Status))

    async def resume(self) -> Status:
        """End a pause, and finishing."""
        return cast(Status, await self._ask(Ask(do="resume"), Status))

    async def finish(self) -> Status:
        """Begin nothing new; stop when the last unit is done."""
        return cast(Status, await self._ask(Ask(do="finish"), Status))

    async def always(self) -> Status:
        """Compute beside the user until the end of the day."""
        return cast(Status, await self._ask(Ask(do="always"), Status))

    async def preferences(self) -> Preferences:
        """The preferences."""
        return cast(Preferences, await self._ask(Ask(do="preferences"), Preferences))

    async def prefer(self, changes: dict[str, Any]) -> Preferences:
        """Change some preferences. Raises UsageError for what cannot be."""
        return cast(Preferences, await self._ask(Ask(do="prefer", changes=changes), Preferences))

    async def log(self, most: int = 100) -> list[str]:
        """The last lines of the log, oldest first."""
        return cast(list[str], await self._ask(Ask(do="log", most=most), list[str]))

    async def done(self, most: int = 100) -> list[Done]:
        """The units that ended here last, newest first."""
        return cast(list[Done], await self._ask(Ask(do="done", most=most), list[Done]))

    async def present(self, presence: Presence) -> None:
        """Say what a session knows of its user; it holds as long as this connection does, and 30 s at most."""
        await self._ask(Ask(do="present", presence=presence), None)

    async def join(self, link: str, newcomer: Newcomer | None = None) -> Status:
        """Give time to one more server. Raises what `membership.enrol` raises."""
        changes = msgspec.to_builtins(newcomer or Newcomer())
        return cast(Status, await self._ask(Ask(do="join", what=link, changes=changes), Status))

    async def leave(self, server: str, *, erase: bool = False) -> Left | None:
        """Hand back what is held of a server and forget it; with `erase` it forgets us too, with our last computer.

        Returns what the server said, None if it could not be told. Raises NotFound; with `erase` also ServerAway, and
        then nothing has changed.
        """
        ask = Ask(do="leave", what=server, changes={"erase": erase})
        return cast(Left | None, await self._ask(ask, Left | None))

    async def privacy(self, server: str, shown: Privacy) -> Status:
        """Let others see this of us at a server, and no more. Raises NotFound, ServerAway."""
        ask = Ask(do="privacy", what=server, changes=msgspec.to_builtins(shown))
        return cast(Status, await self._ask(ask, Status))

    async def team(self, server: str, wish: TeamWish | None = None) -> TeamView:
        """Our team at a server, after a wish about it if there is one; the code of an invite is a whole link.

        Raises NotFound, ServerAway, and what the server refuses: Conflict, InviteRefused, NotAllowed, UsageError.
        """
        changes = {} if wish is None else msgspec.to_builtins(wish)
        return cast(TeamView, await self._ask(Ask(do="team", what=server, changes=changes), TeamView))

    async def view(self) -> None:
        """Let the session's helper show the full-screen view. Raises UsageError if there is no helper."""
        await self._ask(Ask(do="view"), None)

    async def screensaver(self, *, use: bool = False) -> Screensaver:
        """Whether the owner's screensaver shows DSage; with `use` it does from now on.

        Raises UsageError where it cannot be, StorageFull.
        """
        ask = Ask(do="screensaver", changes={"use": use})
        return cast(Screensaver, await self._ask(ask, Screensaver))

    async def link(self, server: str = "") -> str:
        """A link, good once and for ten minutes, by which another computer joins the same volunteer's account."""
        return cast(str, await self._ask(Ask(do="link", what=server), str))

    async def page(self, server: str = "") -> str:
        """The address of our own page at a server, good once and for a minute. Raises NotFound, ServerAway."""
        return cast(str, await self._ask(Ask(do="page", what=server), str))

    async def manager(self, invite: str = "") -> str:
        """The address of the manager's page, good once and for a minute; with an invite, of the page to join by."""
        return cast(str, await self._ask(Ask(do="manager", what=invite), str))

    async def stop(self) -> None:
        """End the agent in good order."""
        await self._ask(Ask(do="stop"), None)

    async def _ask(self, ask: Ask, kind: Any) -> Any:
        await self._send(ask)
        return await self._reply(kind)

    async def _send(self, ask: Ask) -> None:
        self._writer.write(msgspec.json.encode(ask) + b"\n")
        try:
            await self._writer.drain()
        except OSError:
            raise NoAgent("the agent has gone") from None

    async def _reply(self, kind: Any) -> Any:
        try:
            line = await self._reader.readline()
            if not line:
                raise NoAgent("the agent has gone")
            reply = msgspec.json.decode(line, type=Reply)
            if reply.code:
                raise (class_of(reply.code) or RequestError)(reply.message, hint=reply.hint or None)
            return msgspec.convert(reply.data, kind)
        except OSError:
            raise NoAgent("the agent has gone") from None
        except (ValueError, msgspec.DecodeError) as error:
            if isinstance(error, DSageError):
                raise
            raise UsageError(
                f"the agent said what this program does not understand: {error}",
                hint="They may be of different versions: restart the agent.",
            ) from None
