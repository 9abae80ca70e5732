"""Asking a server who it is and what runs there, before its owner's computer joins it."""

from __future__ import annotations

from urllib.parse import urlsplit

from dsage.connection import Connection
from dsage.errors import NotFound
from dsage.trust.invite import Link
from dsage.wire import About


async def about(link: Link) -> About:
    """Return what the server behind a link says of itself. Only the server that the link pins is believed.

    One that is too old to tell is called by its address. Raises ServerAway, TrustError, RequestError.
    """
    async with await Connection.open(link) as connection:
        try:
            return await connection.call("GET", "/v1/about", None, About)
        except NotFound:
            return About(server_id=link.server_id, name=urlsplit(link.url).netloc)
