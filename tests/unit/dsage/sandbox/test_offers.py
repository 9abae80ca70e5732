from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dsage.sandbox import bubblewrap, offers, runtime
from dsage.sandbox.runtime import Runtime
from dsage.wire import HostInfo


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer whose boxes see one folder of packages, with nothing in it yet."""
    packages = tmp_path / "site-packages"
    packages.mkdir()
    seen = Runtime(python="/usr/bin/python3", import_path=(str(packages),), folders=(str(packages),))
    monkeypatch.setattr(runtime, "current", lambda: seen)
    return packages


def test_what_is_told_to_servers_fits_and_is_available() -> None:
    told = offers.offered()
    assert all(offers.available(name) for name in told)
    every = [*offers.SCIENCE, *offers.MODULES, *offers.PROGRAMS, *(offers.CPU + name for name in offers.INSTRUCTIONS)]
    assert len(every) == len(set(every)) <= 64
    assert max(map(len, every)) <= 64
    assert HostInfo(client="", platform="", cores=1, memory_bytes=1, sandbox="", offers=told).offers == told


@pytest.mark.parametrize(
    ("name", "files", "there"),
    [
        ("gmpy2", ["gmpy2/__init__.py"], True),
        ("gmpy2", ["gmpy2.py"], True),
        ("gmpy2", [], False),
        ("something_rare", ["something_rare.py"], True),
        ("no module", ["no module.py"], False),
        ("sage", ["sage/all.py"], True),
        ("sage", ["sage/repl/preparse.py"], True),
        ("sage", ["sage/libs/pari.py"], False),
        ("pari", ["cypari/__init__.py"], True),
        ("pari", ["cypari2/__init__.py"], True),
        ("pari", ["pari.py"], False),
        ("json", [], True),
    ],
)
def test_modules_are_there_if_a_box_can_import_them(place: Path, name: str, files: list[str], there: bool) -> None:
    for file in files:
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).touch()
    assert offers.available(name) is there


def test_what_no_box_sees_is_not_there(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = Runtime(python="/usr/bin/python3", import_path=(str(place), str(tmp_path)), folders=(str(place),))
    monkeypatch.setattr(runtime, "current", lambda: hidden)
    monkeypatch.setattr(sys, "executable", str(place / "python3"))
    (tmp_path / "here_only.py").touch()
    assert not offers.available("here_only")
    monkeypatch.setitem(bubblewrap.ENVIRONMENT, "PATH", f"{tmp_path}:{place}")
    (tmp_path / "povray").touch(0o755)
    assert not offers.available("povray")
    (tmp_path / "povray").rename(place / "povray")
    assert offers.available("povray")
    assert not offers.available("ecm")
    (place / "some_program").touch(0o755)
    assert not offers.available("some_program"), "only what is known by name is a program"


@pytest.mark.parametrize(
    ("cpuinfo", "known"),
    [
        (
            "flags\t\t: fpu avx avx2 fma\nbugs\t: x\n\nprocessor: 1\nflags\t\t: fpu avx avx2 bmi2\n",
            {"avx", "avx2"},
        ),
        ("processor\t: 0\nFeatures\t: fp asimd evtstrm\n", {"neon"}),
        ("processor\t: 0\n", set()),
        (None, set()),
    ],
)
def test_instructions_are_what_every_processor_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None, known: set[str]
) -> None:
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    flags = offers.instructions(file)
    monkeypatch.setattr(offers, "instructions", lambda: flags)
    assert {name for name in offers.INSTRUCTIONS if offers.available(f"cpu:{name}")} == known
    assert not offers.available("cpu:")
    assert not offers.available("cpu:fpu")
