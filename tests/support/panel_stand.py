"""A desktop without pixels: a bus of its own, and a panel on it that reads and clicks what registers itself.

async with private_bus(tmp_path) as address, Panel(address) as panel:
    ...start a program with DBUS_SESSION_BUS_ADDRESS=address...
    await panel.registered()
    await panel.click("Resume")
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from dbus_fast import DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

WATCHER = "org.kde.StatusNotifierWatcher"
ITEM = "org.kde.StatusNotifierItem"
MENU = "com.canonical.dbusmenu"
NOTIFICATIONS = "org.freedesktop.Notifications"


@asynccontextmanager
async def private_bus(folder: Path) -> AsyncIterator[str]:
    """A session bus of its own; yields its address."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not installed")
    daemon = await asyncio.create_subprocess_exec(
        "dbus-daemon", "--session", "--nofork", "--print-address=1", f"--address=unix:path={folder}/bus",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert daemon.stdout is not None
    try:
        yield (await daemon.stdout.readline()).decode().strip()
    finally:
        daemon.terminate()
        await daemon.wait()


class Panel:
    """A panel that shows notifier items, and notifications. `items` are the names that registered, `notes` what was
    notified, `signals` the members of all signals of the newest item and its menu, in order."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.items: list[str] = []
        self.notes: list[str] = []
        self.signals: list[str] = []
        self._changed = asyncio.Condition()
        self._notifying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Panel:
        self._bus = await MessageBus(self._address).connect()
        self._bus.add_message_handler(self._heard)
        for name in (ITEM, MENU):
            await self._call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s",
                             [f"type='signal',interface='{name}'"])  # fmt: skip
        await self._bus.request_name(NOTIFICATIONS)
        await self._bus.request_name(WATCHER)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bus.disconnect()

    async def registered(self, *, more_than: int = 0) -> str:
        """Wait until more than so many items have registered; return the newest one's name."""
        await self.until(lambda: len(self.items) > more_than)
        return self.items[-1]

    async def property(self, name: str) -> Any:
        """A property of the newest item."""
        reply = await self._call(self.items[-1], "/StatusNotifierItem", "org.freedesktop.DBus.Properties", "Get", "ss",
                                 [ITEM, name])  # fmt: skip
        return reply[0].value

    async def menu(self) -> list[dict[str, Any]]:
        """The newest item's whole menu: `id`, `items` and its properties for each line."""
        _revision, root = await self._menu("GetLayout", "iias", [0, -1, []])
        return [_line(child) for child in root[2]]

    async def labels(self) -> list[str]:
        """The labels of the menu, as they are drawn; separators are empty."""
        return [line.get("label", "") for line in await self.menu()]

    async def find(self, label: str) -> dict[str, Any]:
        """The line with this label, wherever it stands. Raises LookupError."""
        waiting = await self.menu()
        while waiting:
            line = waiting.pop(0)
            if line.get("label") == label:
                return line
            waiting += line["items"]
        raise LookupError(label)

    async def click(self, label: str) -> None:
        """Open the menu and pick this line."""
        await self._menu("AboutToShow", "i", [0])
        line = await self.find(label)
        await self._menu("Event", "isvu", [line["id"], "clicked", Variant("i", 0), 0])

    async def activate(self) -> None:
        """A left click on the icon."""
        await self._call(self.items[-1], "/StatusNotifierItem", ITEM, "Activate", "ii", [1, 1])

    async def shows(self, label: str, *, within_s: float = 30) -> dict[str, Any]:
        """Wait until the menu has this line: it is read again whenever the item says that it changed."""
        async with asyncio.timeout(within_s):
            while True:
                seen = len(self.signals)
                try:
                    return await self.find(label)
                except LookupError:
                    await self.until(lambda seen=seen: len(self.signals) > seen)  # type: ignore[misc]

    async def until(self, true: Callable[[], bool], *, within_s: float = 30) -> None:
        """Wait until something here is true."""
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(true)

    async def raw_menu(self, member: str, signature: str, body: list[Any]) -> Any:
        """Call any method of the newest item's menu."""
        return await self._menu(member, signature, body)

    async def _menu(self, member: str, signature: str, body: list[Any]) -> Any:
        return await self._call(self.items[-1], "/MenuBar", MENU, member, signature, body)

    async def _call(
        self, name: str, path: str, interface: str, member: str, signature: str, body: list[Any]
    ) -> list[Any]:
        reply = await self._bus.call(
            Message(destination=name, path=path, interface=interface, member=member, signature=signature, body=body)
        )
        assert reply is not None
        if reply.message_type is MessageType.ERROR:
            raise DBusError(reply.error_name or "", str(reply.body))
        return reply.body

    def _heard(self, message: Message) -> Message | None:
        if message.message_type is MessageType.METHOD_CALL and message.member == "RegisterStatusNotifierItem":
            name = message.body[0]
            self.items.append(message.sender if name.startswith("/") else name)
        elif message.message_type is MessageType.METHOD_CALL and message.member == "Notify":
            self.notes.append(message.body[4])
        elif message.message_type is MessageType.SIGNAL and message.interface in (ITEM, MENU):
            self.signals.append(message.member or "")
        else:
            return None
        task = asyncio.get_running_loop().create_task(self._notify())
        self._notifying.add(task)
        task.add_done_callback(self._notifying.discard)
        if message.message_type is MessageType.SIGNAL:
            return None
        return Message.new_method_return(message, *(("u", [1]) if message.member == "Notify" else ()))

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _line(child: Variant) -> dict[str, Any]:
    id, properties, items = child.value
    return {
        "id": id,
        **{name: value.value for name, value in properties.items()},
        "items": [_line(item) for item in items],
    }
