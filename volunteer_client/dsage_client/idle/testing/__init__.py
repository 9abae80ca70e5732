"""Desktops that exist only for tests: what Mutter, logind and others say on a bus, and a Wayland compositor.

Each has a thread of its own and plain methods, so that a test of any kind can use them; time passes when it is told to.
"""

from __future__ import annotations

from dsage_client.idle.testing.bus import FakeDesktop, PrivateBus
from dsage_client.idle.testing.compositor import FakeCompositor

__all__ = ["FakeCompositor", "FakeDesktop", "PrivateBus"]
