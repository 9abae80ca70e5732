"""Addresses that servers give, before a browser follows them."""

from __future__ import annotations

from urllib.parse import urlsplit


def web_address(address: str) -> str:
    """Return an address that a server gave if a browser may follow it, "" for any other kind (`javascript:`)."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    plain = address.isascii() and address.isprintable()
    return address if plain and parts.scheme in ("http", "https") and parts.netloc else ""
