"""The few things that deserve a notification: the first accepted result, and a notice of the agent (an update)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dsage.files import write_whole
from dsage_client.door.words import Status
from dsage_client.words import _


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What has been said already: `first` that of the first result, `notice` the newest notice."""

    first: bool = False
    notice: str = ""


class Notices:
    """Says each thing once, also across restarts: what was said is kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = _load(path)
        self._without_credit = False

    def news(self, status: Status) -> list[str]:
        """Return what is to be said now."""
        told, said = self._told, list[str]()
        granted = [server.granted for server in status.servers if server.granted is not None]
        if any(granted) and not told.first:
            told = msgspec.structs.replace(told, first=True)
            if self._without_credit:
                said.append(_("Your computer's first result was accepted. Thank you."))
        elif granted and not any(granted):
            self._without_credit = True
        if status.notice and status.notice != told.notice:
            told = msgspec.structs.replace(told, notice=status.notice)
            said.append(status.notice)
        if told is not self._told:
            self._told = told
            self._keep()
        return said

    def _keep(self) -> None:
        try:
            write_whole(self._path, msgspec.json.encode(self._told), private=True, durable=False)
        except OSError:
            return  # it will be said once more after the next start


def _load(path: Path) -> Told:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Told)
    except (OSError, msgspec.DecodeError):
        return Told()
