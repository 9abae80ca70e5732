"""Before anybody works: who the server is, what runs there, and how one joins and logs in."""

from __future__ import annotations

from dsage.account import Message


class Hello(Message):
    """Who the server is, before any login."""

    server_id: str
    name: str
    protocols: list[int]
    root_version: int
    time: float
    pages_url: str


class ChallengeReply(Message):
    """A single-use number to sign."""

    challenge: bytes
    server_id: str
    valid_s: float


class NameWish(Message):
    """What would a newcomer be called? The body of POST /v1/name, with the code of an invite."""

    code: str


class NameOffer(Message):
    """A pseudonym that is free, good for an enrolment soon; `linked` if the code leads to an account that has it."""

    pseudonym: str
    linked: bool = False


class EnrolReply(Message):
    """A volunteer's new account."""

    volunteer: int
    pseudonym: str


class LoginReply(Message):
    """A bearer token."""

    token: str
    valid_s: float
    name: str


class ProjectOffer(Message):
    """A project that has work here: its name, and in its people's words what it is for; `by` is who says so."""

    name: str
    title: str
    purpose: str = ""
    by: str = ""
    link: str = ""


class Package(Message):
    """A client that the operator published. `system` is deb, wheel, windows, macos or other; `path` is on the pages."""

    name: str
    system: str
    version: str
    bytes: int
    sha256: str
    path: str


class About(Message):
    """What runs here and for whom, for somebody who has not joined: the reply of GET /v1/about, which needs no login.

    `pages_url` is "" where no visitor reaches the pages. `welcome` says whether newcomers get a welcome unit.
    """

    server_id: str
    name: str
    operator: str = ""
    pages_url: str = ""
    projects: list[ProjectOffer] = []
    packages: list[Package] = []
    welcome: bool = False
