"""Files and an entry made into a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dsage import bundle, codec
from dsage.bundle import Bundle
from dsage.shipping import worlds
from dsage.shipping.refusals import ShipError

ENTRIES: Final = ("calls", "dsage_calls")
"""Names that the entry's module can have: the first that no packed module has."""


def packed(files: Mapping[str, bytes], text: str, class_name: str, *, in_place: bool = False, what: str) -> Bundle:
    """Return `files` and an entry module with `text` as a bundle. Raises ShipError if it is too large.

    With `in_place` the modules of `files` are those that this process has imported already: only the entry is new.
    """
    taken = {name.partition("/")[0].removesuffix(".py") for name in files}
    entry = next(name for name in ENTRIES if name not in taken)
    whole = {**files, f"{entry}.py": text.encode()}
    bundle.check(whole)
    data = codec.encode({"files": whole})
    if len(data) > bundle.MAX_BUNDLE_BYTES:
        raise ShipError(f"{what} packs to {len(data)} bytes of source; at most {bundle.MAX_BUNDLE_BYTES} may travel")
    sha256 = codec.digest(data)
    here = {f"{entry}.py": text.encode()} if in_place else whole
    function = worlds.class_in(here, codec.digest(codec.encode({"files": here})), f"{entry}:{class_name}")
    return Bundle(data, sha256, f"{entry}:{class_name}", function)
