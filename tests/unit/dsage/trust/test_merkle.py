"""Merkle trees of every size, and every way to bend a path."""

from __future__ import annotations

import hashlib

import pytest

from dsage.errors import WrongPath
from dsage.trust.merkle import root_of, tree


def reference_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, written down as it is defined there."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = reference_root(leaves[:split]), reference_root(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaves_of(count: int) -> list[bytes]:
    return [b"unit %d" % number for number in range(count)]


def test_every_leaf_of_every_size_leads_to_the_root_of_the_rfc() -> None:
    for count in range(1, 301):
        leaves = leaves_of(count)
        root, paths = tree(leaves)
        assert root == reference_root(leaves)
        assert all(root_of(leaf, i, count, paths[i]) == root for i, leaf in enumerate(leaves))


def test_a_published_root() -> None:
    # Certificate Transparency's reference test data: the first two leaves of its tree of eight.
    root, _ = tree([b"", b"\x00"])
    assert root.hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 256, 257])
def test_another_place_is_another_root(count: int) -> None:
    leaves = leaves_of(count)
    root, paths = tree(leaves)
    for index in range(count):
        for other in {0, index ^ 1, index + 1, count - 1, index // 2} - {index}:
            try:
                assert root_of(leaves[index], other, count, paths[index]) != root
            except WrongPath:
                continue


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 100])
def test_a_path_of_another_length_is_refused(count: int) -> None:
    leaves = leaves_of(count)
    _, paths = tree(leaves)
    for index, path in enumerate(paths):
        with pytest.raises(WrongPath, match="too long"):
            root_of(leaves[index], index, count, [*path, bytes(32)])
        if path:
            with pytest.raises(WrongPath, match="too short"):
                root_of(leaves[index], index, count, path[:-1])
            with pytest.raises(WrongPath):
                root_of(leaves[index], index, count, [path[0] + b"\x00", *path[1:]])


@pytest.mark.parametrize(("index", "count"), [(-1, 4), (4, 4), (0, 0), (0, -1), (2**70, 4)])
def test_an_impossible_place_is_refused(index: int, count: int) -> None:
    with pytest.raises(WrongPath):
        root_of(b"unit", index, count, [])


def test_an_inner_node_does_not_pass_for_a_leaf() -> None:
    leaves = leaves_of(4)
    root, paths = tree(leaves)
    left = hashlib.sha256(b"\x00" + leaves[0]).digest() + hashlib.sha256(b"\x00" + leaves[1]).digest()
    assert root_of(left, 0, 2, paths[0][1:]) != root


def test_no_leaf_no_tree() -> None:
    with pytest.raises(ValueError, match="needs a leaf"):
        tree([])
