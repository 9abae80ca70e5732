"""What each version of Landlock is asked to withhold."""

import struct

import pytest

from dsage.sandbox import landlock


@pytest.mark.parametrize(
    ("abi", "rights", "length"),
    [
        (1, 0x1FFF, 8),
        (2, 0x3FFF, 8),
        (3, 0x7FFF, 8),
        (4, 0x7FFF, 16),
        (5, 0xFFFF, 16),
        (6, 0xFFFF, 24),
        (9, 0xFFFF, 24),
    ],
)
def test_attributes_ask_for_all_that_a_version_knows(abi, rights, length):
    described = landlock.attributes(abi)
    assert len(described) == length
    fields = struct.unpack(f"={length // 8}Q", described)
    assert fields == (rights, landlock.TCP, landlock.SCOPES)[: len(fields)]


def test_the_version_is_a_number():
    assert landlock.version() >= 0
