"""A class of this program made into a bundle: with its modules, or written out of a script or notebook."""

from __future__ import annotations

from dsage import bundle, codec
from dsage.bundle import Bundle
from dsage.function import DistributedFunction
from dsage.shipping import imports, written
from dsage.shipping.functions import importable
from dsage.shipping.refusals import ShipError


def ship_class(kind: type[DistributedFunction]) -> Bundle:
    """Return `kind` as an app: its module and what that imports, or a module written from its source.

    The bundle's `function` is `kind` itself. Raises ShipError for a class that cannot be found or written down.
    """
    if "<locals>" in kind.__qualname__:
        raise ShipError(
            f"{kind.__name__} is defined inside a function, where no other computer can find it",
            hint="Move the class to the top level of its file.",
        )
    place = importable(kind)
    if place is None:
        text, files, _ = written.module_of(kind)
        files, entry = {**files, f"{written.MODULE}.py": text.encode()}, f"{written.MODULE}:{kind.__name__}"
    else:
        files, entry = imports.tree(place[0])[0], ":".join(place)
    bundle.check(files)
    data = codec.encode({"files": files})
    if len(data) > bundle.MAX_BUNDLE_BYTES:
        raise ShipError(f"{kind.__name__} packs to {len(data)} bytes; at most {bundle.MAX_BUNDLE_BYTES} may travel")
    return Bundle(data, codec.digest(data), entry, kind)
