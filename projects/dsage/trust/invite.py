"""Invite links: where a server is, and the two hashes that a client pins before it believes a word of it.

    https://HOST:PORT/join#v=1&id=SERVER&ca=SHA256&root=SHA256&code=CODE
    https://PAGES/join#v=2&at=HOST:PORT&id=SERVER&ca=SHA256&root=SHA256&code=CODE

Everything after the "#" stays in the browser or client: it is never sent as part of a request's address.

The second form is for people, who open it in a browser: it leads to the server's public pages, whose certificate
browsers know, and `at` says where clients find the server. Nothing rests on the pages: what a client believes stands
behind the "#". `dsage://` in place of `https://` opens the client that is installed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import urlsplit

from dsage.errors import UsageError

VERSION: Final = "1"
WITH_PAGE: Final = "2"
"""Of links that lead to the pages: clients which know only the first version say that they are too old."""
SCHEME: Final = "dsage"
"""Of links that a computer opens with the client, not with a browser."""
SYSTEM_CA: Final = "system"
"""In place of a CA's hash: whom the computer itself trusts, as in a browser."""
MAX_CHARACTERS: Final = 1000
FIELDS: Final = frozenset({"v", "at", "id", "ca", "root", "code"})

_HASH = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,128}")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\.?")


@dataclass(frozen=True)
class Link:
    """A server to join. `ca` and `root` are the SHA-256 of the CA's key (or SYSTEM_CA) and of the raw root key.

    `page` is the address of the pages that the link leads people to, empty if it leads to the server itself.
    """

    url: str
    server_id: str
    ca: str
    root: str
    code: str = ""
    page: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.page and _origin(self.page, plain=True) != self.page:
            raise _refusal(f"{self.page[:80]!r} is not the address of pages")
        if _origin(self.url) != self.url:
            raise _refusal(f"{self.url[:80]!r} is not the address of a server")
        if not _WORD.fullmatch(self.server_id) or not (self.code == "" or _WORD.fullmatch(self.code)):
            raise _refusal("its server id or code has characters that do not belong there")
        if not (_HASH.fullmatch(self.ca) or self.ca == SYSTEM_CA) or not _HASH.fullmatch(self.root):
            raise _refusal("a hash in it is damaged")

    @classmethod
    def parse(cls, text: str) -> Link:
        """Read a link as people paste it. Raises UsageError for anything else."""
        text = text.strip().strip("<>\"'").strip()
        if len(text) > MAX_CHARACTERS:
            raise _refusal("it is too long")
        address, mark, fragment = text.partition("#")
        if not mark or not address.endswith("/join"):
            raise _refusal("it is incomplete")
        scheme, separator, rest = address.partition("://")
        if scheme.lower() == SCHEME:
            address = f"https{separator}{rest}"
        pairs = [pair.partition("=") for pair in fragment.split("&")]
        fields = {name: value for name, _, value in pairs}
        if fields.get("v", VERSION) not in (VERSION, WITH_PAGE):
            raise UsageError(
                "this invite link was made by a newer version of DSage",
                hint="Update DSage on this computer, then try the link again.",
            )
        if len(fields) != len(pairs) or not {"v", "id", "ca", "root"} <= fields.keys() <= FIELDS:
            raise _refusal("it is incomplete or damaged")
        if (fields["v"] == WITH_PAGE) != ("at" in fields):
            raise _refusal("it is incomplete or damaged")
        leads_to = address.removesuffix("/join")
        url = _origin(f"https://{fields['at']}" if "at" in fields else leads_to)
        page = _origin(leads_to, plain=True) if "at" in fields else ""
        return cls(url, fields["id"], fields["ca"], fields["root"], fields.get("code", ""), page)

    def __str__(self) -> str:
        version = f"v={WITH_PAGE}&at={self.url.removeprefix('https://')}" if self.page else f"v={VERSION}"
        link = f"{self.page or self.url}/join#{version}&id={self.server_id}&ca={self.ca}&root={self.root}"
        return f"{link}&code={self.code}" if self.code else link

    def for_clients(self) -> Link:
        """Return the same invite, leading to the server itself: what a client keeps."""
        return replace(self, page="")


def _origin(text: str, *, plain: bool = False) -> str:
    """Return `https://HOST[:PORT]` in lower case; `plain`: http:// too. Raises UsageError for anything else."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refusal(f"{text[:80]!r} is not an address") from None
    if parts.scheme != "https" and not (plain and parts.scheme == "http"):
        raise _refusal("it does not begin with https://")
    if ":" in host:
        try:
            host = f"[{IPv6Address(host)}]"
        except AddressValueError:
            raise _refusal(f"{host[:60]!r} is not an IPv6 address") from None
        if "%" in host:
            raise _refusal("an IPv6 address with a zone works on one machine only")
    elif not _HOST.fullmatch(host):
        raise _refusal(f"{host[:60]!r} is not the name of a machine")
    if port == 0:
        raise _refusal("0 is not a port")
    netloc = host if port is None else f"{host}:{port}"
    if parts.netloc.lower() not in (netloc, _spelled(parts.netloc, port)) or parts.path or parts.query:
        raise _refusal("its address has parts that do not belong there")
    return f"{parts.scheme}://{netloc}"


def _spelled(netloc: str, port: int | None) -> str:
    """Return the address as it was typed if it is a bracketed IPv6 one: those have many spellings."""
    inner, _, rest = netloc.partition("]")
    typed_port = "" if port is None else f":{port}"
    return netloc.lower() if inner.startswith("[") and rest == typed_port else ""


def _refusal(why: str) -> UsageError:
    return UsageError(
        f"this is not an invite link: {why}",
        hint="Copy the whole line that `dsage invite` printed, in quotes: it holds a # and & signs.",
    )
