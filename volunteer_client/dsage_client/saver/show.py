"""One moment of the screen: from the status and the time to shapes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import psutil

from dsage_client import words
from dsage_client.door.words import Status
from dsage_client.saver import caption, scenes
from dsage_client.saver.scenes.sight import Sight
from dsage_client.saver.shapes import Picture
from dsage_client.saver.status import Reader

FRAME_S: Final = 0.1
CALM_FRAME_S: Final = 0.5
BATTERY_FRAME_S: Final = 5.0
READ_S: Final = 0.5
"""How often the status is looked at."""
LOOKS_S: Final = 30.0
"""How often it is asked whether the computer runs on its battery."""
EPOCH_S: Final = 1e6
"""The time that pictures see begins anew after so long: sines of larger numbers lose their smoothness."""


class Show:
    """What one window shows: reads the status now and then, and knows how quickly to draw."""

    def __init__(self, folder: Path, *, calm: bool, names: bool) -> None:
        self._reader = Reader(folder)
        self._always_calm = calm
        self._names = names
        self._status: Status | None = None
        self._sentence = ""
        self._read_at = self._looked_at = float("-inf")
        self._on_battery = False
        self._spoken: str | None = None

    @property
    def calm(self) -> bool:
        """Whether little may move: the owner wants it, or the desktop was asked for it."""
        return self._always_calm or (self._status is not None and self._status.screen == "calm")

    def moment(self, width: int, height: int) -> tuple[str, Picture]:
        """Return the name of the picture and its shapes, now."""
        now = time.monotonic()
        if now - self._read_at >= READ_S:
            self._read_at = now
            self._status, self._sentence = self._reader.read()
            language = self._status.language if self._status is not None else ""
            if language != self._spoken:
                self._spoken = language
                words.speak(language)
        seconds = time.time() % EPOCH_S
        return moment(self._status, self._sentence, width, height, seconds, calm=self.calm, names=self._names)

    def wait_s(self) -> float:
        """Return how long a picture stands: long on the battery, which is not for pictures."""
        now = time.monotonic()
        if now - self._looked_at >= LOOKS_S:
            self._looked_at = now
            self._on_battery = on_battery()
        if self._on_battery:
            return BATTERY_FRAME_S
        return CALM_FRAME_S if self.calm else FRAME_S


def on_battery() -> bool:
    """Whether this computer runs on its battery, as far as it says."""
    sensors = getattr(psutil, "sensors_battery", None)
    found = sensors() if sensors is not None else None
    return found is not None and found.power_plugged is False


def moment(
    status: Status | None, sentence: str, width: int, height: int, seconds: float, *, calm: bool, names: bool
) -> tuple[str, Picture]:
    """Return the name of the picture and its shapes. A picture of another name begins anew."""
    unit = caption.turn(status.running, seconds) if status is not None else None
    sight = Sight(
        width=width, height=height, fraction=min(max((unit.fraction or 0.0) if unit else 0.0, 0.0), 1.0),
        shows=unit.shows if unit else {}, seed=unit.unit if unit else 0, awake=unit is not None, calm=calm,
    )  # fmt: skip
    scene = unit.scene if unit else ""
    words = caption.picture(caption.shown(status, sentence, unit, names=names), width, height, seconds, calm=calm)
    return f"{scene} {width}x{height}", scenes.picture(scene, sight, seconds) | words
