"""The elliptic curve method with the GMP-ECM program, which is three times as fast as `curve` with gmpy2.

One process runs all curves of a unit. GMP-ECM has no option for a list of sigmas, but it resumes residues from a file:
a line that says "this point, done up to B1 = 1" starts a curve from its beginning, so a file with one start point per
sigma is such a list. It saves each residue when a curve ends, which is where the answers come from.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from dsage_projects.factor import curve
from dsage_projects.factor.curve import Curve, FactorFound, start, to_bytes

PLACES: Final = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
"""Where the program is looked for besides next to Python: the sandbox has no PATH."""
MAX_MEMORY_MIB: Final = 700
"""GMP-ECM's stage 2 takes what it likes otherwise; a unit may use 1 GiB."""


class ProgramFailed(Exception):
    """The program is not GMP-ECM, broke off, or found something that it cannot tell apart; use `curve` instead."""


def find() -> str | None:
    """Return the path of a program called ecm, or None."""
    return shutil.which("ecm", path=":".join((*PLACES, str(Path(sys.executable).parent))))


def outcomes(n: int, b1: int, sigmas: Sequence[int]) -> Iterator[Curve]:
    """Run curves with GMP-ECM where it is and as long as it works, else with gmpy2."""
    done = 0
    ecm = find() if sigmas else None
    if ecm is not None:
        try:
            for outcome in run(ecm, n, b1, sigmas):
                yield outcome
                done += 1
            return
        except ProgramFailed:
            pass
    yield from curve.run(n, b1, sigmas[done:])


def run(program: str, n: int, b1: int, sigmas: Sequence[int]) -> Generator[Curve]:
    """Yield the outcome of each curve in turn, and stop after the first factor. Raises ProgramFailed."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        points, saved = Path(folder, "points"), Path(folder, "saved")
        try:
            points.write_text("".join(_start_line(n, sigma) for sigma in sigmas), encoding="ascii")
            saved.touch()
            process = subprocess.Popen(
                [program, "-maxmem", str(MAX_MEMORY_MIB), "-resume", points, "-savea", saved, str(b1)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="ascii",
                errors="replace",
                env={},
            )
        except (OSError, FactorFound) as error:
            raise ProgramFailed(str(error)) from error
        with process, saved.open(encoding="ascii", errors="replace") as residues:
            assert process.stdout is not None
            try:
                yield from _outcomes(process.stdout, residues, n, b1, sigmas)
            finally:
                process.kill()


def _outcomes(output: IO[str], residues: IO[str], n: int, b1: int, sigmas: Sequence[int]) -> Iterator[Curve]:
    """Follow the program's words. When it begins a curve, it has saved the residue of the one before."""
    ended = -1
    for line in output:
        if line.startswith("Using B1="):
            if ended >= 0:
                yield Curve(_residue(residues.readline(), n, b1, sigmas[ended]), 0)
            ended += 1
        elif "Factor found in step" in line:
            yield Curve(to_bytes(0, n), _factor(line, n))
            return
    if ended != len(sigmas) - 1:
        raise ProgramFailed(f"it ended after {ended} of {len(sigmas)} curves")
    yield Curve(_residue(residues.readline(), n, b1, sigmas[ended]), 0)


def _factor(line: str, n: int) -> int:
    text = line.rpartition(":")[2].strip()
    factor = int(text) if text.isdecimal() else 0
    if not 1 < factor < n or n % factor:
        raise ProgramFailed(f"it reports {text[:100]!r}: all factors at once, or none")
    return factor


def _residue(line: str, n: int, b1: int, sigma: int) -> bytes:
    """Return the residue of one saved line, which must be of exactly this curve."""
    fields = dict(field.strip().partition("=")[::2] for field in line.split(";"))
    expected = {"METHOD": "ECM", "PARAM": "0", "SIGMA": str(sigma), "B1": str(b1), "N": str(n)}
    if not expected.items() <= fields.items():
        raise ProgramFailed(f"a saved line is not of sigma {sigma}")
    try:
        return to_bytes(int(fields["X"], 16), n)
    except (KeyError, ValueError, OverflowError) as error:
        raise ProgramFailed(f"a saved line has no residue: {error}") from error


def _start_line(n: int, sigma: int) -> str:
    x = int(start(n, sigma)[0])
    checksum = sigma * n * x % 4294967291
    return f"METHOD=ECM; PARAM=0; SIGMA={sigma}; B1=1; N={n}; X={x:#x}; CHECKSUM={checksum};\n"
