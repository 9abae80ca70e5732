"""The icon beside the clock: what it shows (`model`, `icons`), and how each desktop is told (`sni`, `pystray_tray`)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from dsage_client.tray.model import Face, Wish


class Tray(Protocol):
    """An icon with a menu. All but `run` is called in the loop that `run` runs.

    The icon changes only when its state does: nothing here moves or blinks.
    """

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `main` to its end, from the main thread; the icon lives beside it."""
        ...

    async def open(self, wished: Callable[[Wish], None], gone: Callable[[str], None]) -> None:
        """Begin. `wished` is called with what the owner picks, `gone` with a sentence when the session has ended.

        Raises OSError if this kind of tray cannot be had here.
        """
        ...

    def show(self, face: Face) -> None:
        """Show this from now on."""
        ...

    async def notify(self, title: str, text: str) -> None:
        """Say something once. Where nothing shows notifications, nothing happens."""
        ...

    async def close(self) -> None:
        """Take the icon away."""
        ...
