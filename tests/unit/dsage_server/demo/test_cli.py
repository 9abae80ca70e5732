"""Numbers that the demo answers or refuses at once: nothing is started for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from dsage.cli.main import main


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*words: Any, **options: Any) -> NoReturn:
        raise AssertionError(f"a program was started: {words}")

    monkeypatch.setattr("dsage_server.demo.children.Child.start", refuse)
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path / "home"))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["demo", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize(
    ("number", "factors"),
    [
        ("1", {}),
        ("-1", {"-1": 1}),
        ("7", {"7": 1}),
        ("-30", {"-1": 1, "2": 1, "3": 1, "5": 1}),
        ("2^127-1", {str(2**127 - 1): 1}),
        ("3^200", {"3": 200}),
        ("(2^61-1)^4", {str(2**61 - 1): 4}),
        ("-(2^10)", {"-1": 1, "2": 10}),
        ("2**9999", {"2": 9999}),
        (" 6 * 7 ", {"2": 1, "3": 1, "7": 1}),
        ("0 + 10/5", {"2": 1}),
    ],
)
def test_a_number_that_needs_no_volunteer_is_answered_at_once(
    capsys: pytest.CaptureFixture[str], number: str, factors: dict[str, int]
) -> None:
    status, out, err = run(capsys, "--json", "--number", number)
    assert status == 0
    assert err == ""
    data = json.loads(out)["data"]
    assert data["factors"] == factors
    assert (data["number"], data["units"], data["replicas"], data["credit"]) == (number, 0, 0, {})


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        ("0", "0 has no factorisation"),
        ("5-5", "0 has no factorisation"),
        ("10^9999+1", "at most 1,000 are taken on"),
        ("1" * 10_001, "more than 10,000 digits"),
        ("9^9^9^9", "more than 10,000 digits"),
        ("(((7^99)^99)^99)", "more than 10,000 digits"),
        ("abc", "is not arithmetic"),
        ("n+1", "is not arithmetic"),
        ("__import__('os').system('true')", "is not arithmetic"),
        ("pow(2,10)", "is not arithmetic"),
        ("1.5", "is not arithmetic"),
        ("1e5", "is not arithmetic"),
        ("0x10", "is not arithmetic"),
        ("²", "is not arithmetic"),
        ("nan", "is not arithmetic"),
        ("", "is empty"),
        ("   ", "is empty"),
        ("7/2", "remainder"),
        ("1/0", "divides by zero"),
        ("2^-1", "negative exponent"),
        ("(2", "parenthesis"),
        ("2 3", "should end"),
        ("2+", "missing"),
        ("(" * 5000 + "1" + ")" * 5000, "nested"),
    ],
)
def test_what_cannot_be_taken_on_is_one_sentence(
    capsys: pytest.CaptureFixture[str], number: str, sentence: str
) -> None:
    status, out, err = run(capsys, "--number", number)
    assert status == 2
    assert out == ""
    assert sentence in err.splitlines()[0]
    assert len(err.splitlines()) == 2
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--volunteers", "0"], "volunteers"),
        (["--volunteers", "33"], "volunteers"),
        (["--volunteers", "two"], "volunteers"),
        (["--budget", "0"], "budget"),
        (["--budget", "-1"], "budget"),
        (["--budget", "soon"], "budget"),
        (["--budget", "nan"], "budget"),
        (["--number"], "number"),
        (["15"], "argument"),
    ],
)
def test_options_out_of_range_are_one_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert sentence in err


def test_a_refusal_is_a_problem_document_under_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "--json", "--number", "0")
    assert (status, out) == (2, "")
    assert json.loads(err)["code"] == "usage"


def test_kept_folders_are_never_mixed_with_other_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    for taken in (tmp_path, tmp_path / "letter"):
        status, _, err = run(capsys, "--keep", str(taken), "--number", "15")
        assert status == 2
        assert "not an empty folder" in err
    assert run(capsys, "--keep", str(tmp_path / "new"), "--number", "15")[0] == 0
    assert not (tmp_path / "new").exists()


def test_people_read_primes_and_why_nothing_was_started(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--number", "2*3^5*10007^2")
    assert "The 3 prime factors of 2*3^5*10007^2" in out
    assert "2 · 3^5 · 10007^2" in out
    assert "No volunteer was needed, so nothing was started." in out
    _, out, _ = run(capsys, "--number", "2^127-1")
    assert "2^127-1 is prime" in out
    _, out, _ = run(capsys, "--number", "1")
    assert "1 has no prime factors" in out
    assert "proved" not in out
