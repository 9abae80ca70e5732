"""A real server for tests: real TLS, real SQLite, real keys, on free ports of this computer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dsage.home import Home, Login
from dsage.trust.ceremony import LAB
from dsage_server.server import Running, serving
from dsage_server.settings import Settings


def local_settings(home: Home, *, port: int = 0) -> Settings:
    """Return settings that bind to localhost only; the checks may run in the weaker sandbox."""
    return Settings(
        folder=home.server, name="Test", listen="127.0.0.1", port=port, pages="127.0.0.1", pages_port=0, sandbox_own=True
    )


@asynccontextmanager
async def running_server(folder: Path, *, port: int = 0) -> AsyncIterator[Running]:
    """Serve from a home in `folder`, logged in as the lab's researcher."""
    home = Home(folder)
    async with serving(home, local_settings(home, port=port)) as running:
        Login(link=str(running.link()), key=LAB).save(home)
        yield running
