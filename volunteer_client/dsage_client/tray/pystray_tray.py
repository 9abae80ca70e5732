"""The tray of Windows and macOS, and of Linux where our own cannot be: the library pystray.

On Linux only its AppIndicator kind is used: its X11 kind never hears a click. pystray owns the main thread, as macOS
demands, and the helper's loop runs in another.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, Final

from dsage_client.tray import Tray, icons
from dsage_client.tray.model import Face, Item, Look, Wish
from dsage_client.words import _

SIZE: Final = 64
"""Pixels of the icon's edge; pystray scales it."""

END_S: Final = 5.0
"""How long the library may take to end: its loop was seen to stay for ever."""


def load(tell: Callable[[str], None]) -> Tray | None:
    """Return the tray, None if the library cannot be used here; `tell` hears why."""
    if sys.platform.startswith("linux"):
        os.environ.setdefault("PYSTRAY_BACKEND", "appindicator")
    try:
        return PystrayTray(import_module("pystray"), import_module("PIL.Image"))
    except Exception as error:  # noqa: BLE001 - importing it starts a toolkit, which raises what it likes
        tell(_("There is no icon: {error}").format(error=error))
        return None


class PystrayTray:
    """A tray over pystray. `library` and `image` are the modules pystray and PIL.Image."""

    def __init__(self, library: Any, image: Any) -> None:
        self._library = library
        self._image = image
        self._icon: Any = None
        self._look = Look.AWAY
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wished: Callable[[Wish], None] = lambda _wish: None
        self._failure: BaseException | None = None

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `main` in a thread and the icon in this one, until `main` has ended. Raises what it raised."""
        self._icon = self._library.Icon("dsage", self._picture(self._look), "DSage")
        worker = threading.Thread(target=self._work, args=(main,), name="helper")

        def ready(icon: Any) -> None:
            icon.visible = True
            worker.start()

        self._icon.run(ready)
        worker.join()
        if self._failure is not None:
            raise self._failure

    async def open(self, wished: Callable[[Wish], None], gone: Callable[[str], None]) -> None:
        """Begin."""
        self._loop = asyncio.get_running_loop()
        self._wished = wished

    def show(self, face: Face) -> None:
        """Show this from now on."""
        self._in_main_thread(lambda: self._show(face))

    async def notify(self, title: str, text: str) -> None:
        """Show a notification where the library can."""
        if self._icon.HAS_NOTIFICATION:
            self._in_main_thread(lambda: self._icon.notify(text, title))

    async def close(self) -> None:
        """Nothing: the icon goes when `run` ends."""

    def _work(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - it is raised in the main thread
            self._failure = error
        finally:
            watchdog = threading.Timer(END_S, os._exit, (0,))
            watchdog.daemon = True
            watchdog.start()
            self._icon.stop()
            watchdog.cancel()

    def _show(self, face: Face) -> None:
        if face.look is not self._look:
            self._look = face.look
            self._icon.icon = self._picture(face.look)
        self._icon.title = f"DSage\n{face.title}"[:120]  # Windows shows no more than 127 characters
        self._icon.menu = self._menu(face.items)
        self._icon.update_menu()

    def _picture(self, look: Look) -> Any:
        return self._image.frombytes("RGBA", (SIZE, SIZE), icons.rgba(look, SIZE))

    def _menu(self, items: tuple[Item, ...]) -> Any:
        return self._library.Menu(*(self._item(item) for item in items))

    def _item(self, item: Item) -> Any:
        if not item.label:
            return self._library.Menu.SEPARATOR
        return self._library.MenuItem(
            item.label,
            self._menu(item.items) if item.items else self._action(item.wish),
            checked=None if item.checked is None else lambda _item: bool(item.checked),
            enabled=item.enabled,
            default=item.default,
        )

    def _action(self, wish: Wish | None) -> Callable[[Any, Any], None]:
        def picked(_icon: Any, _item: Any) -> None:
            if wish is not None and self._loop is not None:
                self._loop.call_soon_threadsafe(self._wished, wish)

        return picked

    def _in_main_thread(self, call: Callable[[], None]) -> None:
        if sys.platform == "darwin":
            import_module("PyObjCTools.AppHelper").callAfter(call)
        else:
            call()
