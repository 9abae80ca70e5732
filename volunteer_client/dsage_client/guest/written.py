"""Preferences as their owner writes and reads them on the command line."""

from __future__ import annotations

from typing import Any

import msgspec

from dsage.errors import UsageError
from dsage_client.guest.preferences import Preferences


def changes(texts: tuple[str, ...], kept: Preferences) -> dict[str, Any]:
    """Return changes as plain data: `in_use.percent=25` changes one field of a part, `a,b` is a list of words."""
    present: dict[str, Any] = msgspec.to_builtins(kept)
    wanted: dict[str, Any] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark:
            raise UsageError(f"{text!r} changes nothing", hint="Write NAME=VALUE, such as when=idle.")
        first, _, rest = name.partition(".")
        given = _value(value, wanted.get(first, present.get(first)), whole=not rest)
        if rest:
            before = wanted.get(first, present.get(first))
            wanted[first] = (before if isinstance(before, dict) else {}) | {rest: given}
        else:
            wanted[first] = given
    return wanted


def _value(text: str, before: Any, *, whole: bool) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        pass
    if text in ("yes", "no", "on", "off"):
        return text in ("yes", "on")
    if whole and isinstance(before, (list, tuple)):
        return [word.strip() for word in text.split(",") if word.strip()]
    return text


def text_of(preferences: Preferences) -> str:
    """Return every preference with its value, a line each."""
    fields: dict[str, Any] = msgspec.to_builtins(preferences)
    flat = {
        f"{name}.{inner}" if isinstance(value, dict) else name: each
        for name, value in fields.items()
        for inner, each in (value.items() if isinstance(value, dict) and value else [("", value)])
    }
    width = max(map(len, flat))
    return "\n".join(f"{name:<{width}}  {msgspec.json.encode(value).decode()}" for name, value in flat.items())
