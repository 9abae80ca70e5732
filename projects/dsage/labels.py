"""Tags: the words by which researchers ask for some computers, and owners mark theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from dsage.errors import UsageError

MAX_LABELS: Final = 16
_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")


def labels(texts: Iterable[str]) -> tuple[str, ...]:
    """Return tags as they are compared: in small letters, sorted, each once. Raises UsageError for what is none."""
    found = sorted({text.strip().lower() for text in texts})
    for label in found:
        if not _LABEL.fullmatch(label):
            raise UsageError(f"{label[:80]!r} is not a tag", hint="A tag has up to 64 letters, digits and . _ + -")
    if len(found) > MAX_LABELS:
        raise UsageError(f"{len(found)} tags; at most {MAX_LABELS} are taken")
    return tuple(found)
