"""Tags: what is one, and when two are the same."""

from __future__ import annotations

import pytest

from dsage.errors import UsageError
from dsage.labels import MAX_LABELS, labels


def test_tags_are_compared_in_small_letters_and_each_is_there_once() -> None:
    assert labels([" GPU", "lab-2", "gpu"]) == ("gpu", "lab-2")


@pytest.mark.parametrize("text", ["", "two words", "-x", "a" * 65, "é", "a;b"])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a tag"):
        labels([text])


def test_too_many_tags_are_refused() -> None:
    with pytest.raises(UsageError, match="at most"):
        labels([f"t{n}" for n in range(MAX_LABELS + 1)])
