"""Every key and certificate of a home, with what its owner should know about it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from dsage.home import Home
from dsage.trust import ceremony, tls
from dsage.trust.documents import Root
from dsage.trust.keys import PrivateKey, fingerprint, public_text

WARN_DAYS: Final = (7, 30, 60)
"""An expiry is told of 60 days ahead, then with more weight."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One key, certificate or signed list. `expires` is in Unix seconds, `days_left` in days."""

    role: str
    where: str
    name: str = ""
    fingerprint: str = ""
    public: str = ""
    version: int | None = None
    expires: float | None = None
    days_left: float | None = None
    warning: str = ""
    projects: list[str] = []
    revoked: bool = False

    @property
    def until(self) -> str:
        """The expiry as people read it."""
        if self.revoked:
            return "revoked"
        return "-" if self.expires is None else datetime.fromtimestamp(self.expires, UTC).strftime("%Y-%m-%d")


def inventory(home: Home, root_file: Path, now: float) -> list[Line]:
    """Return what there is, the root first. Raises UsageError for a file that is damaged or open to others."""
    files = _key_files(home)
    root = ceremony.read(ceremony.load_root(root_file)) if root_file.exists() else None
    lines = [] if root is None else _certified_lines(root, root_file, files, now)
    told = {line.public for line in lines}
    for public, path in files.items():
        if public_text(public) not in told:
            role = path.stem.split("-")[0]
            warning = f"the {role} key in {path} is not certified by root.json: run `dsage keys certify`"
            lines.append(_line(role, path, public, now, warning="" if role == "root" else warning))
    return lines + _certificate_lines(home, now)


def _key_files(home: Home) -> dict[bytes, Path]:
    paths = [home.root_key, home.unit_key, *sorted(home.keys.glob("code-*.key"))]
    return {PrivateKey.load(path).public: path for path in paths if path.exists()}


def _certified_lines(root: Root, root_file: Path, files: dict[bytes, Path], now: float) -> list[Line]:
    days, warning = _expiry("root.json", root.expires, now, "`dsage keys certify`")
    lines = [
        Line(
            role="root.json",
            where=str(root_file),
            name=f"version {root.version}",
            version=root.version,
            expires=root.expires,
            days_left=days,
            warning=warning,
        ),
        _line("root", files.get(root.root_key), root.root_key, now),
    ]
    lines += [_line("unit", files.get(key), key, now) for key in root.unit_keys]
    for entry in root.code_keys:
        line = _line("code", files.get(entry.key), entry.key, now, expires=entry.expires, name=entry.name)
        lines.append(msgspec.structs.replace(line, projects=entry.projects))
    for key in root.revoked_keys:
        lines.append(msgspec.structs.replace(_line("key", files.get(key), key, now), revoked=True))
    return lines


def _certificate_lines(home: Home, now: float) -> list[Line]:
    lines = []
    for role, file in (("CA", "ca.pem"), ("certificate", "tls.pem")):
        path = home.tls / file
        if path.exists():
            pem = path.read_bytes()
            expires = tls.expiry(pem).timestamp()
            days, warning = _expiry(f"the {role}", expires, now, "a restart of `dsage serve`")
            digits = tls.spki_hash(pem)[:16]
            mark = "-".join(digits[i : i + 4] for i in range(0, 16, 4))
            own = "" if role == "certificate" and days > tls.RENEW_DAYS else warning
            lines.append(
                Line(role=role, where=str(path), fingerprint=mark, expires=expires, days_left=days, warning=own)
            )
    return lines


def _line(
    role: str,
    path: Path | None,
    public: bytes,
    now: float,
    *,
    expires: float | None = None,
    name: str = "",
    warning: str = "",
) -> Line:
    days = None
    if expires is not None:
        days, warning = _expiry(f"the certificate of the {role} key {name}", expires, now, "`dsage keys certify`")
    return Line(
        role=role,
        where="elsewhere" if path is None else str(path),
        name=name,
        fingerprint=fingerprint(public),
        public=public_text(public),
        expires=expires,
        days_left=days,
        warning=warning,
    )


def _expiry(what: str, expires: float, now: float, renewal: str) -> tuple[float, str]:
    days = round((expires - now) / ceremony.DAY_S, 2)
    if days <= 0:
        return days, f"{what} has expired; {renewal} renews it"
    for limit in WARN_DAYS:
        if days <= limit:
            urgent = "URGENT: " if limit == WARN_DAYS[0] else ""
            return days, f"{urgent}{what} expires in {days:.0f} days; {renewal} renews it"
    return days, ""
