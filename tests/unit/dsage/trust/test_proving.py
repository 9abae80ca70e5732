"""Proof of a key as a line of text: for one server, for an hour, and by whoever has the key alone."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage.errors import BadSignature, Replayed, TrustError, UsageError, WrongRole
from dsage.trust.documents import Login, Possession
from dsage.trust.envelope import Envelope, seal
from dsage.trust.keys import PrivateKey
from dsage.trust.proving import AHEAD_S, GOOD_S, LONGEST, PREFIX, prove, proven

NOW = 1_800_000_000.0
KEY, OTHER = PrivateKey.generate(), PrivateKey.generate()


def line(envelope: Any) -> str:
    return PREFIX + base64.urlsafe_b64encode(msgspec.msgpack.encode(envelope)).decode().rstrip("=")


def said(**changed: Any) -> Possession:
    honest = Possession(server_id="lab", key=KEY.public, challenge=b"c" * 16, made=NOW)
    return msgspec.structs.replace(honest, **changed)


def test_a_proof_says_whose_key_it_is_and_is_another_each_time() -> None:
    first, second = (proven(f" {prove(KEY, 'lab', NOW)}\n", "lab", NOW + 10) for _ in range(2))
    assert first.key == second.key == KEY.public
    assert first.mark != second.mark
    assert first.until == NOW + GOOD_S
    assert len(prove(KEY, "x" * 64, NOW)) < LONGEST


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (prove(KEY, "elsewhere", NOW), WrongRole),
        (line(seal(said(key=OTHER.public), KEY)), WrongRole),
        (line(seal(said(), KEY, OTHER)), WrongRole),
        (line(seal(said(made=NOW - GOOD_S - 1), KEY)), Replayed),
        (line(seal(said(made=NOW + AHEAD_S + 1), KEY)), Replayed),
        (line(seal(Login(server_id="lab", challenge=b"c", ca="", key=KEY.public, role="host"), KEY)), WrongRole),
        (
            line(msgspec.structs.replace(seal(said(), KEY), payload=msgspec.json.encode(said(made=NOW + 1)))),
            BadSignature,
        ),
        (line(Envelope(Possession.payload_type, b"{}", [])), WrongRole),
        (line(seal(said(made=float("nan")), KEY)), TrustError),
        (line(["x"]), UsageError),
        (KEY.public.hex(), UsageError),
        (PREFIX + "!", UsageError),
        (PREFIX + "A" * LONGEST, UsageError),
        (PREFIX, UsageError),
        ("", UsageError),
    ],
    ids=[
        "another server",
        "another key",
        "two signatures",
        "old",
        "to come",
        "another kind",
        "changed",
        "unsigned",
        "no time",
        "no envelope",
        "a key alone",
        "no letters",
        "long",
        "empty",
        "nothing",
    ],
)
def test_what_proves_nothing(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        proven(text, "lab", NOW)


@given(st.binary(max_size=600) | st.text(max_size=100).map(str.encode))
def test_noise_is_refused_in_words(noise: bytes) -> None:
    with pytest.raises((UsageError, TrustError)):
        proven(PREFIX + base64.urlsafe_b64encode(noise).decode(), "lab", NOW)
