"""Frames: caps before bodies, and nothing but what was agreed."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage import codec
from dsage.errors import CodecError, TooLarge
from dsage.sandbox import frames
from dsage.sandbox.frames import Kind


def test_a_frame_arrives_as_it_was_sent():
    near, far = socket.socketpair()
    with near, far:
        near.sendall(frames.pack(Kind.RESULT, b"abc") + frames.pack(Kind.PROGRESS, b""))
        near.shutdown(socket.SHUT_WR)
        allowed = frames.caps(100)
        assert frames.receive(far, allowed) == (Kind.RESULT, b"abc")
        assert frames.receive(far, allowed) == (Kind.PROGRESS, b"")
        assert frames.receive(far, allowed) is None


def test_a_frame_that_stops_half_way_is_none():
    near, far = socket.socketpair()
    with near, far:
        near.sendall(frames.pack(Kind.RESULT, b"abc")[:-1])
        near.shutdown(socket.SHUT_WR)
        assert frames.receive(far, frames.caps(100)) is None


@given(st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_a_header_is_a_known_kind_within_its_cap_or_refused(number, length):
    allowed = frames.caps(1000)
    header = frames.HEADER.pack(number, length)
    if number not in allowed:
        with pytest.raises(CodecError):
            frames.opened(header, allowed)
    elif length > allowed[Kind(number)]:
        with pytest.raises(TooLarge):
            frames.opened(header, allowed)
    else:
        assert frames.opened(header, allowed) == (Kind(number), length)


@given(st.binary(max_size=8))
def test_progress_is_a_share_or_nothing(body):
    share = frames.fraction(body)
    assert share is None or 0.0 <= share <= 1.0


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_is_read(share):
    assert frames.fraction(struct.pack("!d", share)) == share


def test_a_failure_is_a_reason_and_a_capped_detail():
    assert frames.failure(codec.encode(["exception", "x" * 9000])) == ("exception", "x" * frames.MAX_DETAIL)


@pytest.mark.parametrize("value", [None, [], ["a"], ["a", 1], {"a": "b"}, ["a", "b", "c"]])
def test_anything_else_is_no_failure(value):
    with pytest.raises(CodecError):
        frames.failure(codec.encode(value))
