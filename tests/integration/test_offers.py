"""Programs that a computer offers run in its boxes, with all that they read besides."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsage import Limits, codec
from dsage.sandbox import Box, Level, landlock, offers

APP = '''
import subprocess
from pathlib import Path

from dsage import DistributedFunction

SCENE = """#version 3.7;
#include "colors.inc"
global_settings { assumed_gamma 1.0 }
camera { location <0, 0, -4> look_at 0 }
light_source { <2, 4, -3> White }
sphere { 0, 1 pigment { Red } }
"""


class Tools(DistributedFunction):
    needs = ("povray", "ecm")

    @staticmethod
    def povray(size):
        Path("scene.pov").write_text(SCENE)
        call = ["povray", "+Iscene.pov", "+Oscene.png", f"+W{size}", f"+H{size}", "-D", "+WT1"]
        subprocess.run(call, check=True)
        return Path("scene.png").read_bytes()

    @staticmethod
    def ecm(n):
        found = subprocess.run(["ecm", "-q", "-c", "50", "2000"], input=str(n).encode(), stdout=subprocess.PIPE)
        return found.stdout.decode().split()
'''


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "tools.py").write_text(APP)
    return folder


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize(
    ("name", "argument", "begins"),
    [("povray", 32, b"\x89PNG"), ("ecm", (10**9 + 7) * (10**25 + 13), ["1000000007", "10000000000000000000000013"])],
)
async def test_a_program_that_is_offered_runs_in_a_box(
    app: Path, tmp_path: Path, level: Level, name: str, argument: int, begins: bytes | list[str]
) -> None:
    if not offers.available(name):
        pytest.skip(f"this computer has no {name}")
    if level is Level.LANDLOCK and not landlock.version():
        pytest.skip("this kernel has no Landlock")
    box = await Box.open(level, app, "tools:Tools", tmp_path / "work")
    try:
        outcome = await box.call(name, (codec.encode(argument),), Limits(cpu_s=60.0, wall_s=120.0))
    finally:
        await box.close()
    assert outcome.status == "done", outcome
    value = codec.decode(outcome.value or b"")
    assert value[: len(begins)] == begins
    if name == "povray":
        assert b"POV-Ray finished" in outcome.output
