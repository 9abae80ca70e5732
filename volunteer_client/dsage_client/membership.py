"""Which server a client belongs to: its key, what it pinned, and how it was taken in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from dsage.connection import Connection, fetch_chain, login
from dsage.errors import Conflict, InviteRefused, NotAllowed, StorageFull, UsageError
from dsage.files import keeping, write_whole
from dsage.trust.chain import Chain
from dsage.trust.documents import Enrolment
from dsage.trust.envelope import Envelope, seal
from dsage.trust.invite import Link
from dsage.trust.keys import PrivateKey
from dsage.wire import ChallengeReply, EnrolReply
from dsage_client.door.words import Newcomer
from dsage_client.settings import Settings


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """What a client keeps of its server. `link` is the invite without its code."""

    link: str
    ca_pem: str
    pseudonym: str

    @property
    def server(self) -> Link:
        """The parsed link."""
        return Link.parse(self.link)

    def save(self, path: Path) -> None:
        """Write it, whole. Raises StorageFull."""
        with keeping(path):
            write_whole(path, msgspec.json.format(msgspec.json.encode(self)), private=True)

    @classmethod
    def load(cls, path: Path) -> Membership | None:
        """Return what is stored, None if nothing is. Raises UsageError if the file is damaged."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise UsageError(
                f"{path} is damaged: {error}", hint="Move it away and join again with a fresh invite link."
            ) from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a client's folder. Raises Conflict if another runs there, StorageFull if it cannot be used."""
    import fcntl

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFull(
            f"the client's folder {path.parent} cannot be used: {error.strerror}",
            hint="Free some disk space or make the folder writable, or give another one with --home.",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another client is running with the folder {path.parent}",
                hint="Stop it first, or give this one a folder of its own with --home.",
            ) from None
        yield
    finally:
        os.close(descriptor)


def known(settings: Settings, link: Link | None) -> Membership | Link:
    """Return the stored membership, at the address in `link` if the server has moved; `link` before enrolling.

    Raises UsageError if `link` is of another server than the stored one, or neither is there.
    """
    stored = Membership.load(settings.membership_file)
    if stored is None:
        if link is None:
            raise UsageError(
                "this client has not joined a server yet",
                hint="Give the invite link: `dsage join LINK --when always`.",
            )
        return link
    if link is None:
        return stored
    if (link.server_id, link.root) != (stored.server.server_id, stored.server.root):
        raise UsageError(
            f"this client belongs to the server at {stored.server.url}, and the link is of another one",
            hint="Join the other server with a folder of its own: --home DIR.",
        )
    if (link.url, link.ca) != (stored.server.url, stored.server.ca):
        pem = stored.ca_pem if link.ca == stored.server.ca else ""
        stored = msgspec.structs.replace(stored, link=without_code(link), ca_pem=pem)
        stored.save(settings.membership_file)
    return stored


def client_key(settings: Settings) -> PrivateKey:
    """Return the client's key, made at the first call. Raises StorageFull, UsageError if the file is damaged."""
    if not settings.key_file.exists():
        with keeping(settings.key_file):
            PrivateKey.generate().save(settings.key_file)
    return PrivateKey.load(settings.key_file)


async def enrol(
    settings: Settings, link: Link, key: PrivateKey, now: float, newcomer: Newcomer | None = None
) -> Membership:
    """Join the server behind `link` with its code, and keep what is pinned.

    A client that was killed between the server's yes and its own note of it, or had no room for that, finds its key
    already known, and goes on. Raises InviteRefused, Conflict if the newcomer's name was taken, ServerAway, TrustError,
    UsageError, StorageFull.
    """
    newcomer = newcomer or Newcomer()
    shown = newcomer.shown
    if not link.code:
        raise UsageError("this link has no invite code", hint="Ask the operator for an invite (`dsage invite`).")
    async with await Connection.open(link) as conn:
        _, envelope = await fetch_chain(conn, link, now)
        challenge = await conn.call("POST", "/v1/challenge", None, ChallengeReply)
        wish = Enrolment(
            server_id=link.server_id,
            challenge=challenge.challenge,
            ca=link.ca,
            key=key.public,
            code=link.code,
            public=shown.leaderboard,
            discoveries=None if shown.discoveries == shown.leaderboard else shown.discoveries,
            pseudonym=newcomer.name,
        )
        try:
            pseudonym = (await conn.call("POST", "/v1/enrol", seal(wish, key), EnrolReply)).pseudonym
        except (InviteRefused, Conflict) as refusal:
            try:
                pseudonym = (await login(conn, key, "host", link.server_id)).name
            except NotAllowed:
                raise refusal from None
        save_root(settings, envelope)
        member = Membership(link=without_code(link), ca_pem=conn.ca_pem.decode(), pseudonym=pseudonym)
        member.save(settings.membership_file)
        return member


def save_root(settings: Settings, envelope: Envelope) -> None:
    """Keep the newest root.json: a later start refuses to go back behind it. Raises StorageFull."""
    with keeping(settings.root_file):
        write_whole(settings.root_file, msgspec.json.encode(envelope))


def load_chain(settings: Settings, link: Link) -> Chain:
    """Return what was believed when the client last ran; dates are judged when the chain is used.

    Raises UsageError if root.json is missing or damaged, a TrustError if it is not the pinned server's.
    """
    try:
        envelope = msgspec.json.decode(settings.root_file.read_bytes(), type=Envelope)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise UsageError(
            f"{settings.root_file} is missing or damaged: {error}",
            hint=f"Move {settings.folder} away and join again with a fresh invite link.",
        ) from None
    return Chain.first(envelope, server_id=link.server_id, root_key_hash=link.root, now=None)


def without_code(link: Link) -> str:
    """Return the text of a link that can be kept: a used code is of no use to anybody."""
    return str(Link(link.url, link.server_id, link.ca, link.root))
