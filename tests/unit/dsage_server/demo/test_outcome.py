"""What a demo came to, as a document and in words."""

from __future__ import annotations

from dataclasses import replace

from dsage_server.demo.outcome import Liar, Outcome, closing
from dsage_server.demo.prose import wrapped

DONE = Outcome(
    number="84",
    n=84,
    factors=[[2, 2], [3, 1], [7, 1]],
    unfinished=[],
    seconds=1.23456,
    units=9,
    called_off=7,
    replicas=1,
    curves=3,
    credit={"calm-ibis-1": 0.5, "sly-fox-2": 0.0},
    found_by={7: "calm-ibis-1"},
)


def test_the_document_of_a_complete_answer_has_just_the_fields_of_its_schema() -> None:
    assert DONE.document() == {
        "number": "84",
        "n": "84",
        "factors": {"2": 2, "3": 1, "7": 1},
        "seconds": 1.235,
        "units": 9,
        "replicas": 1,
        "credit": {"calm-ibis-1": 0.5, "sly-fox-2": 0.0},
        "found_by": {"7": "calm-ibis-1"},
    }
    assert DONE.exit_status == 0


def test_the_words_name_each_finder_once_and_everybodys_credit() -> None:
    text = str(closing(DONE))
    assert "The 3 prime factors of 84" in text
    assert "algebra and small primes\n    2^2 · 3\n" in text
    assert "found by calm-ibis-1\n    7\n" in text
    assert "1.2 s in all: 3 curves, 2 units of work done, 7 units called off, 1 copy of a unit sent out." in text
    assert "called off" not in str(closing(replace(DONE, called_off=0)))
    assert text.index("calm-ibis-1  0.500") < text.index("sly-fox-2    0.000")
    assert text.count("\n  dsage ") == 3


def test_minus_one_is_no_prime() -> None:
    minus = replace(DONE, number="-1", n=-1, factors=[[-1, 1]], units=0, credit={}, found_by={})
    assert "proved" not in str(closing(minus))
    assert "It is proved prime." in str(closing(replace(minus, number="-5", n=-5, factors=[[-1, 1], [5, 1]])))


def test_what_is_unfinished_is_labelled_everywhere() -> None:
    part = replace(DONE, factors=[[2, 2]], unfinished=[[21, 1]], budget_s=5.0, found_by={})
    assert part.document()["unfinished"] == {"21": 1}
    assert part.exit_status == 8
    text = str(closing(part))
    assert "The one prime factor of 84 known so far" in text
    assert "UNFINISHED, a cofactor of 2 digits\n    21\n" in text
    assert "The budget of 5 s is spent" in text
    assert "No prime factor of 84 yet" in str(closing(replace(part, factors=[], unfinished=[[84, 1]])))


def test_the_liar_is_named_with_what_became_of_the_lies() -> None:
    caught = replace(DONE, liar=Liar(pseudonym="sly-fox-2", answers=3, refused=2))
    assert caught.document()["refused"] == {"sly-fox-2": 2}
    assert "sly-fox-2 lied 3 times: 2 answers refused (the others" in str(closing(caught))
    once = replace(DONE, liar=Liar(pseudonym="sly-fox-2", answers=1, refused=1))
    assert "sly-fox-2 lied once: 1 answer refused. Its credit is 0." in str(closing(once))


def test_prose_wraps_between_words_and_numbers_stay_whole() -> None:
    line = "  label        one two three " + "9" * 40
    assert wrapped(line, 0) == line
    lines = wrapped(line, 24).split("\n")
    assert lines[0] == "  label        one two"
    assert lines[1] == " " * 15 + "three"
    assert lines[2].strip() == "9" * 40
