"""The proxy through which this computer reaches the world, as its owner has set it.

It is that of the environment (HTTPS_PROXY, else ALL_PROXY; NO_PROXY names what is reached directly), or on Windows and
macOS of the system's settings. This computer itself is always reached directly.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Final

from dsage.errors import UsageError

DIRECT: Final = "Set HTTPS_PROXY=http://HOST:PORT, or name the server in NO_PROXY to reach it directly."


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `url` may hold a name and a password; as text it holds neither."""

    url: str

    def __str__(self) -> str:
        parts = urllib.parse.urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a server, None if it is reached directly. Raises UsageError for one that is none of HTTP."""
    host = urllib.parse.urlsplit(url).hostname or ""
    found = urllib.request.getproxies()
    text = found.get("https") or found.get("all") or ""
    if not text or _here(host) or urllib.request.proxy_bypass(host):
        return None
    text = text if "://" in text else f"http://{text}"
    try:
        parts = urllib.parse.urlsplit(text)
        good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        shown = text.rpartition("@")[2][:80]
        raise UsageError(f"the proxy {shown!r} cannot be used: DSage speaks to HTTP proxies only", hint=DIRECT)
    return Proxy(text)


def _here(host: str) -> bool:
    """Say whether an address is that of this computer."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
