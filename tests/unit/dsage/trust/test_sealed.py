"""Sealed files: what was written comes back, and nothing else ever does."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage.errors import UsageError
from dsage.trust import sealed
from dsage.trust.sealed import Damaged, SealedWriter, WrongPassphrase, records

PASSPHRASE = "correct horse battery"
RECORDS = [b"one", b"", b"three" * 1000]


def make(contents: list[bytes], *, close: bool = True) -> bytes:
    file = io.BytesIO()
    writer = SealedWriter(file, PASSPHRASE, log2_n=4)
    for record in contents:
        writer.write(record)
    if close:
        writer.close()
    return file.getvalue()


def opened(data: bytes, passphrase: str = PASSPHRASE) -> list[bytes]:
    return list(records(io.BytesIO(data), passphrase))


def borders(data: bytes) -> list[int]:
    """Return where each record begins, and the end."""
    length = int.from_bytes(data[len(sealed.MAGIC) : len(sealed.MAGIC) + 4])
    found = [len(sealed.MAGIC) + 4 + length + 32]
    while found[-1] < len(data):
        found.append(found[-1] + 4 + (int.from_bytes(data[found[-1] : found[-1] + 4]) & 0x7FFFFFFF))
    return found


@given(st.lists(st.binary(max_size=300), max_size=5))
@settings(max_examples=30, deadline=None)
def test_what_was_sealed_comes_back_in_order(contents: list[bytes]) -> None:
    assert opened(make(contents)) == contents


def test_nothing_of_it_can_be_read_without_the_passphrase() -> None:
    data = make([b"the secret sentence" * 20])
    assert b"secret" not in data
    assert make([b"x"]) != make([b"x"])
    with pytest.raises(WrongPassphrase):
        opened(data, "correct horse batterY")


def test_no_byte_can_be_changed() -> None:
    data = make(RECORDS)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises((Damaged, WrongPassphrase)):
            opened(bytes(changed))


def test_it_cannot_be_cut_short_anywhere_nor_made_longer() -> None:
    data = make(RECORDS)
    for length in range(len(data)):
        with pytest.raises(Damaged):
            opened(data[:length])
    with pytest.raises(Damaged, match="follows"):
        opened(data + b"x")
    with pytest.raises(Damaged):
        opened(make(RECORDS, close=False))


def test_records_cannot_change_places_be_left_out_or_come_from_another_file() -> None:
    data = make([b"a" * 50, b"b" * 50, b"c" * 50])
    head, one, two, three, end = borders(data)[:5]
    first, second, third = data[head:one], data[one:two], data[two:three]
    rest = data[three:]
    assert end == len(data)
    for middle in (second + first + third, first + third, first + first + second + third, first + second):
        with pytest.raises(Damaged):
            opened(data[:head] + middle + rest)
    other = make([b"a" * 50, b"b" * 50, b"c" * 50])
    with pytest.raises(Damaged):
        opened(data[:head] + other[borders(other)[0] :])


def test_a_passphrase_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(UsageError, match="12 characters"):
        SealedWriter(io.BytesIO(), "too short")


def test_a_header_that_asks_for_endless_work_is_refused() -> None:
    file = io.BytesIO()
    SealedWriter(file, PASSPHRASE, log2_n=4)
    data = file.getvalue().replace(b"\xa6log2_n\x04", b"\xa6log2_n\x1f")
    with pytest.raises(Damaged, match="impossible"):
        opened(data)


def test_other_files_are_told_apart() -> None:
    for data in (b"", b"SQLite format 3\0", sealed.MAGIC):
        with pytest.raises(Damaged):
            opened(data)
