"""Files that units read: what they may be called, and how a unit names them.

A name becomes a file's name on volunteers' computers: letters, digits, dots, dashes and underscores, with neither a dot
nor a dash in front. What is signed says each file's hash and length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from dsage.errors import UsageError

MAX_INPUTS: Final = 64
"""Files of one unit."""
NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\Z"
HASH: Final = r"^[0-9a-f]{64}\Z"

Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=NAME)]
Sha256: TypeAlias = Annotated[str, msgspec.Meta(pattern=HASH)]


class InputFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file as it is signed: its hash, and its length in bytes."""

    sha256: Sha256
    bytes: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


def is_name(text: str) -> bool:
    """Whether a text may be the name of an input."""
    return re.match(NAME, text, re.ASCII) is not None


def is_hash(text: str) -> bool:
    """Whether a text is a SHA-256 as we write it."""
    return re.match(HASH, text, re.ASCII) is not None


def named(inputs: Mapping[str, str | Path]) -> dict[str, str]:
    """Return an author's inputs as hashes, and as absolute paths those that have still to be sent.

    Raises UsageError for a name or a source that cannot be.
    """
    if len(inputs) > MAX_INPUTS:
        raise UsageError(f"a unit with {len(inputs)} inputs; it may have {MAX_INPUTS}", hint="Pack some of them.")
    found: dict[str, str] = {}
    for name, source in inputs.items():
        if not isinstance(name, str) or not is_name(name):
            raise UsageError(
                f"an input cannot be called {name!r}",
                hint="Use at most 64 letters, digits, dots, dashes and underscores; the first is no dot or dash.",
            )
        if isinstance(source, Path):
            found[name] = str(source.absolute())
        elif isinstance(source, str) and is_hash(source):
            found[name] = source
        else:
            raise UsageError(
                f"the input {name!r} is neither a pathlib.Path nor the SHA-256 of a file that the server has"
            )
    return found
