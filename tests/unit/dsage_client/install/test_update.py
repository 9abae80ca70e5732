"""A newer client: only what the root key signed is told, in one sentence, and never an older notice after a newer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dsage.errors import BadSignature, Expired, RolledBack, WrongRole, WrongServer
from dsage.trust.chain import Chain
from dsage.trust.documents import Root
from dsage.trust.envelope import Envelope, seal
from dsage.trust.keys import PrivateKey
from dsage.trust.release import Release, newer
from dsage_client.install.update import Updates, sentence

NOW = 1_800_000_000.0
ROOT, UNIT = PrivateKey.generate(), PrivateKey.generate()


def chain() -> Chain:
    return Chain(
        Root(server_id="s", version=1, issued=NOW, expires=NOW + 1e8, root_key=ROOT.public, unit_keys=[UNIT.public])
    )


def release(**changes: object) -> Release:
    usual = Release(server_id="s", number=3, version="99.1", issued=NOW, expires=NOW + 86400 * 90)
    return msgspec.structs.replace(usual, **changes)


def test_a_signed_release_becomes_a_sentence_that_outlives_a_restart(tmp_path: Path) -> None:
    updates = Updates(tmp_path / "release.json")
    assert updates.notice(chain(), NOW) == ""
    updates.hear(seal(release(), ROOT), chain(), NOW)
    expected = "DSage 99.1 is out, this is 0.1; get it at http://desk:8471/join"
    assert updates.notice(chain(), NOW, pages="http://desk:8471/", here="0.1") == expected
    again = Updates(tmp_path / "release.json")
    assert again.notice(chain(), NOW, pages="http://desk:8471", here="0.1") == expected
    assert again.notice(chain(), NOW, here="99.1") == ""
    assert again.notice(chain(), NOW + 86400 * 91, here="0.1") == ""


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (lambda: seal(release(), UNIT), WrongRole),
        (lambda: seal(release(server_id="other"), ROOT), WrongServer),
        (lambda: seal(release(expires=NOW - 3600), ROOT), Expired),
        (lambda: seal(release(number=2), ROOT), RolledBack),
        (lambda: seal(chain().root, ROOT), WrongRole),
    ],
    ids=["unit-key", "other-server", "expired", "rolled-back", "other-document"],
)
def test_what_is_not_to_be_believed_changes_nothing(tmp_path: Path, made: object, error: type[Exception]) -> None:
    assert callable(made)
    updates = Updates(tmp_path / "release.json")
    updates.hear(seal(release(), ROOT), chain(), NOW)
    before = (tmp_path / "release.json").read_bytes()
    with pytest.raises(error):
        updates.hear(made(), chain(), NOW)
    assert (tmp_path / "release.json").read_bytes() == before


def test_changed_bytes_are_refused(tmp_path: Path) -> None:
    sealed = seal(release(), ROOT)
    forged = Envelope(sealed.payload_type, sealed.payload.replace(b"99.1", b"99.9"), sealed.signatures)
    with pytest.raises(BadSignature):
        Updates(tmp_path / "release.json").hear(forged, chain(), NOW)


def test_a_damaged_file_is_as_if_nothing_was_heard(tmp_path: Path) -> None:
    (tmp_path / "release.json").write_text("{")
    assert Updates(tmp_path / "release.json").notice(chain(), NOW) == ""


def test_news_stays_one_line() -> None:
    said = sentence(release(news="good\n\x1b[2Jbad " + "x" * 999), here="0.1")
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize(
    ("offered", "here", "is_newer"),
    [
        ("0.2", "0.1.0", True), ("0.10", "0.9", True), ("1.0", "1.0.0", False), ("1.0rc1", "1.0", False),
        ("1.0", "1.0rc2", True), ("1.0rc2", "1.0rc1", True), ("0.1", "0.2", False), ("", "0.1", False),
        ("nonsense", "0.1", False), ("v2", "1.9", True), ("1.0.post1", "1.0", True),
    ],
)  # fmt: skip
def test_versions_are_compared_by_number(offered: str, here: str, is_newer: bool) -> None:
    assert newer(offered, here) is is_newer
