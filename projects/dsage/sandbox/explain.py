"""Why a sandbox did not start, and what a person can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsage.errors import SandboxRefused
from dsage.sandbox.level import Level

ALLOW_BUBBLEWRAP: Final = (
    r"printf 'abi <abi/4.0>,\ninclude <tunables/global>\nprofile bwrap /usr/bin/bwrap flags=(unconfined) "
    r"{\n  userns,\n}\n' | sudo tee /etc/apparmor.d/bwrap && sudo apparmor_parser -r /etc/apparmor.d/bwrap"
)
"""Source: Ubuntu 23.10's release notes on restricted user namespaces, and apparmor.d(5)."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What this kernel says about user namespaces."""

    apparmor_restricts: bool
    namespaces_forbidden: bool

    @classmethod
    def here(cls) -> Kernel:
        """Read it from /proc/sys."""
        return cls(
            apparmor_restricts=_reads("kernel/apparmor_restrict_unprivileged_userns") == "1",
            namespaces_forbidden=_reads("kernel/unprivileged_userns_clone") == "0"
            or _reads("user/max_user_namespaces") == "0",
        )


def refusal(level: Level, printed: str, kernel: Kernel | None = None) -> SandboxRefused:
    """Return the error for a box that did not start; `printed` is what its program said."""
    facts = kernel or Kernel.here()
    said = printed.splitlines()[-1] if printed else "it gave no reason"
    if level is Level.LANDLOCK:
        return SandboxRefused(
            f"the Landlock sandbox did not start: {said}", hint="Use Linux 5.13 or later with Landlock enabled."
        )
    if facts.apparmor_restricts:
        return SandboxRefused(
            "this system restricts unprivileged user namespaces (Ubuntu 23.10 and later do), which bubblewrap needs",
            hint=f"Allow it to bubblewrap alone with an AppArmor profile: {ALLOW_BUBBLEWRAP}",
        )
    if facts.namespaces_forbidden:
        return SandboxRefused(
            "this kernel forbids unprivileged user namespaces, which bubblewrap needs",
            hint="Allow them: sudo sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000",
        )
    return SandboxRefused(
        f"bubblewrap did not start: {said}",
        hint="Install bubblewrap 0.8 or later; inside a container, allow it user namespaces and an unmasked /proc.",
    )


def _reads(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""
