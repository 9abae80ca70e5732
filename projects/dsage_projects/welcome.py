"""A first piece of work for a computer that has just joined: `dsage submit welcome -p times=3`.

It is no research: it takes half a second, its answer proves itself, and so it shows within seconds that a new computer
fetches, computes, reports and is paid. `dsage admin welcome` keeps some ready for newcomers, one for each.
"""

from collections.abc import Iterator
from hashlib import shake_128
from math import gcd
from typing import Any

from dsage import DistributedFunction, Limits, Unit, progress

FUNCTION = "Welcome"
BITS = 42  # of each of the two primes: about half a second's work, since the steps go by the root of a prime
WITNESSES = (2, 3, 5, 7, 11, 13, 17)  # decide below 3.4e14. Source: Jaeschke 1993, "On strong pseudoprimes"


def is_prime(n: int) -> bool:
    """Tell primes below 3.4e14 from the rest."""
    if n < 2 or any(n % p == 0 for p in WITNESSES):
        return n in WITNESSES
    twos = ((n - 1) & (1 - n)).bit_length() - 1
    odd = (n - 1) >> twos
    return all(pow(a, odd, n) == 1 or any(pow(a, odd << i, n) == n - 1 for i in range(twos)) for a in WITNESSES)


def number(k: int) -> int:
    """Return the number of unit k: the product of two primes that a hash chooses, the same on every computer."""
    bits = int.from_bytes(shake_128(f"welcome {k}".encode()).digest(16), "big")
    n = 1
    for start in (bits & (1 << BITS) - 1, bits >> 64 & (1 << BITS) - 1):
        prime = start | 1 << BITS - 1 | 1
        while not is_prime(prime) or n % prime == 0:
            prime += 2
        n *= prime
    return n


def factor_of(n: int) -> int:
    """Return a proper factor of a number that has one. Source: Pollard 1975, "A Monte Carlo method for factorization".

    Raises ArithmeticError if there is none.
    """
    for c in range(1, 100):
        slow = fast = 2
        steps, product, factor = 0, 1, 1
        while factor == 1:
            before = slow, fast
            for _ in range(256):
                slow = (slow * slow + c) % n
                fast = (fast * fast + c) % n
                fast = (fast * fast + c) % n
                product = product * (slow - fast) % n
            factor, steps = gcd(product, n), steps + 256
            progress(min(0.99, steps / (2 << BITS // 2)))
        if factor == n:
            slow, fast = before
            factor = 1
            while factor == 1:
                slow = (slow * slow + c) % n
                fast = (fast * fast + c) % n
                fast = (fast * fast + c) % n
                factor = gcd(slow - fast, n)
        if factor != n:
            return factor
    raise ArithmeticError(f"{n} did not split")


class Welcome(DistributedFunction[int, int]):
    """A factor of a number that is quick to split and quicker to check, `times` times in all; 0: for ever.

    `ready` units wait at a time, and each that was computed makes room for another.
    """

    times: int
    ready: int
    welcomed: int
    title = "Welcome"
    limits = Limits(cpu_s=300, wall_s=600, memory_bytes=256 << 20, disk_bytes=1 << 20)

    def __init__(self, times: int = 0, ready: int = 16) -> None:
        super().__init__(times=int(times), ready=int(ready), welcomed=0, result=0)
        self.made = min(self.ready, self.times or self.ready)

    def units(self) -> Iterator[Unit[int]]:
        """The first ones; whatever is folded later makes the next."""
        for k in range(min(self.ready, self.times or self.ready)):
            yield self.unit(k)

    def unit(self, k: int) -> Unit[int]:
        """Return unit k. Its credit is what it takes on the reference core, and so very little."""
        return Unit(k, key=str(k), credit=0.01, quorum=1, deadline_s=600.0, limits=self.limits)

    @staticmethod
    def compute(k: int) -> int:
        """This runs on the new computer."""
        return factor_of(number(k))

    @staticmethod
    def verify(k: int, factor: object) -> bool:
        """A factor proves itself by dividing."""
        return type(factor) is int and 1 < factor < number(k) and number(k) % factor == 0

    def process_result(self, unit: Unit[int], factor: int) -> None:
        """Count a computer as welcomed, and have another unit ready."""
        self.welcomed += 1
        self.result = self.welcomed
        self._another()

    def unit_failed(self, unit: Unit[int], reason: str) -> None:
        """One computer that cannot do it is its own matter; the next one gets another unit."""
        self._another()

    def progress(self) -> dict[str, Any]:
        """Show how many there were."""
        return {"summary": f"{self.welcomed} welcomed"}

    def _another(self) -> None:
        if not self.times or self.made < self.times:
            self.submit(self.unit(self.made))
            self.made += 1
