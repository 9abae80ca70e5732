"""What an author may declare as a discovery, and the discoveries of a run on one's own computers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from dsage.errors import UsageError
from dsage.wire import MAX_CHECK, MAX_FACT, MAX_FACTS, MAX_TITLE, Discovered, DiscoveryView

MAX_NAME: Final = 64
"""Characters of the name of a fact."""


def declared(unit: int, title: str, facts: Mapping[str, object], check: str) -> Discovered:
    """Return a discovery as it travels. Raises UsageError for what no certificate could show."""
    if not unit:
        raise UsageError(
            f"the discovery {title[:60]!r} names a unit that has no answer yet",
            hint="Declare it in process_result, with the unit that is folded there.",
        )
    if len(facts) > MAX_FACTS:
        raise UsageError(f"the discovery {title[:60]!r} has {len(facts)} facts; at most {MAX_FACTS} are shown")
    return Discovered(
        unit=unit,
        title=_line("the title of a discovery", title, MAX_TITLE),
        facts={_line("the name of a fact", name, MAX_NAME): _fact(name, fact) for name, fact in facts.items()},
        check=check and _line("the check of a discovery", check, MAX_CHECK),
    )


def kept_here(known: dict[tuple[int, str], DiscoveryView], new: Iterable[Discovered], run: int, now: float) -> None:
    """Add the discoveries of a step to those of a run without volunteers: nobody can confirm them. `now` is in Unix
    seconds; the same title of the same unit is the same discovery."""
    for each in new:
        before = known.get((each.unit, each.title))
        known[each.unit, each.title] = DiscoveryView(
            id=before.id if before else len(known) + 1, run=run, unit=each.unit, project="", title=each.title,
            facts=each.facts, check=each.check, state="candidate", declared=before.declared if before else now,
            reason="it was computed here, and nobody else has confirmed it",
        )  # fmt: skip


def _line(what: str, text: str, most: int) -> str:
    if not isinstance(text, str) or not text.strip() or len(text) > most or not text.isprintable():
        raise UsageError(f"{what} is {str(text)[:60]!r}; it must be one line of 1 to {most} characters")
    return text.strip()


def _fact(name: str, fact: object) -> str:
    if not isinstance(fact, str | int | float):
        raise UsageError(f"the fact {name!r} is a {type(fact).__name__}; facts are text or numbers")
    try:
        return _line(f"the fact {name!r}", str(fact), MAX_FACT)
    except ValueError:
        raise UsageError(f"the fact {name!r} has too many digits: at most {MAX_FACT} characters are shown") from None
