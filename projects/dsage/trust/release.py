"""Which clients an operator offers, signed by the root key: a captured server can offer nothing newer of its own."""

from __future__ import annotations

import re
from typing import ClassVar

import msgspec

from dsage.errors import RolledBack, WrongServer
from dsage.trust.chain import Chain, check_dates
from dsage.trust.documents import PAYLOAD_PREFIX, Document
from dsage.trust.envelope import Envelope, open_as

_NUMBERS = re.compile(r"\d+")


class ReleasedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package: `system` is deb, wheel, windows, macos or other."""

    name: str
    system: str
    sha256: str
    bytes: int


class Release(Document, frozen=True, kw_only=True):
    """The client that volunteers of a server should have; `number` only ever grows. `news` is a line for people."""

    payload_type: ClassVar[str] = PAYLOAD_PREFIX + "release+json"

    server_id: str
    number: int
    version: str
    issued: float
    expires: float
    files: tuple[ReleasedFile, ...] = ()
    news: str = ""


def believed(envelope: Envelope, chain: Chain, now: float, *, seen: int = 0) -> Release:
    """Return the release if this server's root key signed it, it is in force, and none newer than it was `seen`.

    Raises WrongRole, BadSignature, TrustError, WrongServer, Expired, RolledBack.
    """
    release = open_as(envelope, Release, [chain.root.root_key])
    if release.server_id != chain.root.server_id:
        raise WrongServer(f"the release is of server {release.server_id}, not of {chain.root.server_id}")
    check_dates("the release", release.issued, release.expires, now)
    if release.number < seen:
        raise RolledBack(f"the release has number {release.number}, and number {seen} was already seen")
    return release


def newer(offered: str, here: str) -> bool:
    """Say whether a version is above another, number by number; a pre-release comes before its release."""
    return _key(offered) > _key(here)


def _key(version: str) -> tuple[list[int], bool, list[int]]:
    match = re.match(r"[vV]?(\d+(?:\.\d+)*)(.*)", version.strip())
    if match is None:
        return [], False, []
    numbers = [int(number) for number in match[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    final = re.match(r"[.~-]?(a|b|c|rc|dev|alpha|beta|pre)", match[2]) is None
    return numbers, final, [int(number[:18]) for number in _NUMBERS.findall(match[2])]
