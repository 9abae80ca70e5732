"""Apps packed and unpacked, and hostile bundles refused before a byte of them is written."""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage import bundle, codec
from dsage.bundle import MAX_FILE_BYTES, MAX_FILES, manifest, pack, unpack
from dsage.errors import BadSignature, BundleError, UsageError

SOURCE = """
from dsage import DistributedFunction

class {name}(DistributedFunction):
    title = "A sum"
    needs = ("gmpy2",)

    @staticmethod
    def compute(i):
        return i + 1

    @staticmethod
    def verify(args, value):
        return value == args + 1
"""


@pytest.fixture(autouse=True)
def forget_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "sums.py"
    path.write_text(SOURCE.format(name="Sum"))
    return path


def encoded(files: Any) -> bytes:
    return codec.encode({"files": files})


def refuse(data: bytes, folder: Path, error: type[Exception] = BundleError, **changes: Any) -> None:
    """Unpack under the right hash, expect the error, and expect that nothing was written."""
    before = sorted(folder.parent.rglob("*"))
    arguments = {"expected_sha256": codec.digest(data), "max_bytes": 1 << 20, **changes}
    with pytest.raises(error) as caught:
        unpack(data, folder, **arguments)
    assert caught.type is error
    assert sorted(folder.parent.rglob("*")) == before


def test_a_file_packs_and_runs_elsewhere(script: Path, tmp_path: Path) -> None:
    packed = pack(str(script))
    assert packed.entry == "sums:Sum"
    assert packed.sha256 == codec.digest(packed.data)
    assert packed.function.compute(1) == 2
    folder = tmp_path / "apps" / packed.sha256
    unpack(packed.data, folder, expected_sha256=packed.sha256, max_bytes=10_000)
    module, name = packed.entry.split(":")
    code = f"import {module}; assert {module}.{name}.compute(41) == 42; print({module}.__file__)"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    assert Path(done.stdout.strip()) == folder / "sums.py"
    assert sorted(path.name for path in folder.parent.iterdir()) == [packed.sha256]
    assert (folder / "sums.py").stat().st_mode & 0o777 == 0o644
    assert folder.stat().st_mode & 0o777 == 0o755


def test_the_same_source_is_the_same_version(script: Path, tmp_path: Path) -> None:
    other = tmp_path / "copy" / "sums.py"
    other.parent.mkdir()
    other.write_bytes(script.read_bytes())
    assert pack(str(script)).data == pack(str(other)).data
    other.write_bytes(script.read_bytes() + b"\n")
    assert pack(str(script)).sha256 != pack(str(other)).sha256


def test_the_manifest_says_what_the_class_overrides(script: Path) -> None:
    packed = pack(str(script))
    told = manifest(packed, "sums")
    assert (told.project, told.title, told.entry) == ("sums", "A sum", "sums:Sum")
    assert (told.bundle, told.bundle_bytes) == (packed.sha256, len(packed.data))
    assert told.needs == ["gmpy2"]
    assert (told.has_verify, told.has_agree, told.has_partial) == (True, False, False)
    assert not told.perturbs
    assert b"perturb" not in msgspec.json.encode(told), "older clients read it"


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (["perturb(args, seed)"], ""),
        (["perturb(args, seed)", "restore(args, value, seed)"], ""),
        (["restore(args, value, seed)"], "Sum has restore and no perturb"),
        (["perturb(args, seed)", "partial(args, value, seed)"], "Sum has perturb and partial"),
        (["perturb(args)"], "Sum.perturb is to be a static function of args, seed"),
        (["perturb(args, seed)", "restore(value, seed)"], "a static function of args, value, seed"),
    ],
)
def test_copies_differ_where_the_class_can_perturb_them(script: Path, methods: list[str], words: str) -> None:
    more = "".join(f"\n    @staticmethod\n    def {each}:\n        return args\n" for each in methods)
    script.write_text(SOURCE.format(name="Sum") + more)
    if words:
        with pytest.raises(BundleError, match=words):
            pack(str(script))
    else:
        assert manifest(pack(str(script)), "sums").perturbs


def test_one_class_of_several_is_named(script: Path) -> None:
    script.write_text(SOURCE.format(name="Sum") + SOURCE.format(name="Other").replace("A sum", ""))
    with pytest.raises(BundleError, match="Sum, Other") as caught:
        pack(str(script))
    assert f"{script}:CLASS" in caught.value.hint
    packed = pack(f"{script}:Other")
    assert packed.entry == "sums:Other"
    assert manifest(packed, "p").title == "Other"
    with pytest.raises(BundleError, match="'Missing'"):
        pack(f"{script}:Missing")


def test_an_imported_class_is_not_the_files_own(script: Path) -> None:
    script.write_text("from dsage import DistributedFunction\n")
    with pytest.raises(BundleError, match="it has none"):
        pack(str(script))


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("broken.py", "def", "SyntaxError"),
        ("fails.py", "1 / 0", "ZeroDivisionError"),
        ("json.py", "", "hide"),
        ("dsage.py", "", "hide"),
        ("2nd.py", "", "imported"),
        ("a-b.py", "", "imported"),
        ("a b.py", "", "name of a source file"),
    ],
)
def test_a_file_that_cannot_be_an_app(tmp_path: Path, name: str, source: str, words: str) -> None:
    (tmp_path / name).write_text(source)
    with pytest.raises(BundleError, match=words):
        pack(str(tmp_path / name))
    assert name.removesuffix(".py") not in sys.modules or name in ("json.py", "dsage.py")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No such file"):
        pack(str(tmp_path / "none.py"))
    with pytest.raises(BundleError, match="neither"):
        pack("no-such-project")


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed gallery of two projects: a package and a module."""
    root = tmp_path / "site"
    package = root / "toy_gallery" / "sums"
    (package / "deep").mkdir(parents=True)
    (package / "__pycache__").mkdir()
    (root / "toy_gallery" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("from .app import Sum\nFUNCTION = Sum\n")
    (package / "app.py").write_text(SOURCE.format(name="Sum"))
    (package / "deep" / "__init__.py").write_text("")
    (package / "__pycache__" / "app.cpython-311.pyc").write_bytes(b"")
    (package / "notes.txt").write_text("not source")
    (root / "toy_gallery" / "single.py").write_text(SOURCE.format(name="Single") + "\nFUNCTION = 'Single'\n")
    (root / "toy_gallery" / "none.py").write_text("")
    monkeypatch.syspath_prepend(str(root))
    importlib.invalidate_caches()
    entries = [EntryPoint(name, f"toy_gallery.{name}", bundle.GALLERY) for name in ("sums", "single", "none")]
    monkeypatch.setattr(bundle, "entry_points", lambda group: entries if group == bundle.GALLERY else [])
    return root


def test_a_project_of_the_gallery_takes_its_package_along(gallery: Path) -> None:
    packed = pack("sums")
    assert packed.entry == "toy_gallery.sums.app:Sum"
    assert set(codec.decode(packed.data)["files"]) == {
        "toy_gallery/__init__.py",
        "toy_gallery/sums/__init__.py",
        "toy_gallery/sums/app.py",
        "toy_gallery/sums/deep/__init__.py",
    }


def test_a_project_of_one_module_takes_no_neighbours_along(gallery: Path) -> None:
    packed = pack("single")
    assert packed.entry == "toy_gallery.single:Single"
    assert set(codec.decode(packed.data)["files"]) == {"toy_gallery/__init__.py", "toy_gallery/single.py"}
    with pytest.raises(BundleError, match="FUNCTION"):
        pack("none")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/cron.d/x.py",
        "../x.py",
        "a/../../x.py",
        "a/./x.py",
        "a//x.py",
        "./x.py",
        "~/x.py",
        "C:/x.py",
        "a\\x.py",
        "x.py\x00",
        "x.py\n",
        "x.so",
        "x.pth",
        "x.pyc",
        "x.py.so",
        "x",
        "x.",
        ".py",
        ".hidden.py",
        "..py",
        "-x.py",
        "a.b/x.py",
        "é.py",
        "a b.py",
        "a/",
        "json.py",
        "json/x.py",
        "dsage/__init__.py",
        "numpy/x.py",
        "sitecustomize.py",
        "usercustomize/__init__.py",
        "x" * 250 + ".py",
        "a/" * 9 + "x.py",
        "libx.cpython-311-x86_64-linux-gnu.so",
    ],
)
def test_a_hostile_name_is_refused(tmp_path: Path, name: str) -> None:
    refuse(encoded({"fine.py": b"", name: b""}), tmp_path / "app")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"files": {}},
        {"files": []},
        {"files": None},
        {"files": {"x.py": "text"}},
        {"files": {"x.py": {"y.py": b""}}},
        {"files": {"x.py": None}},
        {"files": {"x.py": b""}, "more": 1},
        {"files": {"x.py": b"", "X.py": b""}},
        {"files": {f"m{n}.py": b"" for n in range(MAX_FILES + 1)}},
        {"files": {"x.py": bytes(MAX_FILE_BYTES + 1)}},
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_hostile_shape_is_refused(tmp_path: Path, value: Any) -> None:
    refuse(codec.encode(value), tmp_path / "app", max_bytes=1 << 30)


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x81", b"\x81\xa5files\x81\xa2\xff\xff\xc4\x00", encoded({"x.py": b""})[:-1]]
)
def test_what_is_not_even_a_value_is_refused(tmp_path: Path, data: bytes) -> None:
    refuse(data, tmp_path / "app")


def test_size_and_hash_come_first(tmp_path: Path) -> None:
    data = encoded({"x.py": b"pass"})
    refuse(data, tmp_path / "app", max_bytes=len(data) - 1)
    refuse(data, tmp_path / "app", BadSignature, expected_sha256="00" * 32)


def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    data = encoded({"x.py": b"pass"})
    expected = codec.digest(data)
    for bit in range(len(data) * 8):
        flipped = data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
        refuse(flipped, tmp_path / "app", BadSignature, expected_sha256=expected)


@given(st.dictionaries(st.text(max_size=30), st.binary(max_size=20), max_size=5))
@settings(max_examples=200, deadline=None)
def test_nothing_lands_outside(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    top = tmp_path_factory.mktemp("top")
    data = encoded(files)
    try:
        unpack(data, top / "app", expected_sha256=codec.digest(data), max_bytes=1 << 20)
    except UsageError:
        assert list(top.iterdir()) == []
    else:
        assert {path.relative_to(top / "app").as_posix() for path in top.rglob("*.*")} == set(files)


def test_an_unpacked_app_stays_as_it_is(script: Path, tmp_path: Path) -> None:
    packed = pack(str(script))
    folder = tmp_path / "app"
    for _ in range(2):
        unpack(packed.data, folder, expected_sha256=packed.sha256, max_bytes=10_000)
    assert [path.name for path in folder.iterdir()] == ["sums.py"]


def test_a_failed_write_leaves_nothing(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(str(script))

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="No space"):
        unpack(packed.data, tmp_path / "app", expected_sha256=packed.sha256, max_bytes=10_000)
    assert sorted(tmp_path.rglob("*")) == before


def test_modules_beside_a_file_come_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "beside_a.py").write_text("import beside_b\nimport decimal\nSEVEN = beside_b.SIX + 1\n")
    (tmp_path / "beside_b.py").write_text("SIX = 6\n")
    (tmp_path / "random.py").write_text("SECRET = 2\n")
    (tmp_path / "stranger.py").write_text("SECRET = 1\n")
    source = (
        "import random\nfrom dsage import DistributedFunction\nfrom beside_a import SEVEN\n\n\n"
        "class Sevens(DistributedFunction):\n    @staticmethod\n    def compute(n):\n        return n * SEVEN\n"
    )
    (tmp_path / "sevens.py").write_text(source)
    packed = bundle.pack(str(tmp_path / "sevens.py"))
    assert sorted(bundle.files_in(packed.data)) == ["beside_a.py", "beside_b.py", "sevens.py"]
    assert packed.function.compute(6) == 42
    assert packed.function.needs == ()
    assert isinstance(random.random(), float)
