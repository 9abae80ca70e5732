"""The catalogues of the client's words: what is in them, and a program that brings them up to date.

    .venv/bin/python tests/support/catalogues.py

collects the texts of the code and the pages into client.pot, adds new ones to each language, makes the pseudo-locale
and compiles all. It ends with 1 and names them if texts are left to be translated by a person.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from dsage_client.words import DOMAIN, LANGUAGES, LOCALES, PSEUDO, SOURCE

CODE: Final = LOCALES.parent
METHODS: Final = [("**.py", "python"), ("**.html", "jinja2")]
OPTIONS: Final = {"**.html": {"trimmed": "true", "silent": "false"}}
HEAD: Final = (
    "# The words of DSage's client. Made by tests/support/catalogues.py; translations are written into this file."
)
KEYWORDS: Final = {"_": None, "gettext": None, "n_": (1, 2), "ngettext": (1, 2)}
HELD: Final = re.compile(r"\{[^{}]*\}|%\([^)]*\)[a-z]|%%|<[^<>]*>|&[a-z]+;|https?://\S+|dsage://\S*|`[^`]*`")
"""What a translation keeps as it is: places for names, tags, addresses, commands."""
FOREIGN: Final = str.maketrans("aeiouycnszAEIOUYCNSZdghklrtw", "áéíóúýçñšžÁÉÍÓÚÝÇÑŠŽđğĥķļŕťŵ")


def template() -> Catalog:
    """Return all texts of the code and the pages, sorted."""
    catalogue = _empty(None)
    found = extract_from_dir(CODE, METHODS, OPTIONS, KEYWORDS)
    for path, _, message, comments, context in sorted(found, key=lambda each: (each[0], each[1])):
        catalogue.add(message, None, [(path, 0)], auto_comments=comments, context=context)
    return catalogue


def written(path: Path, language: str | None = None) -> Catalog:
    """Return a catalogue from its file."""
    with path.open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def template_file() -> Path:
    """Return where the template lies."""
    return LOCALES / f"{DOMAIN}.pot"


def file_of(language: str, suffix: str = "po") -> Path:
    """Return where the catalogue of a language lies."""
    return LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.{suffix}"


def texts(message: Message) -> tuple[str, ...]:
    """Return the forms of a text: one, or singular and plural."""
    return tuple(message.id) if isinstance(message.id, list | tuple) else (message.id,)


def forms(message: Message) -> tuple[str, ...]:
    """Return the forms of a translation."""
    found = message.string
    return tuple(found) if isinstance(found, list | tuple) else (found or "",)


def messages(catalogue: Catalog) -> Iterator[Message]:
    """Give the messages of a catalogue without its head."""
    return (message for message in catalogue if message.id)


def untranslated(catalogue: Catalog) -> list[str]:
    """Return the texts that a person has to translate, or to look at once more."""
    return [texts(each)[0] for each in messages(catalogue) if each.fuzzy or not all(forms(each))]


def pseudo(text: str) -> str:
    """Return a text as the pseudo-locale has it."""
    kept = HELD.findall(text)
    parts = [part.translate(FOREIGN) for part in HELD.split(text)]
    said = "".join(part + held for part, held in zip(parts, [*kept, ""], strict=True))
    return f"⟦{said}{'·' * (len(text) // 4)}⟧"


def compiled(catalogue: Catalog) -> bytes:
    """Return a catalogue as gettext reads it."""
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def pseudo_catalogue(every: Catalog) -> Catalog:
    """Return the pseudo-locale of a template."""
    catalogue = _empty(SOURCE)
    catalogue.creation_date = catalogue.revision_date = every.creation_date
    for message in messages(every):
        strings = tuple(pseudo(text) for text in texts(message))
        catalogue.add(message.id, strings if message.pluralizable else strings[0], context=message.context)
    return catalogue


def main() -> int:
    """Bring all catalogues up to date."""
    every = template()
    if template_file().exists():
        before = written(template_file())
        if [each.id for each in messages(before)] == [each.id for each in messages(every)]:
            every.creation_date = before.creation_date  # what has not changed gives no difference
    _write(template_file(), every)
    left = []
    for language in LANGUAGES:
        path = file_of(language)
        if language == SOURCE:
            continue
        if language == PSEUDO:
            catalogue = pseudo_catalogue(every)
        else:
            catalogue = written(path, language) if path.exists() else _empty(language)
            catalogue.update(every, no_fuzzy_matching=True, update_creation_date=False)
            catalogue.obsolete.clear()
        _write(path, catalogue)
        file_of(language, "mo").write_bytes(compiled(catalogue))
        left += [f"{path}: {text!r}" for text in untranslated(catalogue)]
    sys.stderr.write("".join(f"{line}\n" for line in left))
    return 1 if left else 0


def _empty(language: str | None) -> Catalog:
    return Catalog(
        locale=language, header_comment=HEAD, project="DSage", version="", msgid_bugs_address="", last_translator="",
        language_team="", charset="utf-8", fuzzy=False,
    )  # fmt: skip


def _write(path: Path, catalogue: Catalog) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue, width=116, no_location=True, omit_header=False, ignore_obsolete=True)


if __name__ == "__main__":
    sys.exit(main())
