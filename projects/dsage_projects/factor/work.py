"""What leaves the driver: computing a unit on a volunteer's computer, and judging what came back.

An "ecm" unit is a run of curves on one composite n: {"kind": "ecm", "n", "b1", "sigma", "curves"} stands for the
sigmas sigma, sigma + 1, ... Its answer is {"residues": [one per curve that ended without a factor], "factor": f or 0,
"curve": how many those are}; it stops at the first factor. A factor proves itself. Having found nothing does
not, so two answers are compared by their residues; a factor is an extra which the partner need not have, because
stage 2 differs between programs.

A "minus" unit is {"kind": "minus", "n", "b1"}: Pollard's p-1. Its answer is {"residue", "factor": f or 0}.

A "flint" unit is {"kind": "flint", "n"}: a whole factorisation, {"factors": [[prime, multiplicity], ...]}, which
proves itself too.

Everything that judges an answer takes whatever a hostile client may send, and never raises.
"""

from __future__ import annotations

import time
from typing import Any, Final

import flint

from dsage import checkpoint, progress, restored, running
from dsage_projects.factor import curve, minus, program, sieve
from dsage_projects.factor.curve import to_bytes

CHECKPOINT_S: Final = 1.0
"""Seconds of work that a stopped unit may lose (or one curve, if that takes longer)."""
HAS_PICTURES: Final = hasattr(running, "MAX_SHOWS")
"""Clients from before pictures take nothing but the share that is done."""


def compute(args: dict[str, Any]) -> dict[str, Any]:
    """Do a unit's work."""
    if args["kind"] == "flint":
        return {"factors": sieve.factor(args["n"])}
    if args["kind"] == "minus":
        return _compute_minus(args)
    return _compute_curves(args)


def verify(args: dict[str, Any], value: Any) -> bool | None:
    """True: the factors are right. False: a lie or not an answer. None: no factor, so ask somebody else too."""
    if args["kind"] == "flint":
        return _is_factorisation(args, value) and all(flint.fmpz(p).is_prime() for p, _ in value["factors"])
    if not (_is_minus(args, value) if args["kind"] == "minus" else _is_answer(args, value)):
        return False
    return True if value["factor"] else None


def agree(args: dict[str, Any], a: Any, b: Any) -> bool:
    """Say whether two answers tell of the same work: the residues are the same as far as both went."""
    if args["kind"] == "flint":
        both = _is_factorisation(args, a) and _is_factorisation(args, b)
        return both and sorted(map(tuple, a["factors"])) == sorted(map(tuple, b["factors"]))
    if args["kind"] == "minus":
        return bool(_is_minus(args, a) and _is_minus(args, b) and a == b)
    if not (_is_answer(args, a) and _is_answer(args, b)):
        return False
    shared = min(a["curve"], b["curve"])
    return bool(a["residues"][:shared] == b["residues"][:shared])


def partial(args: dict[str, Any], value: Any, seed: int) -> float:
    """Return the share of curves done in a stopped unit's last checkpoint, if one picked by `seed` is right."""
    if args["kind"] != "ecm" or not _has_residues(args, value) or not value["residues"]:
        return 0.0
    done = len(value["residues"])
    picked = seed % done
    right = curve.residue(args["n"], args["b1"], args["sigma"] + picked)
    return done / args["curves"] if value["residues"][picked] == right else 0.0


def _compute_curves(args: dict[str, Any]) -> dict[str, Any]:
    n, first, count = args["n"], args["sigma"], args["curves"]
    state = restored()
    residues: list[bytes] = state["residues"] if _has_residues(args, state) else []
    kept = time.monotonic()
    for outcome in program.outcomes(n, args["b1"], range(first + len(residues), first + count)):
        if outcome.factor:
            return {"residues": residues, "factor": outcome.factor, "curve": len(residues)}
        residues.append(outcome.residue)
        if time.monotonic() - kept >= CHECKPOINT_S:
            checkpoint({"residues": residues})
            _tell(args, len(residues) / count, curve=len(residues) + 1, curves=count)
            kept = time.monotonic()
    return {"residues": residues, "factor": 0, "curve": count}


def _compute_minus(args: dict[str, Any]) -> dict[str, Any]:
    n, b1 = args["n"], args["b1"]
    state = restored()
    start, x = state["minus"] if type(state) is dict and "minus" in state else (0, minus.BASE)
    kept = time.monotonic()
    for done, power in minus.powers(n, b1, x, start):
        x = power
        if time.monotonic() - kept >= CHECKPOINT_S:
            checkpoint({"minus": [done, x]})
            _tell(args, done / b1)
            kept = time.monotonic()
    return {"residue": to_bytes(x, n), "factor": minus.factor(n, x)}


def _tell(args: dict[str, Any], share: float, **shows: float) -> None:
    """Say how far a unit is, and what its picture is to show."""
    facts = {"method": "p-1" if args["kind"] == "minus" else "ecm", "b1": args["b1"], "bits": args["n"].bit_length()}
    progress(share, **(facts | shows if HAS_PICTURES else {}))


def _is_minus(args: dict[str, Any], value: Any) -> bool:
    if type(value) is not dict or value.keys() != {"residue", "factor"} or type(value["factor"]) is not int:
        return False
    n, factor, residue = args["n"], value["factor"], value["residue"]
    right = type(residue) is bytes and len(residue) == (n.bit_length() + 7) // 8 and int.from_bytes(residue, "big") < n
    return bool(right and (factor == 0 or (1 < factor < n and n % factor == 0)))


def _has_residues(args: dict[str, Any], value: Any) -> bool:
    """Say whether `value` holds a list of no more residues than the unit has curves, each one possible."""
    if type(value) is not dict or type(residues := value.get("residues")) is not list:
        return False
    n = args["n"]
    size = (n.bit_length() + 7) // 8
    return len(residues) <= args["curves"] and all(
        type(r) is bytes and len(r) == size and int.from_bytes(r, "big") < n for r in residues
    )


def _is_answer(args: dict[str, Any], value: Any) -> bool:
    if not _has_residues(args, value) or value.keys() != {"residues", "factor", "curve"}:
        return False
    factor, done = value["factor"], len(value["residues"])
    if type(factor) is not int or type(value["curve"]) is not int or value["curve"] != done:
        return False
    if factor == 0:
        return bool(done == args["curves"])
    return bool(done < args["curves"] and 1 < factor < args["n"] and args["n"] % factor == 0)


def _is_factorisation(args: dict[str, Any], value: Any) -> bool:
    """Say whether `value` lists numbers above 1 with multiplicities whose product is n."""
    if type(value) is not dict or value.keys() != {"factors"} or type(value["factors"]) is not list:
        return False
    rest, bits = args["n"], args["n"].bit_length()
    for pair in value["factors"]:
        if type(pair) is not list or len(pair) != 2 or any(type(number) is not int for number in pair):
            return False
        p, e = pair
        if not (1 < p <= rest and e >= 1 and e * (p.bit_length() - 1) < bits) or rest % p**e:
            return False
        rest //= p**e
    return bool(rest == 1)
