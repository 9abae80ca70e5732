"""Making keys and signing root.json: all that happens around the root key.

A lab's first start makes everything in one place (`first_keys`). Later changes are each one new version of
root.json (`sign_root`), made wherever the root key is.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from dsage.errors import Conflict, NotFound, UsageError
from dsage.files import write_whole
from dsage.home import Home
from dsage.trust import tls
from dsage.trust.chain import Chain
from dsage.trust.documents import CodeKey, Root
from dsage.trust.envelope import Envelope, open_as, parse, seal
from dsage.trust.invite import Link
from dsage.trust.keys import PrivateKey, fingerprint, key_hash

DAY_S: Final = 86400.0
ROOT_DAYS: Final = 365.0
"""root.json has to be signed again once a year, so that a server cannot hide a revocation for longer."""
CODE_KEY_DAYS: Final = 365.0
RENEW_DAYS: Final = 60.0
"""A root key that lies beside the server renews by itself this long before an expiry."""
LAB: Final = "lab"
MAX_ROOT_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class FirstKeys:
    """What `dsage serve` needs to start; `made` lists the files that this call wrote (empty on later starts).

    `root_key` is the root key's file if it still lies in this home, else None. `ca` is what links pin.
    """

    root: Root
    envelope: Envelope
    unit_key: PrivateKey
    ca: str
    root_key: Path | None
    made: tuple[Path, ...]

    def link(self, url: str, code: str = "") -> Link:
        """Return an invite link to this server at `url` (https://HOST:PORT)."""
        return Link(url, self.root.server_id, self.ca, key_hash(self.root.root_key), code)


def first_keys(
    home: Home, names: list[str], server_name: str, projects: Sequence[str] = (LAB,), *, ca: str = ""
) -> FirstKeys:
    """Make what is missing of: root key, lab code key, unit key, CA, certificate, root.json; overwrite nothing.

    `names` are the DNS names and IP addresses of the certificate, `projects` those of the lab's code key. `ca` is what
    links pin in place of the CA made here. While the root key lies here, root.json is kept current; afterwards raises
    UsageError if it does not fit.
    """
    made: list[Path] = []
    if not home.root_file.exists():
        if home.unit_key.exists() and not home.root_key.exists():
            raise UsageError(
                f"{home.root_file} is missing, and a new one would be a new server to every volunteer",
                hint="Put it back from a backup, or move the whole folder away to start afresh.",
            )
        for path in (home.root_key, home.code_key(LAB)):
            _make_key(path, made)
    _make_key(home.unit_key, made)
    if not (home.tls / "ca.pem").exists():
        tls.make_authority(home.tls, server_name)
        made.append(home.tls / "ca.pem")
    if tls.make_leaf(home.tls, names):
        made.append(home.tls / "tls.pem")
    unit_key = PrivateKey.load(home.unit_key)
    own = tls.spki_hash((home.tls / "ca.pem").read_bytes())
    if not home.root_file.exists():
        _write_first_root(home, unit_key.public, own, list(projects))
        made.append(home.root_file)
    envelope = _keep_current(home, unit_key.public, [own, ca or own], list(projects))
    root = read(envelope)
    root_key = home.root_key if home.root_key.exists() else None
    return FirstKeys(root, envelope, unit_key, ca or own, root_key, tuple(made))


def load_root(path: Path) -> Envelope:
    """Read root.json. Raises NotFound, or UsageError if it is not one."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_ROOT_BYTES), type=Envelope)
    except FileNotFoundError:
        raise NotFound(
            f"there is no {path}", hint="`dsage serve` makes it; elsewhere, copy it here and name it by --root-file."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is damaged: {error}", hint="Put it back from a backup.") from None


def read(envelope: Envelope) -> Root:
    """Return what a root.json says, checked against nothing but itself: for showing, and for the server's own."""
    return open_as(envelope, Root, [parse(envelope.payload, Root).root_key])


def open_root(home: Home, root_key: Path | None = None, root_file: Path | None = None) -> tuple[PrivateKey, Root]:
    """Return the root key and root.json, which that very key must have signed: never build on a stranger's.

    Raises NotFound if the key is elsewhere, BadSignature or WrongRole if root.json was changed.
    """
    path = root_key or home.root_key
    if not path.exists():
        raise NotFound(
            f"the root key is not at {path}",
            hint="Give --root-key PATH if it was moved away, or run this where the root key is.",
        )
    key = PrivateKey.load(path)
    return key, open_as(load_root(root_file or home.root_file), Root, [key.public])


def sign_root(
    home: Home, *, root_key: Path | None = None, root_file: Path | None = None, above: int = 0, **changes: Any
) -> Envelope:
    """Sign and keep the next version of root.json (above `above` too), with these fields of `Root` changed.

    Raises as `open_root`.
    """
    key, root = open_root(home, root_key, root_file)
    now = time.time()
    following = msgspec.structs.replace(
        root, version=max(root.version, above) + 1, issued=now, expires=now + ROOT_DAYS * DAY_S, **changes
    )
    envelope = seal(following, key)
    Chain(root).advance(envelope, now)
    _save_root(root_file or home.root_file, envelope)
    return envelope


def replace_root(home: Home, root_file: Path | None = None) -> Envelope:
    """Make a new root key in place of one that is lost, and sign root.json with it alone.

    Nobody who pinned the old key believes it: everybody joins and logs in again, by new links. What is certified,
    revoked and known of people stays. Raises Conflict if a root key is here, NotFound without a root.json.
    """
    path = root_file or home.root_file
    root = read(load_root(path))
    key = PrivateKey.generate()
    key.save(home.root_key)
    now = time.time()
    following = msgspec.structs.replace(
        root, version=root.version + 1, issued=now, expires=now + ROOT_DAYS * DAY_S, root_key=key.public
    )
    envelope = seal(following, key)
    _save_root(path, envelope)
    return envelope


def certified(root: Root, public: bytes, name: str, projects: Sequence[str], days: float) -> list[CodeKey]:
    """Return `root`'s code keys with this one certified for `projects` too, for `days` from now.

    Raises Conflict if the key was revoked or another key has the name.
    """
    if public in root.revoked_keys:
        raise Conflict(f"the key {fingerprint(public)} was revoked", hint="Make a new key (`dsage keys new code`).")
    if any(entry.name == name and entry.key != public for entry in root.code_keys):
        raise Conflict(f"another code key is named {name!r}", hint="Give this one a --name of its own.")
    present = [project for entry in root.code_keys if entry.key == public for project in entry.projects]
    entry = CodeKey(
        key=public,
        name=name,
        projects=sorted({*present, *projects}),
        expires=time.time() + days * DAY_S,
    )
    return [*(other for other in root.code_keys if other.key != public), entry]


def without_key(root: Root, public: bytes) -> dict[str, Any]:
    """Return the changes to `root` that revoke a code or unit key. Raises UsageError for the root key."""
    if public == root.root_key:
        raise UsageError("the root key cannot revoke itself", hint="Start a new server identity with a new root key.")
    return {
        "unit_keys": [key for key in root.unit_keys if key != public],
        "code_keys": [entry for entry in root.code_keys if entry.key != public],
        "revoked_keys": sorted({*root.revoked_keys, public}),
    }


def _make_key(path: Path, made: list[Path]) -> None:
    if not path.exists():
        PrivateKey.generate().save(path)
        made.append(path)


def _save_root(path: Path, envelope: Envelope) -> None:
    write_whole(path, msgspec.json.format(msgspec.json.encode(envelope)) + b"\n")


def _write_first_root(home: Home, unit_key: bytes, ca: str, projects: list[str]) -> None:
    key = PrivateKey.load(home.root_key)
    now = time.time()
    root = Root(
        server_id=secrets.token_hex(16),
        version=1,
        issued=now,
        expires=now + ROOT_DAYS * DAY_S,
        root_key=key.public,
        unit_keys=[unit_key],
        ca_keys=[ca],
    )
    lab = PrivateKey.load(home.code_key(LAB)).public
    root = msgspec.structs.replace(root, code_keys=certified(root, lab, LAB, projects, CODE_KEY_DAYS))
    _save_root(home.root_file, seal(root, key))


def accepting(root: Root, *cas: str) -> list[str]:
    """Return `root`'s accepted CAs (hashes of their keys, or "system") with these."""
    return list(dict.fromkeys([*root.ca_keys, *cas]))


def _keep_current(home: Home, unit_key: bytes, cas: list[str], projects: list[str]) -> Envelope:
    """Return root.json, in a new version if it needs one and the root key is here."""
    envelope = load_root(home.root_file)
    root = read(envelope)
    if unit_key in root.revoked_keys:
        raise UsageError(
            f"the unit key {fingerprint(unit_key)} was revoked",
            hint=f"Move {home.unit_key} away and start again: a new one is made.",
        )
    missing: dict[str, Any] = {}
    if unit_key not in root.unit_keys:
        missing["unit_keys"] = [*root.unit_keys, unit_key]
    if not set(cas) <= set(root.ca_keys):
        missing["ca_keys"] = accepting(root, *cas)
    if not home.root_key.exists():
        if missing:
            raise UsageError(
                f"root.json does not name this server's {' and '.join(missing)}",
                hint="Run `dsage keys certify` with --root-key (`--unit` for a unit key, `--ca` for a certificate "
                "authority or the word system), or put the files back from a backup.",
            )
        return envelope
    soon = time.time() + RENEW_DAYS * DAY_S
    for entry in root.code_keys:
        if entry.name == LAB and (entry.expires < soon or not set(projects) <= set(entry.projects)):
            missing["code_keys"] = certified(root, entry.key, LAB, projects, CODE_KEY_DAYS)
    return sign_root(home, **missing) if missing or root.expires < soon else envelope
