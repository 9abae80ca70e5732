"""The number field of a polynomial, exactly: its discriminant, and whether two polynomials have the same one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from flint import fmpq_mat, fmpz, fmpz_mat, fmpz_poly, nmod_mat


def polynomial(prefix: Sequence[int]) -> fmpz_poly:
    """Return the monic polynomial with these coefficients below its first, highest first."""
    return fmpz_poly([*reversed(prefix), 1])


def real_field(f: fmpz_poly, most: int) -> int:
    """Return the discriminant of the field of f if that is a totally real field and it is at most `most`, else 0."""
    discriminant = int(f.discriminant())
    if discriminant <= 0:
        return 0
    squares = [(int(p), int(e) // 2) for p, e in fmpz(discriminant).factor() if e > 1]
    least = discriminant
    for p, e in squares:
        least //= p ** (2 * e)
    if least > most or len(f.factor()[1]) != 1 or not _all_real(f):
        return 0
    for p, _ in squares:
        discriminant //= index_at(f, p) ** 2
    return discriminant if discriminant <= most else 0


def index_at(f: fmpz_poly, p: int) -> int:
    """Return the power of the prime p in the index of Z[x]/f in its field's ring of integers.

    As long as there is more, the order is replaced by the ring of multipliers of its p-radical. Source: the Round 2
    algorithm of Pohst and Zassenhaus (Cohen, GTM 138, 6.1.8).
    """
    n, q = f.degree(), p
    while q < n:
        q *= p
    powers = [fmpq_mat(_companion(f) ** i) for i in range(n)]
    basis, index = fmpq_mat(_identity(n)), 1
    while True:
        back = basis.inv()
        times = [
            (basis * sum((powers[j] * basis[i, j] for j in range(n)), 0 * basis) * back).numer_denom()[0]
            for i in range(n)
        ]
        one = nmod_mat(1, n, [int(back[0, j].p) for j in range(n)], p)
        radical = _killed([(one * nmod_mat(m, p) ** q).entries() for m in times], p)
        inward = fmpq_mat(radical).inv()
        grown = _killed([(fmpq_mat(radical * m) * inward).numer_denom()[0].entries() for m in times], p)
        gained = p**n // int(grown.det())
        if gained == 1:
            return index
        index *= gained
        basis = fmpq_mat(grown) * basis / p


def same_field(f: fmpz_poly, g: fmpz_poly) -> bool:
    """Say whether two irreducible polynomials of one degree n have isomorphic fields.

    With roots a of f and b of g, all a + k b are the roots of one polynomial of degree n^2. When no two of them are
    equal, its factors have the degrees of the fields Q(a, b); one of these is n just if that b lies in Q(a).
    """
    n = f.degree()
    one = _identity(n)
    for k in count(1):
        sums = (_product(_companion(f), one) + k * _product(one, _companion(g))).charpoly()
        if sums.discriminant() != 0:
            return any(factor.degree() == n for factor, _ in sums.factor()[1])
    raise AssertionError("only finitely many k give equal sums")


def _all_real(f: fmpz_poly) -> bool:
    """Say whether all roots are real: flint encloses each root, a real one by an interval of real numbers."""
    roots: Any = f.complex_roots()
    return all(root.imag == 0 for root, _ in roots)


def _killed(rows: Sequence[Sequence[object]], p: int) -> fmpz_mat:
    """Return a basis of all integer vectors y with y A = 0 modulo p, A being the matrix of these rows."""
    n = len(rows)
    matrix = nmod_mat(n, len(rows[0]), [int(str(x)) for row in rows for x in row], p)
    vectors, rank = matrix.transpose().nullspace()
    lifted = [[int(vectors[i, j]) for i in range(n)] for j in range(rank)]
    multiples = [[p * int(i == j) for j in range(n)] for i in range(n)]
    return fmpz_mat(fmpz_mat(lifted + multiples).hnf().tolist()[:n])


def _identity(n: int) -> fmpz_mat:
    return fmpz_mat(n, n, [int(i == j) for i in range(n) for j in range(n)])


def _companion(f: fmpz_poly) -> fmpz_mat:
    """Return the matrix of multiplying by x in Z[x]/f; row i is x^(i+1)."""
    n = f.degree()
    return fmpz_mat([[int(j == i + 1) for j in range(n)] for i in range(n - 1)] + [[-int(f[j]) for j in range(n)]])


def _product(a: fmpz_mat, b: fmpz_mat) -> fmpz_mat:
    """Return the Kronecker product of two matrices of one size."""
    n = a.nrows()
    return fmpz_mat(n * n, n * n, [a[i // n, j // n] * b[i % n, j % n] for i in range(n * n) for j in range(n * n)])
