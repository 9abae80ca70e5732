"""The tray of Linux desktops: a StatusNotifierItem on the session's bus, with its menu. It needs no display.

Desktops without a host for it (stock GNOME) show no icon; if one comes later, for instance because the panel starts
after us, the icon appears then.
"""

# Annotations here are D-Bus signatures, read while the class is made: so they are not postponed.

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Annotated, Any, Final

from dbus_fast import AuthError, DBusError, InvalidAddressError, Message, MessageType, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusInt32, DBusObjectPath, DBusSignature, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from dsage_client.tray import dbusmenu, icons
from dsage_client.tray.model import Do, Face, Look, Wish
from dsage_client.words import _

WATCHER: Final = "org.kde.StatusNotifierWatcher"
PATH: Final = "/StatusNotifierItem"
READ: Final = PropertyAccess.READ

Pixmaps = Annotated[list[list[Any]], DBusSignature("a(iiay)")]
ToolTip = Annotated[list[Any], DBusSignature("(sa(iiay)ss)")]


class Item(ServiceInterface):
    """The icon: org.kde.StatusNotifierItem. `activated` is called when it is clicked."""

    def __init__(self, activated: Callable[[], None]) -> None:
        super().__init__("org.kde.StatusNotifierItem")
        self._activated = activated
        self._look = Look.AWAY
        self._title = ""

    def show(self, look: Look, title: str) -> None:
        """Show this from now on; a panel hears only of what has changed."""
        other_look, other_title = look is not self._look, title != self._title
        self._look, self._title = look, title
        if other_look:
            self.new_icon()
        if other_title:
            self.new_tool_tip()

    @dbus_method("Activate")
    def activate(self, x: DBusInt32, y: DBusInt32) -> None:
        """A click."""
        self._activated()

    @dbus_method("SecondaryActivate")
    def secondary_activate(self, x: DBusInt32, y: DBusInt32) -> None:
        """A click with the middle button."""
        self._activated()

    @dbus_method("ContextMenu")
    def context_menu(self, x: DBusInt32, y: DBusInt32) -> None:
        """A wish for the menu where the panel does not draw it: there is none but the panel's."""

    @dbus_method("Scroll")
    def scroll(self, delta: DBusInt32, orientation: DBusStr) -> None:
        """The wheel: nothing happens."""

    @dbus_property(READ, "Category")
    def category(self) -> DBusStr:
        """What kind of program this is."""
        return "ApplicationStatus"

    @dbus_property(READ, "Id")
    def id(self) -> DBusStr:
        """The program's name, for panels that remember whether to show it."""
        return "dsage"

    @dbus_property(READ, "Title")
    def title(self) -> DBusStr:
        """The program's name, for people."""
        return "DSage"

    @dbus_property(READ, "Status")
    def status(self) -> DBusStr:
        """Whether to show the icon: always."""
        return "Active"

    @dbus_property(READ, "WindowId")
    def window_id(self) -> DBusUInt32:
        """The program's window: it has none."""
        return 0

    @dbus_property(READ, "IconName")
    def icon_name(self) -> DBusStr:
        """The icon by name: empty, because it is given as pixels."""
        return ""

    @dbus_property(READ, "IconPixmap")
    def icon_pixmap(self) -> Pixmaps:
        """The icon as pixels, in several sizes."""
        return [[size, size, icons.argb(self._look, size)] for size in icons.SIZES]

    @dbus_property(READ, "ToolTip")
    def tool_tip(self) -> ToolTip:
        """What is shown beside the pointer."""
        return ["", [], "DSage", _unmarked(self._title)]

    @dbus_property(READ, "ItemIsMenu")
    def item_is_menu(self) -> DBusBool:
        """Whether a click opens the menu instead."""
        return False

    @dbus_property(READ, "Menu")
    def menu(self) -> DBusObjectPath:
        """Where the menu is."""
        return dbusmenu.PATH

    @dbus_signal("NewIcon")
    def new_icon(self) -> None:
        """The icon is another."""

    @dbus_signal("NewToolTip")
    def new_tool_tip(self) -> None:
        """The tool tip is another."""


class BusTray:
    """The tray over the bus at `address`. `tell` hears when no desktop shows the icon, and when one does at last."""

    def __init__(self, address: str, tell: Callable[[str], None]) -> None:
        self._address = address
        self._tell = tell
        self._bus: MessageBus | None = None
        self._face: Face | None = None
        self._hosted: bool | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `main` to its end."""
        asyncio.run(main())

    async def open(self, wished: Callable[[Wish], None], gone: Callable[[str], None]) -> None:
        """Offer the icon. Raises OSError if no bus can be reached."""
        self._wished = wished
        self._item, self._menu = Item(self._clicked), dbusmenu.Menu(wished)
        try:
            self._bus = bus = await MessageBus(self._address).connect()
            bus.export(PATH, self._item)
            bus.export(dbusmenu.PATH, self._menu)
            self._name = f"{WATCHER.removesuffix('Watcher')}Item-{os.getpid()}-1"
            await bus.request_name(self._name)
            bus.add_message_handler(self._heard)
            rule = f"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{WATCHER}'"
            await self._call("org.freedesktop.DBus", "/org/freedesktop/DBus", "AddMatch", "s", [rule])
        except (AuthError, DBusError, InvalidAddressError, EOFError) as error:
            raise OSError(f"the session's bus cannot be used: {error}") from None
        self._task(self._await_end(bus, gone))
        await self._register()

    def show(self, face: Face) -> None:
        """Show this from now on."""
        self._face = face
        if self._bus is not None and self._bus.connected:
            with suppress(OSError):  # the session ends: `gone` says so
                self._item.show(face.look, face.title)
                self._menu.show(face.items)

    async def notify(self, title: str, text: str) -> None:
        """Ask the desktop to show a notification (org.freedesktop.Notifications)."""
        body = ["DSage", 0, "", title, _unmarked(text), [], {}, -1]
        try:
            await self._call(
                "org.freedesktop.Notifications", "/org/freedesktop/Notifications", "Notify", "susssasa{sv}i", body
            )
        except DBusError:
            self._tell(f"{title}: {text}")

    async def close(self) -> None:
        """Leave the bus: panels drop the icon of a program that has gone."""
        for task in self._tasks:
            task.cancel()
        if self._bus is not None:
            self._bus.disconnect()

    def _clicked(self) -> None:
        default = self._face.default if self._face else None
        self._wished(default or Wish(Do.START))

    def _heard(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and message.member == "NameOwnerChanged":
            name, _before, now = message.body
            if name == WATCHER:
                self._task(self._register() if now else self._unhosted())

    async def _register(self) -> None:
        try:
            await self._call(WATCHER, "/StatusNotifierWatcher", "RegisterStatusNotifierItem", "s", [self._name])
        except DBusError:
            await self._unhosted()
        else:
            if self._hosted is False:
                self._tell(_("This desktop shows the icon now."))
            self._hosted = True

    async def _unhosted(self) -> None:
        if self._hosted is not False:
            self._tell(_("This desktop shows no icons of programs; the menu entry DSage opens the manager."))
        self._hosted = False

    async def _await_end(self, bus: MessageBus, gone: Callable[[str], None]) -> None:
        with suppress(OSError, EOFError):
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        gone(_("The session has ended."))

    async def _call(self, name: str, path: str, member: str, signature: str, body: list[Any]) -> None:
        if self._bus is None or not self._bus.connected:
            return
        message = Message(destination=name, path=path, interface=name, member=member, signature=signature, body=body)
        reply = None
        with suppress(OSError, EOFError):  # the session ends: `gone` says so
            reply = await self._bus.call(message)
        if reply is not None and reply.message_type is MessageType.ERROR:
            raise DBusError(reply.error_name or "", str(reply.body[0]) if reply.body else "")

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _unmarked(text: str) -> str:
    """Tool tips and notifications may be read as markup: nothing in them begins a tag."""
    return text.translate(str.maketrans("<>", "‹›"))
