"""What people read: every language has all of it, and the compiled catalogues are those of the code."""

from __future__ import annotations

from pathlib import Path

import catalogues
import pytest
from catalogues import CLIENT, DOMAINS, SITE, Domain

REFRESH = "run .venv/bin/python tests/support/catalogues.py, translate what it names in the .po file, run it again"
EACH = [
    pytest.param(domain, language, id=f"{domain.name}-{language}") for domain in DOMAINS for language in domain.every
]
Texts = set[tuple[str, ...]]


@pytest.fixture(scope="module")
def every() -> dict[str, Texts]:
    """All texts of the code and the pages, by domain."""
    return {
        domain.name: {catalogues.texts(message) for message in catalogues.messages(domain.template())}
        for domain in DOMAINS
    }


def held_by(domain: Domain, path: Path) -> Texts:
    """Return the texts that a catalogue has."""
    return {catalogues.texts(message) for message in catalogues.messages(domain.written(path))}


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_the_template_holds_what_the_code_says(domain: Domain, every: dict[str, Texts]) -> None:
    assert held_by(domain, domain.template_file()) ^ every[domain.name] == set(), REFRESH


def test_the_code_the_pages_and_the_tables_are_read(every: dict[str, Texts]) -> None:
    assert {("Paused by you until {when}",), ("{n} minute", "{n} minutes")} <= every[CLIENT.name]
    assert {("%(time)s ago",), ("Skip to the content",), ("redundant",)} <= every[SITE.name]


@pytest.mark.parametrize(("domain", "language"), EACH)
def test_a_language_has_every_text(domain: Domain, language: str, every: dict[str, Texts]) -> None:
    path = domain.file_of(language)
    assert held_by(domain, path) ^ every[domain.name] == set(), REFRESH
    assert catalogues.untranslated(domain.written(path, language)) == [], REFRESH


@pytest.mark.parametrize(("domain", "language"), EACH)
def test_translations_keep_what_is_to_be_filled_in(domain: Domain, language: str) -> None:
    for message in catalogues.messages(domain.written(domain.file_of(language), language)):
        for text, form in zip(catalogues.texts(message), catalogues.forms(message), strict=True):
            assert sorted(catalogues.HELD.findall(form)) == sorted(catalogues.HELD.findall(text)), f"{text!r}: {form!r}"


@pytest.mark.parametrize(("domain", "language"), EACH)
def test_what_is_compiled_is_what_is_written(domain: Domain, language: str) -> None:
    written = catalogues.compiled(domain.written(domain.file_of(language), language))
    assert domain.file_of(language, "mo").read_bytes() == written, REFRESH


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_every_catalogue_is_of_a_language_that_is_known(domain: Domain) -> None:
    assert {path.name for path in domain.locales.iterdir() if path.is_dir()} == set(domain.every)
