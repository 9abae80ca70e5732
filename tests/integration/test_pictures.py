"""What an app shows, from `compute` in a real sandbox to what the screensaver reads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsage import codec
from dsage.errors import SandboxRefused
from dsage.function import Limits
from dsage.sandbox import Box, strongest
from dsage_client import statement
from dsage_client.saver import caption

APP = """
import time
from dsage import DistributedFunction, progress

class Shown(DistributedFunction):
    shown_as = "curves"

    @staticmethod
    def compute(args):
        progress(0.5, **args)
        return 1

class Plain(DistributedFunction):
    @staticmethod
    def compute(args):
        progress(0.5)
        return 1

class Odd(Shown):
    shown_as = ["no name"] * 3000
"""


async def told(folder: Path, name: str, args: Any) -> list[tuple[float, dict[str, Any]]]:
    """Run one unit in a box; return what was told of it."""
    try:
        level = (await strongest(folder, strangers=False)).level
    except SandboxRefused as refused:
        pytest.skip(str(refused))
    app = folder / "app"
    app.mkdir()
    (app / "shown.py").write_text(APP)
    for place in (folder, app):
        place.chmod(0o755)
    heard: list[tuple[float, dict[str, Any]]] = []
    box = await Box.open(level, app, f"shown:{name}", folder / "work")
    try:
        outcome = await box.call(
            "compute", (codec.encode(args),), Limits(), on_progress=lambda share, shows: heard.append((share, shows))
        )
    finally:
        await box.close()
    assert outcome.status == "done", outcome
    return heard


async def test_the_picture_is_known_from_the_beginning_and_its_facts_as_they_come(tmp_path: Path) -> None:
    heard = await told(tmp_path, "Shown", {"curve": 2, "curves": 9})
    assert heard == [(0.0, {"scene": "curves"}), (0.5, {"scene": "curves", "curve": 2, "curves": 9})]

    job: Any = SimpleNamespace(
        unit=4, cpu_s=1.0, started=0.0, fraction=heard[-1][0], shows=heard[-1][1],
        proven=SimpleNamespace(manifest=SimpleNamespace(project="p", title="T")),
    )  # fmt: skip
    part: Any = SimpleNamespace(server="s", agent=SimpleNamespace(slots=SimpleNamespace(running=lambda: [job])))
    (unit,) = statement.running(part)
    assert unit.scene == "curves"
    assert unit.shows == {"curve": 2, "curves": 9}
    assert caption.shown(None, "", unit).facts == "Curve 2 of 9"


async def test_an_app_without_a_picture_tells_its_share_only(tmp_path: Path) -> None:
    assert await told(tmp_path, "Plain", None) == [(0.5, {})]


async def test_a_name_that_is_none_costs_the_picture_and_not_the_unit(tmp_path: Path) -> None:
    assert await told(tmp_path, "Odd", {"curve": 2}) == [(0.5, {})]
