"""This computer's sandbox is tried out once for all servers of a process, not once for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsage.sandbox import Report, strongest
from dsage_server import server


@pytest.fixture(scope="session", autouse=True)
def one_self_test() -> Iterator[None]:
    """Let each server in this process hear what the first heard; servers that are processes try it themselves."""
    found: dict[bool, Report] = {}

    async def known(work_dir: Path, *, strangers: bool) -> Report:
        if strangers not in found:
            found[strangers] = await strongest(work_dir, strangers=strangers)
        return found[strangers]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "strongest", known)
        yield
