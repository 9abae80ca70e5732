"""Packages that an operator publishes: copied whole, described by what was copied, replaced together."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dsage.errors import NotFound, UsageError
from dsage_server.published import LIST, Published


def packages(folder: Path, **contents: bytes) -> list[Path]:
    """Write files; two underscores in a name stand for a dot."""
    folder.mkdir(exist_ok=True)
    paths = []
    for name, data in contents.items():
        paths.append(folder / name.replace("__", "."))
        paths[-1].write_bytes(data)
    return paths


def test_what_is_published_is_described_by_its_bytes(tmp_path: Path) -> None:
    (deb,) = packages(tmp_path / "dist", dsage_1__4__0_amd64__deb=b"deb" * 1000)
    found = Published.of(tmp_path).publish([deb])
    assert [(each.name, each.system, each.version, each.bytes, each.path) for each in found] == [
        ("dsage_1.4.0_amd64.deb", "deb", "1.4.0", 3000, "/client/dsage_1.4.0_amd64.deb")
    ]
    assert found[0].sha256 == hashlib.sha256(deb.read_bytes()).hexdigest()
    again = Published.of(tmp_path)
    assert again.packages() == found
    assert again.file(deb.name).read_bytes() == deb.read_bytes()


def test_publishing_again_replaces_what_was_there_and_a_running_server_takes_note(tmp_path: Path) -> None:
    old, new = packages(tmp_path / "dist", a__whl=b"1", b__exe=b"2")
    server = Published.of(tmp_path)
    assert server.packages() == []
    Published.of(tmp_path).publish([old])
    assert [each.system for each in server.packages()] == ["wheel"]
    Published.of(tmp_path).publish([new])
    assert [each.system for each in server.packages()] == ["windows"]
    with pytest.raises(NotFound):
        server.file("a.whl")
    assert sorted(path.name for path in server.folder.iterdir()) == ["b.exe", LIST]


@pytest.mark.parametrize("name", ["list.json", "../x.deb", ".hidden.deb", "a b.deb", "a'b.deb", "$(id).deb", "x" * 200])
def test_names_that_do_not_belong_into_an_address_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "dist" / Path(name).name
    path.parent.mkdir()
    path.write_bytes(b"x")
    if "/" in name:
        with pytest.raises(NotFound):
            Published.of(tmp_path).file(name)
        return
    with pytest.raises(UsageError, match="cannot be published"):
        Published.of(tmp_path).publish([path])


def test_nothing_but_listed_files_is_served(tmp_path: Path) -> None:
    server = Published.of(tmp_path)
    (deb,) = packages(tmp_path / "dist", a__deb=b"1")
    server.publish([deb])
    (server.folder / "secret").write_bytes(b"s")
    for name in (LIST, "secret", "..", "."):
        with pytest.raises(NotFound):
            server.file(name)


def test_a_damaged_list_offers_nothing(tmp_path: Path) -> None:
    server = Published.of(tmp_path)
    (deb,) = packages(tmp_path / "dist", a__deb=b"1")
    server.publish([deb])
    (server.folder / LIST).write_bytes(b"{")
    assert server.packages() == []


def test_a_file_that_is_missing_leaves_what_was_published(tmp_path: Path) -> None:
    (deb,) = packages(tmp_path / "dist", a__deb=b"1")
    server = Published.of(tmp_path)
    server.publish([deb])
    with pytest.raises(FileNotFoundError):
        server.publish([tmp_path / "dist" / "none.deb"])
    assert [each.name for each in server.packages()] == ["a.deb"]
    assert server.file("a.deb").read_bytes() == b"1"
