"""A run in words and as HTML, for prompts and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsage.wire import RunView

if TYPE_CHECKING:
    from dsage.job import Job


def line(run: int, view: RunView) -> str:
    """Return one line about a run."""
    units = ", ".join(f"{count} {state}" for state, count in view.units.items() if count)
    return f"<Job {run}: {view.title}, {view.state}{f' ({units})' if units else ''}>"


def live(job: Job[Any]) -> dict[str, str]:
    """Return what a notebook shows for a job."""
    return {"text/plain": repr(job)}
