"""Factor an integer on volunteers' computers: `dsage submit factor -p n=11^150+1`.

The project that DSage's ancestor showed in 2007, and the one to read first. In the order in which a number meets them:

* `expression` reads what was typed and keeps its structure;
* `algebra` and `aurifeuille` split it for nothing: 11^150+1 has 157 digits, its hardest part 84;
* `groundwork` divides out small primes and proves primes, on the driver's machine;
* `ladder` decides what to try on what is left, and how much of it makes a unit;
* `work` does a unit on a volunteer's computer and judges answers: `program` runs curves with GMP-ECM, `curve` the same
  curves with gmpy2, to the same bits; `minus` is Pollard's p-1, `sieve` a whole factorisation on one computer;
* `function` is the driver that ties them together: the `DistributedFunction`.
"""

from dsage_projects.factor.function import Factor

FUNCTION = Factor
"""What `dsage submit factor` submits."""

__all__ = ["FUNCTION", "Factor"]
