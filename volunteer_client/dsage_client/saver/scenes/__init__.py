"""The pictures: each is a function of what is known of a unit and of the time, and keeps nothing between two calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dsage_client.saver.scenes import curves, plain, spectrum, tiles
from dsage_client.saver.scenes.sight import Sight
from dsage_client.saver.shapes import Picture

SCENES: Final[dict[str, Callable[[Sight, float], Picture]]] = {
    "curves": curves.picture,
    "tiles": tiles.picture,
    "spectrum": spectrum.picture,
}


def picture(scene: str, sight: Sight, seconds: float) -> Picture:
    """Return what a scene looks like at a time; the plain one for a name that is not known here."""
    return SCENES.get(scene, plain.picture)(sight, seconds)
