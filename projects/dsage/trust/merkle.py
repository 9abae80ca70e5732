"""Merkle trees: one signature over many units, and for each unit the few hashes that lead to it.

Leaves and inner nodes are hashed with different first bytes, so neither passes for the other; a last node
without a partner moves up unhashed. The roots are those of RFC 6962, section 2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from dsage.errors import WrongPath

LEAF: Final = b"\x00"
NODE: Final = b"\x01"
HASH_BYTES: Final = 32


def tree(leaves: Sequence[bytes]) -> tuple[bytes, list[list[bytes]]]:
    """Return the root over `leaves` (at least one) and, for each leaf, its path from the bottom up."""
    if not leaves:
        raise ValueError("a Merkle tree needs a leaf")
    sha256 = hashlib.sha256
    level = [sha256(LEAF + leaf).digest() for leaf in leaves]
    paths: list[list[bytes]] = [[] for _ in leaves]
    span = 1
    while len(level) > 1:
        for position in range(0, len(level) - 1, 2):
            left, right = level[position], level[position + 1]
            start = position * span
            for path in paths[start : start + span]:
                path.append(right)
            for path in paths[start + span : start + 2 * span]:
                path.append(left)
        odd = level[-1:] if len(level) % 2 else []
        level = [sha256(NODE + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)] + odd
        span *= 2
    return level[0], paths


def root_of(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes:
    """Return the root that `path` leads to from leaf number `index` of `count`.

    Raises WrongPath if no tree of that size has such a path. Comparing the root is the caller's part.
    """
    if not 0 <= index < count:
        raise WrongPath(f"leaf {index} of {count} cannot be")
    node = hashlib.sha256(LEAF + leaf).digest()
    hashes = iter(path)
    position, width = index, count
    while width > 1:
        if position ^ 1 < width:
            other = next(hashes, b"")
            if len(other) != HASH_BYTES:
                raise WrongPath(f"the path of leaf {index} of {count} is too short")
            node = hashlib.sha256(NODE + (other + node if position & 1 else node + other)).digest()
        position, width = position >> 1, (width + 1) >> 1
    if next(hashes, None) is not None:
        raise WrongPath(f"the path of leaf {index} of {count} is too long")
    return node
