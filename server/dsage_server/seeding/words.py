"""The words of a made-up world: teams, computers, projects, and what operators write beside a correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TEAMS: Final = (
    "Night Shift Göteborg", "Grünfläche Rechenfreunde", "The Long Tail", "Amateurs of Primes", "Kepler's Cousins",
    "Université de l'Ombre", "Slow Cookers", "Hokkaidō Idle Club", "Retired Engineers of Leeds", "Pixel Gardeners",
    "Ciencia en Casa", "Library Basement", "Two Fans and a Dream", "Polar Station Volunteers", "Class 9b",
    "Ferme de calcul du Jura", "Old Laptops Never Die", "Observatório do Sul", "Quiet Rooms", "Sunday Mathematicians",
)  # fmt: skip
COMPUTERS: Final = (
    "desk", "laptop", "attic", "old thinkpad", "lab-3", "basement", "media pc", "workshop", "kids' pc", "nas",
    "office", "tower", "mini", "server under the stairs", "",
)  # fmt: skip
PLATFORMS: Final = (
    ("linux-x86_64", 0.62), ("linux-aarch64", 0.13), ("win32-AMD64", 0.17), ("darwin-arm64", 0.08),
)  # fmt: skip
CLIENTS: Final = (("0.1.0", 0.81), ("0.0.9", 0.14), ("0.0.8", 0.05))
CORES: Final = ((2, 0.12), (4, 0.34), (6, 0.13), (8, 0.24), (12, 0.07), (16, 0.07), (32, 0.02), (64, 0.01))
COUNTRIES: Final = (
    ("US", 0.17), ("DE", 0.15), ("GB", 0.09), ("FR", 0.07), ("JP", 0.06), ("CA", 0.06), ("PL", 0.05), ("BR", 0.05),
    ("AU", 0.04), ("NL", 0.04), ("IN", 0.04), ("SE", 0.03), ("ES", 0.03), ("CZ", 0.03), ("NZ", 0.03), ("SG", 0.02),
    ("ZA", 0.01), ("KE", 0.01), ("FI", 0.01), ("MT", 0.01),
)  # fmt: skip
REVERSED: Final = (
    "the answer was computed again on the server and is not the same",
    "this computer's memory is faulty: its answers of that day were looked at one by one",
)
GIVEN: Final = (
    "for the answers that were lost when the disk of the server was full",
    "for two days of work on units that were made with wrong parameters",
    "for finding a fault in the client, and telling us how to see it",
)
TAKEN: Final = ("paid twice when a backup was put back",)
OPERATOR: Final = "operator"
RETIRED_BY: Final = "validator"
ERRORS: Final = ("memory: it used more than it may", "exception: ZeroDivisionError", "wall: it took too long")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What is said of a project, and the app that it runs, as `dsage submit` names it."""

    name: str
    title: str
    purpose: str
    ethics: str
    by: str
    link: str
    app: str


PROJECTS: Final = (
    Project(
        name="factor", title="Factors of large numbers", app="factor", by="Department of Number Theory",
        link="https://example.org/factors",
        purpose="Splits numbers of the form 2^n ± 1 into primes. Each found factor closes a gap in a table that "
        "mathematicians have kept for a century.",
        ethics="Pure mathematics: only numbers of public tables are factored, never keys.",
    ),
    Project(
        name="pictures", title="Pictures by many hands", app="render", by="Open Film Workshop",
        link="https://example.org/pictures",
        purpose="Paints pictures for free films, band by band. Every computer paints rows of one and sees them there.",
        ethics="All scenes are published under a free licence.",
    ),
    Project(
        name="radio", title="Pulsars in old recordings", app="{here}/skies.py:Pulsars", by="Radio Observatory",
        link="https://example.org/radio",
        purpose="Looks through recordings of a radio telescope for faint, regular pulses that nobody had the time to "
        "look for.",
        ethics="The recordings hold no human signal, and are public.",
    ),
    Project(
        name="chance", title="Volumes by chance", app="montecarlo", by="Statistics for Schools",
        link="https://example.org/chance",
        purpose="Estimates volumes in many dimensions by throwing random points, so that classes can watch an error "
        "shrink.",
        ethics="For teaching. Nothing is collected about anybody.",
    ),
    Project(
        name="fields", title="A census of number fields", app="search", by="Department of Number Theory",
        link="https://example.org/fields",
        purpose="Lists every totally real number field of small degree up to a bound, complete and checked twice.",
        ethics="Pure mathematics; the tables are free for everybody.",
    ),
)  # fmt: skip
