"""Roles of a server process: how they are named, and what they need."""

from __future__ import annotations

import pytest

from dsage.errors import UsageError
from dsage_server import roles
from dsage_server.settings import Settings


def test_no_list_is_every_role() -> None:
    assert roles.parse("") == roles.ROLES.keys() == Settings.__dataclass_fields__["roles"].default


def test_a_list_names_roles() -> None:
    assert roles.parse("api, sweeper") == {roles.API, roles.SWEEPER}


def test_an_unknown_role_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="no role bishop") as caught:
        roles.parse("api,bishop")
    assert all(name in str(caught.value.hint) for name in roles.ROLES)


def test_sqlite_has_every_role_in_one_process() -> None:
    roles.check(frozenset(roles.ROLES), shared=False)
    roles.check(frozenset({roles.API}), shared=True)
    with pytest.raises(UsageError, match="SQLite belongs to one process"):
        roles.check(frozenset({roles.API}), shared=False)
