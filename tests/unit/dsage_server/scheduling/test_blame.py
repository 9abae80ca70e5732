"""Whose fault an error is."""

from __future__ import annotations

from dsage_server.scheduling.blame import EACH_S, MOST, Blame


def test_errors_of_a_run_that_nobody_could_answer_are_the_runs() -> None:
    blame = Blame()
    assert not any(blame.failed(1, host, 0.0) for host in (7, 8, 7, 8))
    blame.over(1)
    assert not blame.answered(1)


def test_they_count_when_somebody_answers_it_after_all() -> None:
    blame = Blame()
    assert not blame.failed(1, 7, 0.0)
    assert not blame.failed(1, 7, 1.0)
    assert not blame.failed(2, 8, 1.0)
    assert blame.answered(1) == {7: 2}
    assert not blame.answered(1)
    assert blame.failed(1, 7, 2.0)
    assert not blame.failed(2, 7, 2.0)


def test_a_computer_has_only_so_many_put_off_and_more_with_time() -> None:
    blame = Blame()
    assert [blame.failed(run, 7, 0.0) for run in range(MOST + 2)] == [False] * MOST + [True, True]
    assert not blame.failed(1, 8, 0.0)
    assert not blame.failed(1, 7, EACH_S)
    assert blame.failed(1, 7, EACH_S)
    assert blame.failed(1, 7, 0.0), "a clock that is set back forgives nothing"
