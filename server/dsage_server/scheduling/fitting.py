"""Which hosts can do which work: platform, packages, tags, memory, disk and time; and trust."""

from __future__ import annotations

from typing import Final

from dsage_server.scheduling.line import Lane
from dsage_server.scheduling.record import HostRecord
from dsage_server.scheduling.terms import NEWCOMER, HostOffer, Needs

MAX_KNOWN: Final = 512
_GIB: Final = 1 << 30
_MIB: Final = 1 << 20


class HostView:
    """One host as the policy sees it. It remembers what fits, so a changed offer wants a new view."""

    __slots__ = ("_lacks", "host", "offer", "passed", "record", "volunteer")

    def __init__(self, *, host: int, volunteer: int, offer: HostOffer, record: HostRecord) -> None:
        self.host = host
        self.volunteer = volunteer
        self.offer = offer
        self.record = record
        self.passed: dict[int, tuple[int, tuple[str, str]]] = {}
        """By run of which nothing was for this host: the newest entry then, the project, and why."""
        self._lacks: dict[int, str] = {}

    def remember(self, run: int, newest: int, why: tuple[str, str]) -> None:
        """There is nothing for this host in a run, until something newer waits there."""
        if len(self.passed) >= MAX_KNOWN:
            self.passed.clear()
        self.passed[run] = newest, why

    def lacks(self, lane: Lane) -> str:
        """Return what keeps the units of a lane from this host, in words, or an empty text."""
        words = self._lacks.get(lane.serial)
        if words is None:
            if len(self._lacks) >= MAX_KNOWN:
                self._lacks.clear()
            words = self._lacks[lane.serial] = lacking(lane.needs, self.offer)
        return words


def lacking(needs: Needs, offer: HostOffer) -> str:
    """Return what a host lacks for units with these needs, as the end of "it needs ...", or an empty text."""
    if offer.verifiable_only and not needs.proves:
        return "a volunteer whom the operator trusts, for no answer proves itself"
    if needs.platforms and not offer.platform.startswith(needs.platforms):
        return f"a computer of the kind {' or '.join(needs.platforms)}, and this one is {offer.platform or 'unknown'}"
    if not needs.features <= offer.features:
        return "a newer DSage on this computer"
    missing = sorted(needs.packages - offer.packages)
    if missing:
        return f"{', '.join(missing)}, which this computer does not offer"
    tags = sorted(needs.tags - offer.tags - {NEWCOMER})
    if tags:
        return f"computers marked {', '.join(tags)}, and this one is not"
    if needs.memory_bytes > offer.memory_bytes > 0:
        return f"{amount(needs.memory_bytes)} of memory, and this computer offers {amount(offer.memory_bytes)}"
    if needs.disk_bytes > offer.disk_bytes > 0:
        return f"{amount(needs.disk_bytes)} of disk, and this computer offers {amount(offer.disk_bytes)}"
    return ""


def amount(size: int) -> str:
    """Return a number of bytes in words."""
    unit, name = (_GIB, "GiB") if size >= _GIB else (_MIB, "MiB")
    return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
