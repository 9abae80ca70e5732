"""Copies of a unit that differ: each has its arguments perturbed, so that a fault cannot agree with itself.

Where a class has `perturb`, the sandbox of a volunteer computes `restore(args, compute(perturb(args, seed)), seed)`
instead of `compute(args)`. The seed is drawn from the copy's lease, which the server makes: each copy has another one,
and the same copy the same one again when it goes on from its checkpoint. What is reported, compared, paid and folded is
the restored answer.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any, Final

from dsage import codec, typed

if TYPE_CHECKING:
    from dsage.function import DistributedFunction

DOMAIN: Final = b"dsage perturb 1"
"""What the hash is for (docs/protocol.md): nothing else drawn from a lease is ever the same number."""
SEED_BYTES: Final = 8


def seed_of(lease: bytes) -> int:
    """Return the seed (0 to 2^64 - 1) of the copy that this lease is for."""
    return int.from_bytes(hashlib.blake2b(lease, digest_size=SEED_BYTES, person=DOMAIN).digest(), "big")


def any_seed() -> int:
    """Return a seed for a copy that nobody leased."""
    return secrets.randbits(8 * SEED_BYTES)


def call(args: bytes, seed: int | None) -> tuple[str, tuple[bytes, ...]]:
    """Return which function of a class computes a unit in its sandbox, and the encoded arguments of that; without a
    `seed` as it is."""
    return ("compute", (args,)) if seed is None else ("compute_perturbed", (args, codec.encode(seed)))


def computed(function: type[DistributedFunction], args: Any, seed: int) -> Any:
    """Return the restored answer to perturbed arguments. Each of the author's functions gets data of its own, as it
    would arrive from another computer. Raises CodecError where what one of them gives is no data."""
    original = codec.encode(args)
    changed = codec.encode(function.perturb(_argument(function, original), seed))
    value = codec.encode(function.compute(_argument(function, changed)))
    return function.restore(_argument(function, original), typed.value(function, codec.decode(value)), seed)


def _argument(function: type[DistributedFunction], data: bytes) -> Any:
    return typed.argument(function, codec.decode(data))
