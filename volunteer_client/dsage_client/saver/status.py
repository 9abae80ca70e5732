"""Reading the client's status, and nothing else of the client."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import msgspec
import psutil

from dsage_client.door.words import Status
from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.guest.sentences import sentence
from dsage_client.words import _

MOST_BYTES: Final = 1 << 20


class Reader:
    """Reads `status.json` of a client's folder anew when it has changed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "status.json"
        self._seen: tuple[int, int, int] | None = None
        self._status: Status | None = None
        self._trouble = ""

    def read(self) -> tuple[Status | None, str]:
        """Return the status, None if there is none that can be read; and the sentence for people. Raises nothing."""
        try:
            found = self._path.stat()
            mark = (found.st_mtime_ns, found.st_size, found.st_ino)
            if mark != self._seen:
                self._status, self._trouble = self._load(), ""
                self._seen = mark
        except FileNotFoundError:
            self._status, self._seen, self._trouble = None, None, _not_running()
        except (OSError, msgspec.DecodeError):
            self._status, self._seen, self._trouble = None, None, _("What the client does cannot be read now")
        if self._status is None:
            return None, self._trouble
        if self._status.reason is not Reason.STOPPED and not psutil.pid_exists(self._status.pid):
            return None, _not_running()
        return self._status, self._status.sentence

    def _load(self) -> Status:
        with self._path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise OSError("the status is too long")
        return msgspec.json.decode(data, type=Status)


def _not_running() -> str:
    return sentence(Standing(work=Work.LEAVE, reason=Reason.STOPPED), now=time.time())
