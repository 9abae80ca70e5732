"""Addresses: how they are written, under which names a server is reached, and whether others can reach it."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from dsage.errors import UsageError
from dsage_server.settings import Settings

EVERYWHERE: Final = ("", "0.0.0.0", "::")


def certificate_names(settings: Settings) -> list[str]:
    """Return every name under which clients may reach the server, for its certificate."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), settings.listen]
    if settings.public:
        names.append(host_of(settings.public))
    return list(dict.fromkeys(name for name in names if name not in EVERYWHERE))


def names_of(address: str, settings: Settings) -> frozenset[str] | None:
    """Return the names that what is served on an address answers to; None if it is open to the network."""
    if not only_here(f"https://{spelled(address)}" if address not in EVERYWHERE else "https://0.0.0.0"):
        return None
    named = {urlsplit(url).hostname or "" for url in (settings.public, settings.pages_url) if url}
    return frozenset({address.lower(), socket.gethostname().lower()} | named)


def public_url(settings: Settings, port: int) -> str:
    """Return the URL that goes into links."""
    if settings.public:
        return settings.public
    name = settings.listen
    if name in EVERYWHERE:
        name = socket.gethostname() if _resolves(socket.gethostname()) else "localhost"
    return f"https://{spelled(name)}:{port}"


def only_here(url: str) -> bool:
    """Whether a link with this URL works on this computer alone."""
    host = host_of(url)
    try:
        found = {item[4][0] for item in socket.getaddrinfo(host, None)}
        return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)
    except OSError:
        return False


def visited(pages_url: str) -> bool:
    """Whether pages at this URL are open to other computers."""
    host = urlsplit(pages_url).hostname or ""
    return bool(host) and not only_here(f"https://{spelled(host)}")


def host_of(url: str) -> str:
    """Return the host of an https URL. Raises UsageError for anything else."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise UsageError(f"{url!r} is not the address of a server", hint="It looks like https://HOST:PORT.")
    return parts.hostname


def spelled(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def parse_address(text: str, default_port: int) -> tuple[str, int]:
    """Return (address, port) of HOST, HOST:PORT, :PORT or [IPV6]:PORT. Raises UsageError."""
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"{text!r} is not an address", hint="It looks like HOST:PORT or [IPV6]:PORT.") from None
    if parts.path or parts.query or parts.fragment or parts.username:
        raise UsageError(f"{text!r} is not an address", hint="It looks like HOST:PORT or [IPV6]:PORT.")
    return host, default_port if port is None else port


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True
