"""The described API, asked in thousands of ways, right ones and wrong ones: it does what it says, and never breaks.

The calls are made up by Schemathesis from the description that the server itself gives, with and without tokens.
DSAGE_FUZZ says how many examples each call gets (`make fuzz-api` takes many).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dsage import wire
from dsage.connection import login
from dsage_server.testing import World, running_server

EXAMPLES: Final = int(os.environ.get("DSAGE_FUZZ", "6"))
CHECKS: Final = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip
BYTES: Final = "message-bytes"
NONSENSE: Final = b"\xc1"
"""The one byte that MessagePack does not use."""
ENDS: Final = ("/cancel", "/retire", "/leave")

schemathesis.openapi.format(BYTES, st.binary(max_size=64))


@schemathesis.serializer(wire.MEDIA_TYPE)
def _written(_: Any, value: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(_raw(value))
    except (OverflowError, UnicodeEncodeError, TypeError, RecursionError):
        return NONSENSE


@schemathesis.deserializer(wire.MEDIA_TYPE)
def _read(_: Any, response: Any) -> Any:
    return msgspec.to_builtins(msgspec.msgpack.decode(response.content), builtin_types=())


def _raw(value: Any) -> Any:
    """Return a made-up value with its binary data as bytes."""
    if isinstance(value, dict):
        return {str(name): _raw(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_raw(part) for part in value]
    return value.data if hasattr(value, "data") else value


def _with_bytes(schema: Any) -> Any:
    """Return a description in which binary data is of a kind that we make up as bytes."""
    if isinstance(schema, list):
        return [_with_bytes(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    named = {name: _with_bytes(part) for name, part in schema.items()}
    if named.get("contentEncoding") == "base64":
        named["format"] = BYTES
    return named


@dataclass
class Asker:
    """Asks everything there is, with a token; notes what was not as described, and how often which status came."""

    description: dict[str, Any]
    verify: str | bool
    url: str
    token: str = ""
    wrong: list[str] = field(default_factory=list)
    seen: dict[tuple[str, int], int] = field(default_factory=dict)

    def ask(self) -> None:
        """Ask every call of the listener at `url`; those that end something come last."""
        schema = schemathesis.openapi.from_dict(_with_bytes(self.description))
        with requests.Session() as session:
            operations = [found.ok() for found in schema.get_all_operations()]
            for operation in sorted(operations, key=lambda each: each.path.endswith(ENDS)):
                if {"url": self.url} in self.description["paths"][operation.path][operation.method]["servers"]:
                    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                        self._ask(session, operation, mode)

    def _ask(self, session: requests.Session, operation: Any, mode: GenerationMode) -> None:
        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate],
        )  # fmt: skip
        @given(case=operation.as_strategy(mode), real=st.booleans())
        def one(case: Any, real: bool) -> None:
            if real:
                case.path_parameters.update({name: 1 for name in case.path_parameters if name in ("run", "number")})
            headers = {wire.PROTOCOL_HEADER: str(wire.PROTOCOL)} if real else {}
            if self.token:
                headers["Authorization"] = f"Bearer {self.token}"
            response = case.call(
                base_url=self.url, session=session, headers=headers, verify=self.verify, timeout=30,
                allow_redirects=False,
            )  # fmt: skip
            place = (f"{case.method} {operation.path}", response.status_code)
            self.seen[place] = self.seen.get(place, 0) + 1
            try:
                case.validate_response(response, checks=CHECKS)
            except FailureGroup as group:
                told = "; ".join(f"{failure.title}: {failure.message}" for failure in group.exceptions)
                self.wrong.append(
                    f"{place} {mode}: {told}\n  {case.as_curl_command()[:500]}\n  {response.content[:300]!r}"
                )

        with suppress(Unsatisfiable):  # there is no wrong way to ask for what takes nothing
            one()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(wire, "MAX_WAIT_S", 0.01)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def asked(world: World, role: str, machine: bool) -> Asker:
    """Ask a server that has a run, a unit and a host everything, as somebody in a role."""
    host, run = await world.host(), await world.run()
    await run.make(1, 2)
    await host.report(await host.fetch(), [1])
    token = host.token if role == "host" else ""
    if role == "researcher":
        token = (await login(host.conn, run.researcher.key, "researcher", world.running.hub.server_id)).token
    pem = world.folder / "ca.pem"
    pem.write_bytes(host.conn.ca_pem)
    url = world.running.url if machine else world.running.pages_url
    with requests.Session() as session:
        described = await asyncio.to_thread(session.get, f"{url}/api/v1/openapi.json", verify=str(pem))
    asker = Asker(described.json(), str(pem), url, token)
    await asyncio.to_thread(asker.ask)
    return asker


@pytest.mark.parametrize("role", ["nobody", "host", "researcher"])
async def test_the_machine_api_does_what_it_says(world: World, role: str) -> None:
    asker = await asked(world, role, machine=True)
    assert asker.wrong == []
    assert {status for _, status in asker.seen} >= {200, 400, 404}


async def test_the_pages_for_programs_do_what_they_say(world: World) -> None:
    asker = await asked(world, "nobody", machine=False)
    assert asker.wrong == []
    assert {status for _, status in asker.seen} >= {200, 404}
