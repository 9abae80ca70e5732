"""The tray's menu on D-Bus: the interface com.canonical.dbusmenu, version 3, which panels read and click.

What only says something else is told item by item, because a panel may close an open menu when its layout changes.
"""

# Annotations here are D-Bus signatures, read while the class is made: so they are not postponed.

from collections.abc import Callable
from typing import Annotated, Any, Final

from dbus_fast import PropertyAccess, Variant
from dbus_fast.annotations import (
    DBusBool,
    DBusDict,
    DBusInt32,
    DBusSignature,
    DBusStr,
    DBusUInt32,
    DBusVariant,
)
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from dsage_client.tray.model import Item, Wish, walk

PATH: Final = "/MenuBar"

Ids = Annotated[list[int], DBusSignature("ai")]
Names = Annotated[list[str], DBusSignature("as")]
Layout = Annotated[tuple[int, list[Any]], DBusSignature("u(ia{sv}av)")]
Groups = Annotated[list[list[Any]], DBusSignature("a(ia{sv})")]
Events = Annotated[list[list[Any]], DBusSignature("a(isvu)")]
Shown = Annotated[tuple[list[int], list[int]], DBusSignature("aiai")]
Updates = Annotated[tuple[list[list[Any]], list[list[Any]]], DBusSignature("a(ia{sv})a(ias)")]
Updated = Annotated[tuple[int, int], DBusSignature("ui")]

READ: Final = PropertyAccess.READ


class Menu(ServiceInterface):
    """The menu. `show` replaces what stands in it; `wished` is called with the wish of an item that was clicked."""

    def __init__(self, wished: Callable[[Wish], None]) -> None:
        super().__init__("com.canonical.dbusmenu")
        self._wished = wished
        self._items: tuple[Item, ...] = ()
        self._revision = 1

    def show(self, items: tuple[Item, ...]) -> None:
        """Show these items from now on."""
        before, self._items = self._items, items
        if _shape(before) != _shape(items):
            self._revision += 1
            self.layout_updated(0)
            return
        old = {item.id: _properties(item) for item in walk(before)}
        changed = [[item.id, properties] for item in walk(items) if (properties := _properties(item)) != old[item.id]]
        if changed:
            self.items_properties_updated(changed)

    @dbus_method("GetLayout")
    def get_layout(self, parent: DBusInt32, depth: DBusInt32, names: Names) -> Layout:
        """The items below `parent`, so many levels of them (-1: all)."""
        if parent == 0:
            return self._revision, [0, {"children-display": Variant("s", "submenu")}, _below(self._items, depth)]
        item = self._find(parent)
        return self._revision, [parent, _properties(item) if item else {}, _below(item.items if item else (), depth)]

    @dbus_method("GetGroupProperties")
    def get_group_properties(self, ids: Ids, names: Names) -> Groups:
        """The properties of some items; of all if none is named."""
        return [[item.id, _properties(item)] for item in walk(self._items) if not ids or item.id in ids]

    @dbus_method("GetProperty")
    def get_property(self, id: DBusInt32, name: DBusStr) -> DBusVariant:
        """One property of an item."""
        item = self._find(id)
        return (_properties(item) if item else {}).get(name, Variant("s", ""))

    @dbus_method("Event")
    def event(self, id: DBusInt32, kind: DBusStr, data: DBusVariant, at: DBusUInt32) -> None:
        """Something happened to an item; a click makes its wish."""
        item = self._find(id)
        if kind == "clicked" and item and item.wish:
            self._wished(item.wish)

    @dbus_method("EventGroup")
    def event_group(self, events: Events) -> Ids:
        """Several events at once. Returns the ids that are not in the menu."""
        for id, kind, data, at in events:
            Menu.event(self, id, kind, data, at)
        return [event[0] for event in events if self._find(event[0]) is None]

    @dbus_method("AboutToShow")
    def about_to_show(self, id: DBusInt32) -> DBusBool:
        """The menu is being opened. What it shows is always fresh, so nothing has to be read again."""
        return False

    @dbus_method("AboutToShowGroup")
    def about_to_show_group(self, ids: Ids) -> Shown:
        """Several are being opened. Returns which need reading, and which are not in the menu."""
        return [], [id for id in ids if id and self._find(id) is None]

    @dbus_signal("LayoutUpdated")
    def layout_updated(self, parent: int) -> Updated:
        """The items below `parent` are others."""
        return self._revision, parent

    @dbus_signal("ItemsPropertiesUpdated")
    def items_properties_updated(self, changed: list[list[Any]]) -> Updates:
        """Some items say something else."""
        return changed, []

    @dbus_property(READ, "Version")
    def version(self) -> DBusUInt32:
        """The version of the interface."""
        return 3

    @dbus_property(READ, "TextDirection")
    def text_direction(self) -> DBusStr:
        """Which way the text runs."""
        return "ltr"

    @dbus_property(READ, "Status")
    def status(self) -> DBusStr:
        """Whether the menu wants attention."""
        return "normal"

    @dbus_property(READ, "IconThemePath")
    def icon_theme_path(self) -> Names:
        """Where icons of items are: there are none."""
        return []

    def _find(self, id: int) -> Item | None:
        return next((item for item in walk(self._items) if item.id == id), None)


def _shape(items: tuple[Item, ...]) -> list[Any]:
    return [(item.id, _shape(item.items)) for item in items]


def _below(items: tuple[Item, ...], depth: int) -> list[Variant]:
    if depth == 0:
        return []
    return [Variant("(ia{sv}av)", [item.id, _properties(item), _below(item.items, depth - 1)]) for item in items]


def _properties(item: Item) -> DBusDict:
    if not item.label:
        return {"type": Variant("s", "separator")}
    properties = {"label": Variant("s", item.label.replace("_", "__")), "enabled": Variant("b", item.enabled)}
    if item.items:
        properties["children-display"] = Variant("s", "submenu")
    if item.checked is not None:
        properties["toggle-type"] = Variant("s", "checkmark")
        properties["toggle-state"] = Variant("i", int(item.checked))
    return properties
