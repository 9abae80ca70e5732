"""What a researcher asks beside driving: units and their copies, tokens, and what is said of a project."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from dsage.account import Count, Message, Seconds
from dsage.wire.limits import MANY


class Chosen(Message):
    """Which units of a run a retry or a re-opening is for; none: of a retry, all that failed."""

    units: Annotated[list[Count], MANY] = []


class UnitView(Message):
    """A unit as its researcher sees it: `value` of the canonical result; failures, times and `code` as in Answer.

    `attempts` is how many copies were sent to computers.
    """

    unit: int
    key: str
    group: str
    state: str
    args: bytes
    value: bytes | None
    failed: str = ""
    code: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    attempts: int = 0


class UnitPage(Message):
    """Units of a run in the order of their ids; `more` says whether there are further ones after the last."""

    units: list[UnitView] = []
    more: bool = False


class Attempt(Message):
    """One copy of a unit as its researcher sees it: how it ended, and the end of what it printed.

    `detail` is the end of the traceback of one that failed; `ended` is None while it runs.
    """

    unit: int
    replica: int
    state: str
    started: float
    ended: float | None
    reason: str
    detail: str
    output: bytes
    cpu_s: float
    wall_s: float
    platform: str


class TokenWish(Message):
    """A researcher wants a token for a program: the body of POST /v1/researcher/tokens. `lasts_s` is how long."""

    name: str
    scope: Literal["read", "write"] = "read"
    lasts_s: Seconds = 30 * 86400.0


class TokenView(Message):
    """A token of a researcher; times in Unix seconds. Its `secret` is told once, to whom it is made for."""

    id: int
    name: str
    scope: str
    created: float
    expires: float
    used: float | None = None
    revoked: float | None = None
    secret: str = ""


class DescribeProject(Message):
    """Say in plain words what a project is for; a `new` one must not have been described before."""

    title: Annotated[str, msgspec.Meta(max_length=200)]
    purpose: Annotated[str, msgspec.Meta(max_length=5000)]
    ethics: Annotated[str, msgspec.Meta(max_length=5000)] = ""
    link: Annotated[str, msgspec.Meta(max_length=500)] = ""
    new: bool = False
