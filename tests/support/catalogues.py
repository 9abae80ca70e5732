"""The catalogues of what people read: what is in them, and a program that brings them up to date.

    .venv/bin/python tests/support/catalogues.py

collects the texts of the code and the pages into a template for each domain, the client's and the site's, adds new ones
to each language, makes the client's pseudo-locale (the site makes its own as it runs) and compiles all. It ends with 1
and names them if texts are left to be translated by a person.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

import dsage_client.words as client
import dsage_server.web.words as web
from dsage.states import MEANING, ReplicaState, RunState, UnitState
from dsage_server.sentences.found import ALL
from dsage_server.web import joining
from dsage_server.web.public.lines import FAILURES

HEAD: Final = "Made by tests/support/catalogues.py; translations are written into this file."
METHODS: Final = [("**.py", "python"), ("**.html", "jinja2")]
OPTIONS: Final = {"**.html": {"trimmed": "true", "silent": "false", "newstyle_gettext": "true"}}
KEYWORDS: Final = {"_": None, "gettext": None, "n_": (1, 2), "ngettext": (1, 2)}
HELD: Final = re.compile(r"\{[^{}]*\}|%\([^)]*\)[a-z]|%%|<[^<>]*>|&[a-z]+;|https?://\S+|dsage://\S*|`[^`]*`")
"""What a translation keeps as it is: places for names, tags, addresses, commands."""
FOREIGN: Final = str.maketrans("aeiouycnszAEIOUYCNSZdghklrtw", "áéíóúýçñšžÁÉÍÓÚÝÇÑŠŽđğĥķļŕťŵ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What one program says. Its code stands beside the folder of its catalogues.

    People translate it into `languages`; `pseudo` is made from the template; `tables` are texts that stand elsewhere
    as tables, and are said by the name of their row.
    """

    name: str
    of: str
    locales: Path
    languages: tuple[str, ...]
    pseudo: str = ""
    tables: tuple[str | tuple[str, str], ...] = ()

    @property
    def code(self) -> Path:
        """Return where the texts are said."""
        return self.locales.parent

    @property
    def every(self) -> tuple[str, ...]:
        """Return all languages that have a catalogue."""
        return (*self.languages, *([self.pseudo] if self.pseudo else []))

    def template_file(self) -> Path:
        """Return where the template lies."""
        return self.locales / f"{self.name}.pot"

    def file_of(self, language: str, suffix: str = "po") -> Path:
        """Return where the catalogue of a language lies."""
        return self.locales / language / "LC_MESSAGES" / f"{self.name}.{suffix}"

    def template(self) -> Catalog:
        """Return all texts of the code and the pages, sorted."""
        catalogue = self.empty(None)
        for text in self.tables:
            catalogue.add(text)
        found = extract_from_dir(self.code, METHODS, OPTIONS, KEYWORDS)
        for path, _, message, comments, context in sorted(found, key=lambda each: (each[0], each[1])):
            catalogue.add(message, None, [(path, 0)], auto_comments=comments, context=context)
        return catalogue

    def written(self, path: Path, language: str | None = None) -> Catalog:
        """Return a catalogue from its file."""
        with path.open("rb") as file:
            return read_po(file, locale=language, domain=self.name)

    def pseudo_catalogue(self, template: Catalog) -> Catalog:
        """Return the pseudo-locale of a template."""
        catalogue = self.empty("en")
        catalogue.creation_date = catalogue.revision_date = template.creation_date
        for message in messages(template):
            strings = tuple(pseudo(text) for text in texts(message))
            catalogue.add(message.id, strings if message.pluralizable else strings[0], context=message.context)
        return catalogue

    def empty(self, language: str | None) -> Catalog:
        """Return a catalogue without texts."""
        head = (
            f"# The words of {self.of}. Made by tests/support/catalogues.py; translations are written into this file."
        )
        return Catalog(
            locale=language, header_comment=head, project="DSage", version="", msgid_bugs_address="",
            last_translator="", language_team="", charset="utf-8", fuzzy=False,
        )  # fmt: skip

    def refresh(self) -> list[str]:
        """Bring the catalogues up to date; return what is left to be translated."""
        template = self.template()
        if self.template_file().exists():
            before = self.written(self.template_file())
            if [each.id for each in messages(before)] == [each.id for each in messages(template)]:
                template.creation_date = before.creation_date  # what has not changed gives no difference
        _write(self.template_file(), template)
        left = []
        for language in self.every:
            path = self.file_of(language)
            if language == self.pseudo:
                catalogue = self.pseudo_catalogue(template)
            else:
                catalogue = self.written(path, language) if path.exists() else self.empty(language)
                catalogue.update(template, no_fuzzy_matching=True, update_creation_date=False)
                catalogue.obsolete.clear()
            _write(path, catalogue)
            self.file_of(language, "mo").write_bytes(compiled(catalogue))
            left += [f"{path}: {text!r}" for text in untranslated(catalogue)]
        return left


_STATES: Final = [str(state) for kind in (RunState, UnitState, ReplicaState) for state in kind]
CLIENT: Final = Domain(
    name=client.DOMAIN, of="DSage's client", locales=client.LOCALES, pseudo=client.PSEUDO,
    languages=tuple(language for language in client.LANGUAGES if language not in (client.SOURCE, client.PSEUDO)),
)  # fmt: skip
SITE: Final = Domain(
    name=web.DOMAIN, of="the site of a DSage server", locales=web.LOCALES,
    languages=tuple(language for language in web.LANGUAGES if language != web.SOURCE),
    tables=tuple(dict.fromkeys([
        *_STATES, *MEANING.values(), *joining.SYSTEMS.values(), *FAILURES.values(), *[each.message for each in ALL],
    ])),
)  # fmt: skip
DOMAINS: Final = (CLIENT, SITE)


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


def main() -> int:
    """Bring all catalogues up to date."""
    left = [line for domain in DOMAINS for line in domain.refresh()]
    sys.stderr.write("".join(f"{line}\n" for line in left))
    return 1 if left else 0


def _write(path: Path, catalogue: Catalog) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue, width=116, no_location=True, omit_header=False, ignore_obsolete=True)


if __name__ == "__main__":
    sys.exit(main())
