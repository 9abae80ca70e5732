"""Prime numbers 2^e - 1 and k 2^e + 1: `dsage submit prp -p last=3000`, or `dsage submit prp -p k=3 -p last=1000`.

Both tests are one long chain of squarings modulo n, in which one wrong bit spoils all that comes after. Robert Gerbicz
found a check that costs next to nothing. Multiply every L-th number of the chain to P; squared L times, each of them
becomes the next one, so P becomes P without its first factor and with one more at its end. A stretch that fails the
check is done again from the last good place, which is also the checkpoint that a stopped unit resumes from.
"""

from collections.abc import Iterator
from typing import Any

from gmpy2 import gcd, is_prime, jacobi, mpz, powmod, primorial

from dsage import DistributedFunction, Limits, Unit, checkpoint, progress, restored
from dsage.errors import UsageError

FUNCTION = "Prp"
BLOCK = 100  # squarings in a block, Gerbicz's L
STRETCH = 50  # blocks between two checks: they take 3 % of the time
SMALL = primorial(1000)  # what has a prime factor below 1000 is not worth a unit
CHEAP = 10_000  # bits of a number that the server tests itself, in a tenth of a second
NEWS = 1000  # exponents from here on are declared as discoveries


def number(k: int, e: int) -> int:
    """Return the number to be tested: k = 0 stands for 2^e - 1."""
    return int(k * mpz(2) ** e + 1 if k else mpz(2) ** e - 1)


def witness(n: int) -> int:
    """Return a small number that is not a square modulo n; 0 if there is none, so that n is no prime."""
    return next((a for a in range(2, 1000) if jacobi(a, n) == -1), 0)


def squared(x: int, times: int, n: int) -> int:
    """Return x^(2^times) mod n."""
    return int(powmod(x, mpz(1) << times, n))


def chain(start: int, steps: int, n: int) -> int:
    """Return start^(2^steps) mod n, checked; raises ArithmeticError on a computer that cannot calculate.

    The last block goes on beyond the end to its full length, so that the answer is inside of what is checked.
    """
    done, value, total = restored() or [0, start, start]
    answer, failures = start, 0
    while done < steps:
        at, x, product = done, value, total
        while at < min(done + STRETCH * BLOCK, steps):
            before, left = product, min(BLOCK, steps - at)
            answer = squared(x, left, n)
            x = squared(answer, BLOCK - left, n)
            at, product = at + BLOCK, product * x % n
        if product == start * squared(before, BLOCK, n) % n:
            done, value, total = at, x, product
            if done < steps:
                checkpoint([done, value, total])
                progress(done / steps)
        elif (failures := failures + 1) == 10:
            raise ArithmeticError("this computer calculated wrong ten times")
    return answer


class Prp(DistributedFunction[list[int], dict[str, Any]]):
    """The exponents e from `first` to `last` for which 2^e - 1 (k = 0) or k 2^e + 1 (k odd, below 2^e) is prime.

    For k = 0 they are probable primes to base 3; for other k they are proved, by Proth's theorem.
    """

    first: int
    last: int
    k: int
    title = "Mersenne and Proth primes"
    shown_as = "spectrum"
    needs = ("gmpy2",)
    limits = Limits(cpu_s=30 * 86400, wall_s=300 * 86400)

    def __init__(self, last: int = 1300, first: int = 2, k: int = 0) -> None:
        super().__init__(last=int(last), first=int(first), k=int(k), result=[])
        if self.k < 0 or (self.k and self.k % 2 == 0):
            raise UsageError("k must be odd and above 0, or 0 for Mersenne numbers")

    def units(self) -> Iterator[Unit[list[int]]]:
        """One unit for each number without small factors, paid by its length."""
        for e in range(max(self.first, self.k.bit_length(), 2), self.last + 1):
            n = number(self.k, e)
            if (self.k or is_prime(e)) and gcd(n, SMALL) in (1, n):
                seconds = 0.16 * (n.bit_length() / 10_000) ** 2.6  # measured on the reference core
                limits = Limits(cpu_s=60 + 30 * seconds, wall_s=600 + 300 * seconds)
                yield Unit([self.k, e], credit=seconds / 60, deadline_s=600 + 60 * seconds, limits=limits)

    @staticmethod
    def compute(args: list[int]) -> dict[str, Any]:
        """Test one number; the residue is what two computers must agree on, also when it is no prime."""
        k, e = args
        n = number(k, e)
        if k == 0:  # Fermat: 3^(n - 1) = 1 for a prime n, and n + 1 = 2^e
            found, hoped = chain(3, e, n), 9 % n
        else:  # Proth: n is prime if and only if a^((n - 1) / 2) = -1, for an a that is not a square
            found, hoped = chain(int(powmod(witness(n), k, n)), e - 1, n), n - 1
        return {"prime": found == hoped, "residue": found % 2**64}

    @staticmethod
    def verify(args: list[int], value: Any) -> bool | None:
        """A prime of Proth's form proves itself, for as long as the proof is cheap; for the rest, ask others too."""
        if type(value) is not dict or value.keys() != {"prime", "residue"}:
            return False
        prime, residue = value["prime"], value["residue"]
        if type(prime) is not bool or type(residue) is not int or not 0 <= residue < 2**64:
            return False
        n = number(*args)
        if not prime or args[0] == 0 or n.bit_length() > CHEAP:
            return None
        return bool(powmod(witness(n), n // 2, n) == n - 1 and residue == (n - 1) % 2**64)

    def process_result(self, unit: Unit[list[int]], value: dict[str, Any]) -> None:
        """Keep the exponents of primes, in their order; the larger ones are discoveries."""
        k, e = unit.args
        if value["prime"]:
            self.result = sorted([*self.result, e])
        if value["prime"] and e >= NEWS:
            n = number(k, e)
            if k:
                name, test = f"{k}*2^{e} + 1 is prime", "Proth's theorem"
                check = f"n = {k}*2**{e} + 1; print(pow({witness(n)}, n // 2, n) == n - 1)"
            else:
                name, test = f"2^{e} - 1 is a probable prime", "Fermat's test to base 3; the check proves it"
                check = f"s, n = 4, 2**{e} - 1; [s := (s * s - 2) % n for _ in range({e - 2})]; print(s == 0)"
            self.discover(unit, title=name, facts={"digits": len(str(mpz(n))), "test": test}, check=check)
