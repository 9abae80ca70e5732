"""Why a function or a text cannot travel."""

from __future__ import annotations

from dsage.errors import BundleError


class ShipError(BundleError):
    """A function or text that cannot run on another computer as it stands."""

    code = "ship"
    default_hint = "Write it as a function of its own at the top of a file, and give it data as arguments."
