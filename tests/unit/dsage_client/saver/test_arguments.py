"""What screensavers say on the command line, on three systems."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dsage.errors import UsageError
from dsage_client.saver.arguments import Where, where
from dsage_client.saver.command import saver
from dsage_client.saver.motion import reduced
from dsage_client.saver.windows import monitors_in

GIVEN = {"XSCREENSAVER_WINDOW": "0x400008"}


@pytest.mark.parametrize(
    ("environment", "options", "wanted"),
    [
        (GIVEN, {"root": True}, Where("window", 0x400008)),
        (GIVEN, {}, Where("window", 0x400008)),
        (GIVEN, {"full_screen": True}, Where("full")),
        ({}, {"window_id": "0x1a"}, Where("window", 26)),
        (GIVEN, {"window_id": "26"}, Where("window", 26)),
        ({}, {"full_screen": True}, Where("full")),
        ({}, {}, Where("try")),
        ({}, {"slashed": ["/s"]}, Where("full")),
        ({}, {"slashed": ["/S"]}, Where("full")),
        ({}, {"slashed": ["/p", "1234"]}, Where("window", 1234)),
        ({}, {"slashed": ["/p:1234"]}, Where("window", 1234)),
        ({}, {"slashed": ["/c"]}, Where("settings")),
        ({}, {"slashed": ["/c:1234"]}, Where("settings")),
    ],
)
def test_where_to_draw(environment: dict[str, str], options: dict[str, object], wanted: Where) -> None:
    assert where(environment, **options) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"root": True}, {"window_id": "0"}, {"window_id": "nine"}, {"window_id": "-5"}, {"window_id": "0x" + "f" * 99},
        {"slashed": ["/p"]}, {"slashed": ["/p", "x"]}, {"slashed": ["/q"]}, {"slashed": ["word"]},
    ],
)  # fmt: skip
def test_what_is_none_of_it_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        where({}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["-window-id", "0x10"], Where("window", 16)),
        (["--window-id", "0x10"], Where("window", 16)),
        (["-root"], Where("window", 0x400008)),
        (["--root", "--calm"], Where("window", 0x400008)),
        (["/p", "77"], Where("window", 77)),
        (["/s"], Where("full")),
    ],
)
def test_the_command_line_is_understood(
    args: list[str], wanted: Where, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []
    monkeypatch.setattr("dsage_client.saver.command._run", lambda place, folder, **_: seen.append(place))
    monkeypatch.setenv("XSCREENSAVER_WINDOW", GIVEN["XSCREENSAVER_WINDOW"])
    done = CliRunner().invoke(saver, [*args, "--home", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert seen == [wanted]


def test_settings_are_where_they_are() -> None:
    done = CliRunner().invoke(saver, ["/c"])
    assert "dsage manager" in done.output


@pytest.mark.parametrize(
    ("name", "text", "little"),
    [
        ("gtk-3.0/settings.ini", "[Settings]\ngtk-enable-animations=0\n", True),
        ("gtk-4.0/settings.ini", "[Settings]\ngtk-enable-animations = false\n", True),
        ("gtk-3.0/settings.ini", "[Settings]\ngtk-enable-animations=1\n", False),
        ("kdeglobals", "[KDE]\nAnimationDurationFactor=0\n", True),
        ("kdeglobals", "[KDE]\nAnimationDurationFactor=0.5\n", False),
    ],
)
def test_a_desktop_without_animations_is_calm(tmp_path: Path, name: str, text: str, little: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert reduced({"XDG_CONFIG_HOME": str(tmp_path)}) is little
    assert not reduced({"HOME": str(tmp_path / "nowhere")})


def test_monitors_are_read() -> None:
    def monitor(left: int, top: int, width: int, height: int) -> bytes:
        return struct.pack("<IBBHhhHHIII", 7, 1, 0, 1, left, top, width, height, 500, 300, 66)

    head = struct.pack("<BxHIIII12x", 1, 5, 14, 99, 2, 2)
    reply = head + monitor(0, 0, 1920, 1080) + monitor(-1280, 40, 1280, 1024)
    assert monitors_in(reply) == [(0, 0, 1920, 1080), (-1280, 40, 1280, 1024)]
    with pytest.raises(struct.error):
        monitors_in(reply[:40])


WITHOUT_TK = """
import sys
sys.modules["tkinter"] = None
import importlib, pkgutil, dsage_client.saver
for module in pkgutil.walk_packages(dsage_client.saver.__path__, "dsage_client.saver."):
    if not module.name.endswith((".canvas", ".__main__")):
        importlib.import_module(module.name)
sys.argv = ["dsage saver"]
from dsage_client.saver.command import main
main()
"""


def test_without_tk_it_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TK], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "python3-tk" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_display_it_says_so(tmp_path: Path) -> None:
    pytest.importorskip("tkinter", exc_type=ImportError)
    for args in (["--full-screen"], ["-window-id", "0x9"]):
        done = subprocess.run(
            [sys.executable, "-m", "dsage_client.saver", *args],
            env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2
        assert "display" in done.stderr
        assert "Traceback" not in done.stderr
