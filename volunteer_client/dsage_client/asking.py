"""Asking a server who it is, what runs there and what one would be called, before its owner's computer joins it."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from dsage.connection import Connection
from dsage.errors import NotFound
from dsage.trust.invite import Link
from dsage.wire import About, NameOffer, NameWish


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody is asked to agree to. `name` is "" where the server draws it only at the joining; `linked` if it is
    that of an account which has it already."""

    about: About
    name: str = ""
    linked: bool = False


async def offer(link: Link) -> Offer:
    """Return what the server behind a link says of itself, and a name that is free. Only the server that the link pins
    is believed; asked again, it offers another name.

    One that is too old to tell is called by its address. Raises ServerAway, TrustError, RequestError.
    """
    async with await Connection.open(link) as connection:
        try:
            about = await connection.call("GET", "/v1/about", None, About)
        except NotFound:
            about = About(server_id=link.server_id, name=urlsplit(link.url).netloc)
        try:
            named = await connection.call("POST", "/v1/name", NameWish(code=link.code), NameOffer)
        except NotFound:
            named = NameOffer(pseudonym="")
    return Offer(about=about, name=named.pseudonym, linked=named.linked)
