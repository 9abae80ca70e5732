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


@given(st.binary(max_size=300))
def test_what_a_picture_shows_is_numbers_and_text_whatever_arrives(body):
    for name, fact in frames.shown(body).items():
        assert name.isprintable()
        assert isinstance(fact, int | float | str)


def test_what_a_picture_shows_is_read_and_bounded():
    body = frames.progressed(0.5, {"curve": 12, "also": "two"} | {f"more{i}": i for i in range(30)})
    shows = frames.shown(body)
    assert frames.fraction(body) == 0.5
    assert shows["curve"] == 12
    assert shows["also"] == "two"
    assert len(shows) == frames.MOST_SHOWN


@pytest.mark.parametrize("fact", [object(), "x" * frames.MAX_SHOWS])
def test_what_is_no_data_or_too_much_leaves_the_share(fact):
    body = frames.progressed(0.5, {"fact": fact})
    assert len(body) == frames.FRACTION.size
    assert frames.fraction(body) == 0.5


def test_a_failure_is_a_reason_and_a_capped_detail():
    assert frames.failure(codec.encode(["exception", "x" * 9000])) == ("exception", "x" * frames.MAX_DETAIL)


@pytest.mark.parametrize("value", [None, [], ["a"], ["a", 1], {"a": "b"}, ["a", "b", "c"]])
def test_anything_else_is_no_failure(value):
    with pytest.raises(CodecError):
        frames.failure(codec.encode(value))
