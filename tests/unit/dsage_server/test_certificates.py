"""An operator's certificate: what is refused before the start, and what is shown after a renewal."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dsage.errors import UsageError
from dsage.trust import tls
from dsage_server import certificates
from dsage_server.locking import one_by_one
from dsage_server.settings import Settings

NAME = "science.example.org"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """An authority that is not the server's, and a certificate of it for NAME and localhost."""
    folder = tmp_path / "given"
    tls.make_authority(folder, "an institute")
    tls.make_leaf(folder, [NAME, "localhost"])
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The server's own authority and certificate."""
    folder = tmp_path / "server" / "tls"
    tls.make_authority(folder)
    tls.make_leaf(folder, [NAME])
    return folder


def settings(own: Path, given: Path | None = None, ca: str = "", **more: str) -> Settings:
    """Return settings with the given certificate."""
    shown = {} if given is None else {"tls_cert": str(given / "tls.pem"), "tls_key": str(given / "tls.key")}
    return Settings(folder=own.parent, tls_ca=ca, **{**shown, **more})


def serial(context: ssl.SSLContext, ca: Path) -> str:
    """Return the serial number of the certificate that a client of a context sees."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.pinned_context(ca.read_bytes(), tls.spki_hash(ca.read_bytes()))
    near = client.wrap_bio(back, there, server_hostname=NAME)
    far = context.wrap_bio(there, back, server_side=True)
    for end in (near, far, near):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    found = near.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


@pytest.fixture
def trusted(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This computer trusts the authority that is not the server's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(given / "ca.pem"))


def test_without_options_links_pin_the_servers_own(own: Path) -> None:
    plain = settings(own)
    assert certificates.authority(plain) == ""
    assert certificates.authority_file(own, plain) == own / "ca.pem"
    assert serial(certificates.context(own, plain, NAME), own / "ca.pem")


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_a_public_authority(own: Path, given: Path) -> None:
    chosen = settings(own, given)
    assert certificates.authority(chosen) == "system"
    assert serial(certificates.context(own, chosen, NAME), given / "ca.pem")


def test_a_certificate_of_an_authority_that_links_pin(own: Path, given: Path) -> None:
    chosen = settings(own, given, str(given / "ca.pem"))
    assert certificates.authority(chosen) == tls.spki_hash((given / "ca.pem").read_bytes())
    assert certificates.authority_file(own, chosen) == given / "ca.pem"
    assert serial(certificates.context(own, chosen, NAME), given / "ca.pem")


def test_a_proxy_that_shows_a_public_certificate_meets_the_servers_own(own: Path) -> None:
    chosen = settings(own, ca="system")
    assert certificates.authority(chosen) == "system"
    assert serial(certificates.context(own, chosen, NAME), own / "ca.pem")


@pytest.mark.parametrize(
    ("spoil", "sentence", "hint"),
    [
        (lambda folder: (folder / "tls.key").unlink(), r"tls\.key cannot be read: No such file", "file that is there"),
        (lambda folder: shutil.copy(folder / "ca.key", folder / "tls.key"), "does not belong to", "stands first"),
        (lambda folder: (folder / "tls.pem").write_text("hello"), "not a certificate and a key", "Both are PEM"),
        (lambda folder: (folder / "ca.pem").unlink(), r"ca\.pem cannot be read", "--tls-ca takes"),
        (lambda folder: (folder / "ca.pem").write_text("hello"), "not one certificate", "root CA alone"),
    ],
    ids=["no key", "another key", "no certificate", "no authority", "a damaged authority"],
)
def test_files_that_cannot_serve(
    own: Path, given: Path, spoil: Callable[[Path], object], sentence: str, hint: str
) -> None:
    chosen = settings(own, given, str(given / "ca.pem"))
    spoil(given)
    with pytest.raises(UsageError, match=sentence) as refused:
        certificates.context(own, chosen, NAME)
    assert hint in refused.value.hint


def test_a_certificate_for_another_name(own: Path, given: Path) -> None:
    with pytest.raises(UsageError, match=r"not for lab\.example\.org: it names science\.example\.org, localhost"):
        certificates.context(own, settings(own, given, str(given / "ca.pem")), "lab.example.org")
    with pytest.raises(UsageError, match=r"not for 192\.0\.2\.7"):
        certificates.context(own, settings(own, given, str(given / "ca.pem")), "192.0.2.7")


def test_a_certificate_that_has_run_out(tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "LEAF_DAYS", -0.5)
    folder = tmp_path / "old"
    tls.make_authority(folder)
    tls.make_leaf(folder, [NAME])
    with pytest.raises(UsageError, match="has expired: it holds until 20") as refused:
        certificates.context(own, settings(own, folder, str(folder / "ca.pem")), NAME)
    assert refused.value.hint == "Renew it, then start again."


def test_a_certificate_that_nobody_vouches_for(own: Path, given: Path) -> None:
    with pytest.raises(UsageError, match="no authority that computers trust by themselves vouches"):
        certificates.context(own, settings(own, given), NAME)
    with pytest.raises(UsageError, match="the authority in --tls-ca does not vouch"):
        certificates.context(own, settings(own, given, str(own / "ca.pem")), NAME)


@pytest.mark.parametrize("half", ["tls_cert", "tls_key"])
def test_a_certificate_and_its_key_go_together(own: Path, half: str) -> None:
    with pytest.raises(UsageError, match="go together"):
        certificates.authority(settings(own, **{half: "file.pem"}))


@asynccontextmanager
async def watched(own: Path, chosen: Settings, shown: ssl.SSLContext) -> AsyncIterator[None]:
    """Look after a certificate meanwhile."""
    watch = asyncio.create_task(certificates.keep_current(own, chosen, shown, NAME))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def renewed(folder: Path) -> Path:
    """Return a folder with another certificate of the same authority, and its key."""
    fresh = folder.parent / "fresh"
    fresh.mkdir()
    for name in ("ca.key", "ca.pem"):
        shutil.copy(folder / name, fresh)
    tls.make_leaf(fresh, [NAME])
    return fresh


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are looked at often."""
    monkeypatch.setattr(certificates, "LOOK_S", 0.01)
    monkeypatch.setattr(certificates, "certificate_names", lambda _: [NAME])


@pytest.mark.usefixtures("often")
async def test_an_operators_renewal_is_shown_once_it_is_whole(
    own: Path, given: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings(own, given, str(given / "ca.pem"))
    shown, fresh = certificates.context(own, chosen, NAME), renewed(given)
    before = serial(shown, given / "ca.pem")
    async with watched(own, chosen, shown):
        await asyncio.sleep(0)
        (fresh / "tls.pem").replace(given / "tls.pem")
        await until(lambda: "is not shown: the key in" in caplog.text)
        assert serial(shown, given / "ca.pem") == before
        (fresh / "tls.key").replace(given / "tls.key")
        await until(lambda: serial(shown, given / "ca.pem") != before)


@pytest.mark.usefixtures("often")
async def test_a_renewal_by_another_process_of_the_same_home_is_shown(own: Path) -> None:
    chosen = settings(own)
    shown, fresh = certificates.context(own, chosen, NAME), renewed(own)
    before = serial(shown, own / "ca.pem")
    async with watched(own, chosen, shown):
        async with one_by_one(own.parent):
            for name in ("tls.pem", "tls.key"):
                (fresh / name).replace(own / name)
        await until(lambda: serial(shown, own / "ca.pem") != before)


@pytest.mark.usefixtures("often")
async def test_the_servers_own_is_renewed_before_it_runs_out(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(own)
    shown = certificates.context(own, chosen, NAME)
    before = serial(shown, own / "ca.pem")
    monkeypatch.setattr(tls, "RENEW_DAYS", 91)
    async with watched(own, chosen, shown):
        await until(lambda: serial(shown, own / "ca.pem") != before)


@pytest.mark.usefixtures("often")
async def test_an_operators_certificate_that_nobody_renews_is_named_in_the_log(
    own: Path, given: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(own, given, str(given / "ca.pem"))
    shown = certificates.context(own, chosen, NAME)
    monkeypatch.setattr(certificates, "WARN_S", 100 * 86400.0)
    async with watched(own, chosen, shown):
        await until(lambda: "runs out in 90 days" in caplog.text)
    assert caplog.text.count("runs out") == 1
