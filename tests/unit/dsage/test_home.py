"""Where things are kept, and the login file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dsage.errors import NotFound, UsageError
from dsage.home import Home, Login

LINK = f"https://lab.example.org:8470/join#v=1&id=server-one&ca={'ab' * 32}&root={'01' * 32}"


@pytest.mark.parametrize(
    ("own", "xdg", "expected"),
    [
        ("/data/mine", "/data/xdg", "/data/mine"),
        ("~/mine", "", "/home/ann/mine"),
        ("", "/data/xdg", "/data/xdg/dsage"),
        ("", "", "/home/ann/.local/share/dsage"),
    ],
)
def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch, own: str, xdg: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("DSAGE_HOME", own)
    monkeypatch.setenv("XDG_DATA_HOME", xdg)
    assert Home().folder == Path(expected)


def test_everything_is_below_one_folder() -> None:
    home = Home(Path("/h"))
    assert home.code_key("anna") == Path("/h/keys/code-anna.key")
    for path in (home.root_key, home.unit_key, home.tls, home.root_file, home.client, home.login):
        assert path.is_relative_to("/h")
    assert not home.root_key.is_relative_to(home.server)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a b", "x\n", "x" * 65])
def test_a_key_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(UsageError):
        Home(Path("/h")).code_key(name)


def test_the_code_keys_that_are_here(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.code_key_names() == []
    home.keys.mkdir()
    for name in ("code-lab.key", "code-anna.key", "root.key", "code-a b.key", "code-old.key.bak"):
        (home.keys / name).touch()
    assert home.code_key_names() == ["anna", "lab"]


def test_a_login_is_kept_privately(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(NotFound, match="not logged in"):
        Login.load(home)
    Login(link=LINK, key="anna").save(home)
    assert stat.S_IMODE(home.login.stat().st_mode) == 0o600
    again = Login.load(home)
    assert again.key == "anna"
    assert str(again.server) == LINK


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff", b'{"link": 1, "key": "x"}'])
def test_a_damaged_login_is_told(tmp_path: Path, content: bytes) -> None:
    home = Home(tmp_path)
    home.login.write_bytes(content)
    with pytest.raises(UsageError, match="damaged"):
        Login.load(home)
