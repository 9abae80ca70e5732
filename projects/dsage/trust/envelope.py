"""DSSE v1 envelopes: the exact bytes of a document, what kind it is, and who signed it.

The signature covers the payload type and the payload (`pae`), so a document of one kind never passes for
another, and the bytes that were signed are the bytes that are parsed: nothing is serialised again. The same
struct travels as JSON (bytes in base64) and as MessagePack. Source: github.com/secure-systems-lab/dsse,
protocol.md, version 1.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

from dsage.errors import BadSignature, TrustError, WrongRole
from dsage.trust.documents import PAYLOAD_PREFIX, Document
from dsage.trust.keys import PrivateKey, fingerprint, verify

MAX_SIGNATURES: Final = 16
"""A root key change needs two; the cap bounds what a forged envelope can cost."""

D = TypeVar("D", bound=Document)


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature; `keyid` is the signer's raw public key."""

    keyid: bytes
    sig: bytes


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed document: nothing in it is to be believed before `open_as` returned it."""

    payload_type: str = msgspec.field(name="payloadType")
    payload: bytes
    signatures: list[Signature]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def seal(document: Document, *keys: PrivateKey) -> Envelope:
    """Serialise `document` once, as JSON, and sign those bytes with each key."""
    return seal_bytes(document.payload_type, msgspec.json.encode(document), *keys)


def seal_bytes(payload_type: str, payload: bytes, *keys: PrivateKey) -> Envelope:
    """Sign bytes that are already serialised."""
    signed = pae(payload_type, payload)
    return Envelope(payload_type, payload, [Signature(key.public, key.sign(signed)) for key in keys])


def open_as(envelope: Envelope, kind: type[D], keys: Iterable[bytes]) -> D:
    """Return the document if it is a `kind` and one of `keys` signed it.

    Raises WrongRole if it is of another kind or none of `keys` is among the signers, BadSignature if those
    that are did not sign these bytes, and TrustError if what they signed is not a well-formed document.
    """
    if envelope.payload_type != kind.payload_type:
        raise WrongRole(f"a signed document of type {envelope.payload_type[:80]!r} stands where a {kind.__name__} must")
    verified_signers(envelope, keys)
    return parse(envelope.payload, kind)


def verified_signers(envelope: Envelope, keys: Iterable[bytes]) -> list[bytes]:
    """Return those of `keys` whose signature holds, at least one. Raises as `open_as` does."""
    if len(envelope.signatures) > MAX_SIGNATURES:
        raise BadSignature(f"an envelope with more than {MAX_SIGNATURES} signatures")
    wanted = set(keys)
    candidates = [signature for signature in envelope.signatures if signature.keyid in wanted]
    if not candidates:
        who = ", ".join(fingerprint(key) for key in signers(envelope)) or "nobody"
        raise WrongRole(f"{_called(envelope)} is signed by {who}, which is not a key that may sign it here")
    signed = pae(envelope.payload_type, envelope.payload)
    good = [signature.keyid for signature in candidates if verify(signature.keyid, signature.sig, signed)]
    if not good:
        raise BadSignature(f"the signature of {_called(envelope)} does not fit its contents")
    return good


def parse(data: bytes, kind: type[D]) -> D:
    """Return the document in `data`, whose signature was checked. Raises TrustError if it is malformed.

    No name may stand in it twice. Bytes that are just what we would write ourselves need no second look for that.
    """
    try:
        document: D = _decoder(kind).decode(data)
        if msgspec.json.encode(document) != data:
            json.loads(data, object_pairs_hook=_no_duplicates, parse_int=str, parse_float=str)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise TrustError(f"a signed {kind.__name__} is malformed: {error}") from None
    return document


def signers(envelope: Envelope) -> list[bytes]:
    """Return the keys that claim to have signed, unchecked."""
    return [signature.keyid for signature in envelope.signatures]


def _called(envelope: Envelope) -> str:
    """Return what people call this kind of document, such as root.json."""
    return envelope.payload_type[:80].removeprefix(PAYLOAD_PREFIX).replace("+json", ".json")


def hash_of(envelope: Envelope) -> str:
    """Return the SHA-256 of the payload in hexadecimal: the name of app versions and authorisations."""
    return hashlib.sha256(envelope.payload).hexdigest()


@functools.cache
def _decoder(kind: type[D]) -> msgspec.json.Decoder[D]:
    return msgspec.json.Decoder(kind)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name stands in it twice")
    return result
