"""Certificates, and real handshakes between the two contexts."""

from __future__ import annotations

import socket
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from dsage.errors import BadSignature, NotFound, UsageError
from dsage.trust import tls

NAMES = ["localhost", "127.0.0.1", "::1", "lab.example.org"]


def serve(server: ssl.SSLContext, plain: socket.socket) -> None:
    try:
        with server.wrap_socket(plain, server_side=True) as secure:
            secure.sendall(secure.recv(16))
    except (ssl.SSLError, ConnectionError):
        return  # the client hung up, which is what the tests of refusals are about


def talk(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str | None:
    """Do a handshake and an echo over a socket pair; return the protocol. Raises what the client raises."""
    ours, theirs = socket.socketpair()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(serve, server, theirs)
        try:
            with client.wrap_socket(ours, server_hostname=host) as secure:
                secure.sendall(b"hello")
                assert secure.recv(16) == b"hello"
                return secure.version()
        finally:
            ours.close()
            done.result(10)
            theirs.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tls.make_authority(tmp_path)
    assert tls.make_leaf(tmp_path, NAMES)
    return tmp_path


def pinned(folder: Path) -> ssl.SSLContext:
    pem = (folder / "ca.pem").read_bytes()
    return tls.pinned_context(pem, tls.spki_hash(pem))


@pytest.mark.parametrize("host", NAMES)
def test_the_right_authority_and_name(folder: Path, host: str) -> None:
    assert talk(tls.server_context(folder), pinned(folder), host) == "TLSv1.3"


@pytest.mark.parametrize("host", ["example.org", "evil.lab.example.org", "127.0.0.2", "::2"])
def test_another_host_name_is_refused(folder: Path, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        talk(tls.server_context(folder), pinned(folder), host)


def test_another_authority_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    tls.make_authority(other)
    tls.make_leaf(other, NAMES)
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(tls.server_context(other), pinned(folder), "localhost")


def test_a_leaf_is_no_authority(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    thief = tmp_path_factory.mktemp("thief")
    (thief / "ca.pem").write_bytes((folder / "tls.pem").read_bytes())
    (thief / "ca.key").write_bytes((folder / "tls.key").read_bytes())
    tls.make_leaf(thief, ["bank.example.org"])
    chain = (thief / "tls.pem").read_bytes() + (thief / "ca.pem").read_bytes()
    (thief / "tls.pem").write_bytes(chain)
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(tls.server_context(thief), pinned(folder), "bank.example.org")


def test_only_the_authority_may_sign_and_only_leaves(folder: Path) -> None:
    found = {}
    for name in ("ca.pem", "tls.pem"):
        certificate = x509.load_pem_x509_certificate((folder / name).read_bytes())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        found[name] = (constraints.value.ca, constraints.value.path_length)
    assert found == {"ca.pem": (True, 0), "tls.pem": (False, None)}


def test_old_tls_is_refused(folder: Path) -> None:
    client = pinned(folder)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert talk(tls.server_context(folder), client, "localhost") == "TLSv1.2"
    for context in (client, tls.server_context(folder)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_pin_is_checked_before_anything(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    tls.make_authority(other)
    good, bad = (folder / "ca.pem").read_bytes(), (other / "ca.pem").read_bytes()
    pin = tls.spki_hash(good)
    for pem in (bad, good + bad, bad + good, b"", b"nonsense", good[:-60]):
        with pytest.raises(BadSignature):
            tls.pinned_context(pem, pin)


def test_only_the_pinned_authority_is_trusted(folder: Path) -> None:
    context = pinned(folder)
    assert len(context.get_ca_certs()) == 1
    assert context.check_hostname
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_key_files_are_private_and_stay(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"ca.key", "ca.pem", "tls.key", "tls.pem"}
    for name in ("ca.key", "tls.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    tls.make_authority(folder)
    assert not tls.make_leaf(folder, NAMES)
    assert not tls.make_leaf(folder, NAMES[:1])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_leaf_is_made_anew_for_another_name_or_a_lost_key(folder: Path) -> None:
    assert tls.make_leaf(folder, [*NAMES, "new.example.org"])
    assert talk(tls.server_context(folder), pinned(folder), "new.example.org") == "TLSv1.3"
    (folder / "tls.key").unlink()
    assert tls.make_leaf(folder, NAMES)
    (folder / "tls.key").write_bytes((folder / "ca.key").read_bytes())
    assert tls.make_leaf(folder, NAMES)
    assert talk(tls.server_context(folder), pinned(folder), "localhost") == "TLSv1.3"


def test_a_leaf_close_to_its_end_is_renewed_and_the_pin_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls.make_authority(tmp_path)
    monkeypatch.setattr(tls, "LEAF_DAYS", tls.RENEW_DAYS - 1)
    assert tls.make_leaf(tmp_path, NAMES)
    monkeypatch.undo()
    client = pinned(tmp_path)
    assert tls.make_leaf(tmp_path, NAMES)
    left = tls.expiry((tmp_path / "tls.pem").read_bytes()) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)
    assert talk(tls.server_context(tmp_path), client, "localhost") == "TLSv1.3"


def test_a_running_server_takes_up_a_renewed_leaf(folder: Path) -> None:
    server = tls.server_context(folder)
    tls.make_leaf(folder, [*NAMES, "new.example.org"])
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(server, pinned(folder), "new.example.org")
    server.load_cert_chain(folder / "tls.pem", folder / "tls.key")
    assert talk(server, pinned(folder), "new.example.org") == "TLSv1.3"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"ca\.pem"):
        tls.make_leaf(tmp_path, NAMES)
    tls.make_authority(tmp_path)
    with pytest.raises(UsageError, match="certificate"):
        tls.make_leaf(tmp_path, ["bücher.example"])
