"""Servers that are attacked know what this computer's sandbox holds."""

from one_self_test import one_self_test

__all__ = ["one_self_test"]
