"""Hearing of a newer client: a signed notice becomes one sentence. Nothing is ever fetched or installed by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from dsage import __version__
from dsage.errors import StorageFull, TrustError
from dsage.files import write_whole
from dsage.trust.chain import Chain
from dsage.trust.envelope import Envelope
from dsage.trust.release import Release, believed, newer
from dsage_client.words import _

ASK_EVERY_S: Final = 86400.0
"""How often a client asks its servers for their release."""
MAX_NEWS: Final = 200


class Updates:
    """What a client heard from one server of newer clients. `file` keeps the newest notice over a restart."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._kept: Envelope | None = msgspec.json.decode(file.read_bytes(), type=Envelope)
        except (OSError, msgspec.DecodeError):
            self._kept = None

    def hear(self, envelope: Envelope, chain: Chain, now: float) -> Release:
        """Take what a server said, if it is to be believed, and keep it. Raises a TrustError, StorageFull."""
        before = self.release(chain, now)
        release = believed(envelope, chain, now, seen=0 if before is None else before.number)
        if envelope != self._kept:
            self._kept = envelope
            try:
                write_whole(self._file, msgspec.json.encode(envelope), private=True)
            except OSError as error:
                raise StorageFull(f"{self._file} cannot be written: {error.strerror}") from error
        return release

    def release(self, chain: Chain, now: float) -> Release | None:
        """Return the newest release that was heard of and is still in force, None if there is none."""
        try:
            return None if self._kept is None else believed(self._kept, chain, now)
        except TrustError:
            return None

    def notice(self, chain: Chain, now: float, *, pages: str = "", here: str = __version__) -> str:
        """Return the sentence for the owner, "" if there is nothing newer. `pages` is where the packages lie."""
        release = self.release(chain, now)
        return "" if release is None else sentence(release, pages=pages, here=here)


def sentence(release: Release, *, pages: str = "", here: str = __version__) -> str:
    """Return what the owner is told of a release, "" if it is not newer than what runs here."""
    if not newer(release.version, here):
        return ""
    version = _one_line(release.version, 40)
    if pages:
        text = _("DSage {version} is out, this is {here}; get it at {pages}/join").format(
            version=version, here=here, pages=pages.rstrip("/")
        )
    else:
        text = _("DSage {version} is out, this is {here}; ask who runs the server for it").format(
            version=version, here=here
        )
    news = _one_line(release.news, MAX_NEWS)
    return f"{text} ({news})" if news else text


def _one_line(text: str, most: int) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:most].strip()
