"""The clients that an operator publishes: files in the server's folder, each with its SHA-256, for the join page.

They are for people to fetch and install; nothing here is ever run by the server, and no client updates itself from it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from dsage.errors import NotFound, UsageError
from dsage.files import write_whole
from dsage.trust.envelope import Envelope
from dsage.wire import Package

FOLDER: Final = "published"
LIST: Final = "list.json"
RELEASE: Final = "release.json"
ROUTE: Final = "/client/"
SYSTEMS: Final = {
    ".deb": "deb",
    ".whl": "wheel",
    ".exe": "windows",
    ".msi": "windows",
    ".pkg": "macos",
    ".dmg": "macos",
}
OTHER: Final = "other"
CHUNK: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+(?:[a-z0-9.~+]*\d)?")


@dataclass(slots=True)
class Published:
    """The packages in a server's folder, read again when the list there has changed."""

    folder: Path
    _seen: tuple[int, int] | None = None
    _packages: list[Package] = field(default_factory=list)

    @classmethod
    def of(cls, server: Path) -> Published:
        """Return those of a server by its folder."""
        return cls(server / FOLDER)

    def packages(self) -> list[Package]:
        """Return what is published, as it is offered; nothing if the list cannot be read."""
        path = self.folder / LIST
        try:
            status = path.stat()
            seen = status.st_mtime_ns, status.st_ino
            if seen != self._seen:
                self._packages = msgspec.json.decode(path.read_bytes(), type=list[Package])
                self._seen = seen
        except (OSError, msgspec.DecodeError):
            self._seen, self._packages = None, []
        return self._packages

    def file(self, name: str) -> Path:
        """Return the file of a package. Raises NotFound."""
        if all(package.name != name for package in self.packages()) or not (self.folder / name).is_file():
            raise NotFound(f"no package {name[:80]!r} is published here", hint="The page /join lists those that are.")
        return self.folder / name

    def release(self) -> Envelope:
        """Return the signed notice of what is published. Raises NotFound if there is none."""
        try:
            return msgspec.json.decode((self.folder / RELEASE).read_bytes(), type=Envelope)
        except (OSError, msgspec.DecodeError):
            raise NotFound("no release of the client is signed here") from None

    def announce(self, release: Envelope) -> None:
        """Keep the signed notice of what is published, until other packages are."""
        write_whole(self.folder / RELEASE, msgspec.json.encode(release))

    def publish(self, files: Iterable[Path]) -> list[Package]:
        """Copy files here in place of all that was published; return what is. Raises UsageError, OSError."""
        files = list(files)
        names = [file.name for file in files]
        wrong = [name for name in names if not _NAME.fullmatch(name) or name in (LIST, RELEASE)]
        if wrong or len(set(names)) < len(names):
            raise UsageError(
                f"{(wrong or names)[0]!r} cannot be published under this name",
                hint="Names are letters, digits and . _ + ~ -, each once: they become part of an address.",
            )
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        packages = [self._copy(file) for file in files]
        write_whole(self.folder / LIST, msgspec.json.format(msgspec.json.encode(packages)))
        for old in self.folder.iterdir():
            if old.name not in {LIST, *names}:
                old.unlink()
        return packages

    def _copy(self, file: Path) -> Package:
        """Copy a file, whole, to its place, and describe it by what was copied."""
        digest, size = hashlib.sha256(), 0
        partial = self.folder / f".{file.name}.part"
        try:
            with file.open("rb") as source, partial.open("wb") as target:
                while piece := source.read(CHUNK):
                    digest.update(piece)
                    size += target.write(piece)
            partial.replace(self.folder / file.name)
        finally:
            partial.unlink(missing_ok=True)
        version = _VERSION.search(file.name.removesuffix(file.suffix))
        return Package(
            name=file.name, system=SYSTEMS.get(file.suffix, OTHER), version=version[0] if version else "", bytes=size,
            sha256=digest.hexdigest(), path=ROUTE + file.name,
        )  # fmt: skip
