"""What is said through the agent's door: one JSON document a line, each way.

A caller sends an `Ask`; the agent answers with a `Reply`, and after `follow` with one more whenever its status changed.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from dsage.account import Privacy
from dsage_client.guest.reasons import Reason, Work
from dsage_client.guest.seen import Presence

MAX_LINE: Final = 1 << 20
SCHEMA: Final = "dsage.client/1"


class Newcomer(msgspec.Struct, frozen=True, kw_only=True):
    """How somebody joins who has no account yet: under which name ("" for any that is free), and what others see."""

    name: str = ""
    shown: Privacy = msgspec.field(default_factory=Privacy)


class Running(msgspec.Struct, kw_only=True):
    """A unit that runs here. `fraction` (0..1) is None as long as its app tells nothing; `scene` names the picture
    that shows it (curves, tiles, spectrum; "" for the usual one) and `shows` what the picture is to show."""

    server: str
    unit: int
    project: str
    title: str
    fraction: float | None = None
    cpu_s: float = 0.0
    since: float = 0.0
    held: bool = False
    scene: str = ""
    shows: dict[str, Any] = {}


class Device(msgspec.Struct, kw_only=True):
    """One of the volunteer's computers, as a server knows it."""

    name: str
    seen: float
    here: bool = False


class Membership(msgspec.Struct, kw_only=True):
    """A server that this client works for. Credit is in minutes of the reference core; None until the server told, and
    so is `shown`, what others see of the volunteer."""

    server: str
    name: str
    url: str
    pages: str
    pseudonym: str
    reason: Reason
    sentence: str
    share: int = 100
    connected: bool = False
    granted: float | None = None
    pending: float | None = None
    team: str = ""
    page: str = ""
    shown: Privacy | None = None
    devices: list[Device] = []
    projects: dict[str, str] = {}
    refused: list[str] = []


class Done(msgspec.Struct, kw_only=True):
    """A unit that has ended here: `status` is done, failed, returned or aborted."""

    at: float
    server: str
    unit: int
    project: str
    title: str
    status: str
    cpu_s: float = 0.0
    reason: str = ""


class Screensaver(msgspec.Struct, kw_only=True):
    """Whether the owner's screensaver shows DSage: `chosen`, or could; if not, `why_not` is a sentence."""

    chosen: bool = False
    why_not: str = ""


class Status(msgspec.Struct, kw_only=True):
    """All that the owner of a computer is shown. `sentence` says in one sentence what the client does and why.

    The session helper and the screensaver read it from a file. `boxes` are the outermost processes of what runs (pid
    and start time in clock ticks), which a helper stops itself when the user comes back. `helped` is whether a helper
    is there, `viewed` when the owner last asked it for the full-screen view.
    """

    at: float
    version: str
    pid: int
    work: Work
    reason: Reason
    sentence: str
    since: float = 0.0
    until: float | None = None
    paused: bool = False
    finishing: bool = False
    presence: Presence | None = None
    idle_after_s: float = 180.0
    in_use_stops: bool = True
    cores: int = 0
    percent: int = 100
    running: list[Running] = []
    servers: list[Membership] = []
    boxes: list[tuple[int, int]] = []
    sandbox: str = ""
    notice: str = ""
    screen: str = "full"
    language: str = ""
    helped: bool = False
    viewed: float = 0.0


class Ask(msgspec.Struct, kw_only=True):
    """A wish. `what` is how long to pause (`30m`, `1h`, `tomorrow`, "" until resumed), a link, a server's id."""

    do: Literal[
        "status", "follow", "pause", "resume", "finish", "always", "preferences", "prefer", "log", "done",
        "present", "join", "leave", "link", "page", "privacy", "team", "view", "screensaver", "manager", "stop",
    ]  # fmt: skip
    what: str = ""
    changes: dict[str, Any] = {}
    presence: Presence | None = None
    most: int = 100


class Reply(msgspec.Struct, kw_only=True):
    """An answer: `data` if it went well, else an error with its code and what to do next."""

    data: Any = None
    code: str = ""
    message: str = ""
    hint: str = ""
