"""The same curves with GMP-ECM and with gmpy2, to the same bits; and what a program that misbehaves leads to."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import gmpy2
import pytest

from dsage_projects.factor import curve, program, work
from dsage_projects.factor.curve import Curve
from dsage_projects.factor.misses import MISSES, PHI_300_11, quiet_sigma

P13 = 2248313994601
C61 = int(gmpy2.next_prime(10**30)) * int(gmpy2.next_prime(3 * 10**30))


@pytest.mark.parametrize(
    ("b1", "sigma"),
    [
        *((b1, sigma) for b1 in (50, 2000, 2048, 2187, 11_000) for sigma in (6, 1001, 2**32 + 391, 2**60 + 7)),
        (50_000, 1001),
    ],
)
@pytest.mark.parametrize("n", [PHI_300_11, C61, 2**521 - 1], ids=["C84", "C61", "M521"])
def test_residues_are_gmp_ecms_bit_for_bit(ecm: str, n: int, b1: int, sigma: int) -> None:
    saved = Path("saved")
    subprocess.run(
        [ecm, "-q", "-param", "0", "-sigma", f"0:{sigma}", "-save", saved, str(b1), "1"],
        input=str(n),
        text=True,
        capture_output=True,
        check=False,
    )
    x = int(saved.read_text().partition(" X=")[2].partition(";")[0], 16)
    assert curve.residue(n, b1, sigma) == curve.to_bytes(x, n)
    assert next(program.run(ecm, n, b1, [sigma])).residue == curve.to_bytes(x, n)


def test_many_sigmas_in_one_process_are_the_single_ones(ecm: str) -> None:
    sigmas = range(1001, 1013)
    assert list(program.run(ecm, PHI_300_11, 2000, sigmas)) == list(curve.run(PHI_300_11, 2000, sigmas))


@pytest.mark.parametrize("b1", [200, 2000])
def test_both_find_factors(ecm: str, b1: int) -> None:
    n = P13 * C61
    for outcomes in (program.run(ecm, n, b1, range(100, 900)), curve.run(n, b1, range(100, 900))):
        hit = next(outcome for outcome in outcomes if outcome.factor)
        assert 1 < hit.factor < n
        assert n % hit.factor == 0


def test_stage_one_alone_finds_what_is_smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve, "stage2", lambda *_: 1)
    n = 1000003 * C61
    assert {outcome.factor for outcome in curve.run(n, 11_000, range(100, 110))} == {0, 1000003}


def test_stage_two_finds_more_than_stage_one() -> None:
    p = 10000000000037
    n = p * C61
    found = [
        s for s, outcome in zip(range(100, 160), curve.run(n, 500, range(100, 160)), strict=True) if outcome.factor
    ]
    stage_one = [s for s in range(100, 160) if math.gcd(p, _z_divisor(n, 500, s)) > 1]
    assert len(found) > len(stage_one)


def _z_divisor(n: int, b1: int, sigma: int) -> int:
    try:
        curve.stage1(n, b1, sigma)
    except curve.FactorFound as found:
        return found.factor
    return 1


def test_a_point_neutral_modulo_all_of_n_has_the_residue_zero(ecm: str) -> None:
    n = 1000003 * 1000033 * 1000037 * 1000039
    sigma = next(s for s in range(1000, 2000) if _z_divisor(n, 20_000, s) == n)
    assert curve.residue(n, 20_000, sigma) == bytes(10)
    assert next(curve.run(n, 20_000, [sigma])) == Curve(bytes(10), 0)
    with pytest.raises(program.ProgramFailed, match="all factors at once"):
        next(program.run(ecm, n, 20_000, [sigma]))


def test_a_sigma_without_a_curve_shows_a_factor() -> None:
    with pytest.raises(curve.FactorFound) as found:
        curve.start(P13 * C61, P13)
    assert found.value.factor == P13
    assert next(curve.run(P13 * C61, 50, [P13])).factor == P13


def test_the_benchmarks_curves_miss(ecm: str) -> None:
    assert quiet_sigma(PHI_300_11, 2000, 20, 1001) == 1001
    sigma = int(MISSES["sigma"])
    assert not any(outcome.factor for outcome in curve.run(PHI_300_11, 11_000, range(sigma, sigma + 20)))


def test_a_quiet_range_begins_behind_the_hits() -> None:
    n = P13 * C61
    first = quiet_sigma(n, 500, 40, 100)
    assert first > 100
    hits = [
        s
        for s, outcome in zip(range(100, first + 40), curve.run(n, 500, range(100, first + 40)), strict=True)
        if outcome.factor
    ]
    assert all(hit < first for hit in hits)


@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        "exit 0",
        "kill -9 $$",
        "echo hello",
        "echo 'Using B1=50'",
        "echo '********** Factor found in step 1: 6'",
        "echo '********** Factor found in step 1: x'",
        "echo '********** Factor found in step 1: -1'",
        'echo Using B1=50; echo "METHOD=ECM; PARAM=0; SIGMA=7; B1=50; N=15; X=0x1;" >> "$6"',
        'echo Using B1=50; echo "garbage" >> "$6"',
        "head -c 100000 /dev/urandom",
    ],
)
def test_a_program_that_misbehaves_is_replaced_by_gmpy2(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "ecm"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    with pytest.raises(program.ProgramFailed):
        list(program.run(str(fake), C61, 50, range(100, 104)))
    monkeypatch.setattr(program, "find", lambda: str(fake))
    args = {"kind": "ecm", "n": C61, "b1": 50, "sigma": 100, "curves": 4}
    right = [outcome.residue for outcome in curve.run(C61, 50, range(100, 104))]
    assert work.compute(args)["residues"] == right


def test_a_program_that_breaks_off_is_followed_by_gmpy2(
    ecm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "ecm"
    fake.write_text(f'#!/bin/sh\nhead -n 2 "$4" > two\n{ecm} $1 $2 $3 two $5 "$6" $7\nexit 137\n')
    fake.chmod(0o755)
    monkeypatch.setattr(program, "find", lambda: str(fake))
    args = {"kind": "ecm", "n": C61, "b1": 50, "sigma": 100, "curves": 6}
    right = [outcome.residue for outcome in curve.run(C61, 50, range(100, 106))]
    assert work.compute(args) == {"residues": right, "factor": 0, "curve": 6}


def test_nothing_is_left_behind(ecm: str, tmp_path: Path) -> None:
    outcomes = program.run(ecm, PHI_300_11, 2000, range(1001, 1050))
    next(outcomes)
    outcomes.close()
    assert list(tmp_path.iterdir()) == []


def test_no_program_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "find", lambda: None)
    args = {"kind": "ecm", "n": P13 * C61, "b1": 2000, "sigma": 100, "curves": 100}
    assert work.verify(args, work.compute(args)) is True


def test_a_program_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "find", lambda: "/nowhere/ecm")
    args = {"kind": "ecm", "n": C61, "b1": 50, "sigma": 100, "curves": 2}
    assert work.verify(args, work.compute(args)) is None
