"""The folder that boxes work in."""

from __future__ import annotations

from pathlib import Path

from dsage.sandbox.space import working_space


def test_it_is_removed_at_the_end_and_also_after_a_kill(tmp_path: Path) -> None:
    place = tmp_path / "work"
    with working_space(place) as killed:
        (killed / "left").write_text("behind")
        with working_space(place) as space:
            assert list(space.iterdir()) == []
            assert space == killed or not killed.exists()
        assert not space.exists()
        assert not place.exists()
