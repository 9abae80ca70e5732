"""Percentiles as people read them: a value that was measured, not one in between."""

from __future__ import annotations

import pytest
from fleet.tally import percentile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0.0), ([3.0], 0.99, 3.0), ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0), ([1.0, 2.0, 3.0], 1.0, 3.0),
     ([float(n) for n in range(1, 101)], 0.99, 99.0)],
)  # fmt: skip
def test_percentile(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected
