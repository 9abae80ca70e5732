"""Why a box did not start, told so that somebody can do something about it."""

import pytest

from dsage.sandbox.explain import Kernel, refusal
from dsage.sandbox.level import Level

PLAIN = Kernel(apparmor_restricts=False, namespaces_forbidden=False)


@pytest.mark.parametrize(
    ("level", "printed", "kernel", "message", "hint"),
    [
        (
            Level.BUBBLEWRAP,
            "bwrap: setting up uid map: Permission denied",
            Kernel(apparmor_restricts=True, namespaces_forbidden=False),
            "Ubuntu",
            "/etc/apparmor.d/bwrap",
        ),
        (
            Level.BUBBLEWRAP,
            "bwrap: No permissions to create new namespace",
            Kernel(apparmor_restricts=False, namespaces_forbidden=True),
            "forbids unprivileged user namespaces",
            "sysctl",
        ),
        (Level.BUBBLEWRAP, "a\nbwrap: Can't mount proc", PLAIN, "Can't mount proc", "0.8 or later"),
        (Level.BUBBLEWRAP, "", PLAIN, "it gave no reason", "container"),
        (Level.LANDLOCK, "the kernel has no Landlock", PLAIN, "no Landlock", "5.13"),
    ],
)
def test_the_cause_is_named_and_so_is_the_cure(level, printed, kernel, message, hint):
    error = refusal(level, printed, kernel)
    assert message in error.message
    assert hint in error.hint
