"""Every project of the gallery can be packed, says what it is, and has a page that the index knows."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dsage import DistributedFunction
from dsage.bundle import manifest, pack

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "docs" / "gallery"
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["dsage.projects"]


@pytest.mark.parametrize("name", DECLARED)
def test_a_project_of_the_gallery_is_whole(name: str) -> None:
    packed = pack(name)
    assert packed.entry.startswith(f"dsage_projects.{name}")
    assert packed.function.title, "people read it"
    assert packed.function.__doc__
    assert packed.function.__doc__ != DistributedFunction.__doc__
    assert manifest(packed, "lab").bundle_bytes < 200_000
    assert f"* `{name}`: " in (ROOT / "projects/dsage_projects/__init__.py").read_text()
    heading = (PAGES / f"{name}.md").read_text().splitlines()[0]
    assert heading.lower().replace(" ", "").startswith(f"#{name}:")
    assert f"[{name}]({name}.md)" in (PAGES / "README.md").read_text()


def test_each_page_is_of_a_project() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {*DECLARED, "README"}
