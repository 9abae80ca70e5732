"""What a volunteer's own computers and the server say to each other about the account: who it is, what it earned, what
others may see. Apart from the other messages (`dsage.wire`, which has these too) because programs that stay small and
sign nothing speak of it.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""What a database column holds: ids and numbers of things."""
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=1e12)]
"""A duration; the bounds keep out NaN and infinity too."""


class Message(msgspec.Struct, kw_only=True):
    """Base of every message."""


class Privacy(Message):
    """What may be shown of a volunteer: all off until they switch it on. The body of POST /v1/account/privacy.

    `leaderboard` lists the pseudonym with its credit, `discoveries` names it beside what its computers found. `export`
    puts it, with its team, and its computers without their names, into the daily files for statistics sites.
    """

    leaderboard: bool = False
    discoveries: bool = False
    export: bool = False


class DeviceView(Message):
    """One of a volunteer's computers: `name` as its owner gave it, `seen` in Unix seconds, `here` if it is asking."""

    name: str
    seen: float | None
    here: bool = False
    platform: str = ""
    cores: int = 0


class Correction(Message):
    """Credit that was taken back (`kind` is reversal) or corrected by the operator (manual), and why: `amount_milli` in
    thousandths, below 0 if it was taken, `at` in Unix seconds."""

    kind: str
    amount_milli: int
    at: float
    project: str = ""
    reason: str = ""


class AccountView(Message):
    """A volunteer's account, for its own computers: the reply of GET /v1/account.

    `granted_milli` is credit paid, `pending_milli` what answers would be paid that are not judged yet (thousandths).
    What was taken back, `taken_milli`, is not in the first any more; the newest `corrections` say why. `house_milli` is
    credit of a researcher's own computers for the researcher's own runs, which is in no public sum and none here.
    `projects` are titles by name; `page` is where the public finds the volunteer, "" if it cannot.
    """

    pseudonym: str
    granted_milli: int
    pending_milli: int
    devices: list[DeviceView]
    privacy: Privacy
    projects: dict[str, str] = {}
    team: str = ""
    page: str = ""
    taken_milli: int = 0
    house_milli: int = 0
    corrections: list[Correction] = []


class TeamWish(Message):
    """What a volunteer does about a team: the body of POST /v1/account/team.

    `create` takes a `name`, `join` the `code` of an invite. `invite` makes such a code, in place of an older one, for
    whoever leads the team; `lead` takes over a team whose founder has been silent for long.
    """

    do: Literal["create", "join", "leave", "invite", "lead"]
    name: str = ""
    code: str = ""


class TeamView(Message):
    """The team that a volunteer is in since `since`: the reply to GET and POST /v1/account/team; `team` is 0 in none.

    `granted_milli` is what its members were granted while they were in it, `recent` in credits a day. `leads` is
    whether the volunteer who asks leads it, `vacant` whether any member may take it over. `founder` is "" unless they
    are on the leaderboard. `code` is a new invite, good for `valid_s`.
    """

    team: Count = 0
    name: str = ""
    founder: str = ""
    leads: bool = False
    vacant: bool = False
    members: Count = 0
    granted_milli: int = 0
    recent: float = 0.0
    since: float | None = None
    code: str = ""
    valid_s: Seconds = 0.0


class BadgeView(Message):
    """Something earned for good: for the credit of an app (`kind` is app, `level` 1 to 10) or by an event. `at` is the
    UTC day, in Unix seconds; credit that is taken back takes along what it earned."""

    kind: str
    name: str
    title: str
    criterion: str
    at: float
    level: int = 0


class BadgesView(Message):
    """A volunteer's own badges: the reply of GET /v1/account/badges.

    `streak` and `longest` count weeks (Monday to Sunday, UTC) with a valid answer; two weeks without one in a quarter
    do not end a streak, and `free` are left of them. `steady` of the last `steady_of` whole weeks had a valid answer.
    """

    badges: list[BadgeView]
    streak: int
    longest: int
    free: int
    steady: int
    steady_of: int


class LinkCode(Message):
    """A code that takes one more computer into the account, once: the reply of POST /v1/account/link."""

    code: str
    valid_s: Seconds


class PageLink(Message):
    """An address that logs one browser in, once, within `valid_s`: the reply of POST /v1/account/page-link, and for
    researchers of POST /v1/researcher/page-link."""

    url: str
    valid_s: Seconds


class Leave(Message):
    """This computer leaves: the body of POST /v1/account/leave. `erase` forgets the account with its last computer."""

    erase: bool = False


class Left(Message):
    """What became of it: `returned` copies were handed back, the account was `erased`, and `others` computers stay."""

    returned: int
    erased: bool
    others: int
