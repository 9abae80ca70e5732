"""What a server that somebody else took over can make a client do: nothing that its owner would notice."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dsage import codec
from dsage.connection import problem
from dsage.errors import BadSignature, Busy, StorageFull, UsageError
from dsage.function import Limits
from dsage.trust.documents import Authorisation
from dsage.trust.envelope import Envelope, Signature, hash_of, seal
from dsage.trust.keys import PrivateKey
from dsage.wire import Exchange, ExchangeReply
from dsage_client import events, policy, runner, spool
from dsage_client.events import Event
from dsage_client.testing import MemoryServer


class Bent:
    """A server whose replies to exchanges are changed on their way."""

    def __init__(self, inner: MemoryServer, change: Any) -> None:
        self.link, self.ca_pem = inner.link, inner.ca_pem
        self._inner, self._change = inner, change

    async def call(self, method: str, path: str, body: Any, reply: Any, **how: Any) -> Any:
        answer = await self._inner.call(method, path, body, reply, **how)
        return self._change(body, answer) if isinstance(answer, ExchangeReply) else answer

    def stream(self, *what: Any, **how: Any) -> Any:
        return self._inner.stream(*what, **how)

    async def close(self) -> None:
        """Nothing to close."""


async def test_units_that_nobody_asked_for_are_not_taken(client: Any) -> None:
    def push(asked: Any, reply: ExchangeReply) -> ExchangeReply:
        if len(client.server.exchanges) > 1:
            return reply
        template = assignments[0]
        reply.units = [type(template)(**{**fields(template), "replica": n}) for n in range(1, 500)]
        reply.batches = {template.batch: batches[0]}
        return reply

    await client.server.give(1)
    assignments, batches = [client.server._ready[0][0]], [client.server._ready[0][1]]
    client.server._ready.clear()
    client.runner.gate.clear()
    client.transport = Bent(client.server, push)
    async with client.running() as agent:
        await client.until(lambda: len(client.server.exchanges) > 1)
        assert len(agent._slots) == 2
    assert "were asked for" in client.text()


def fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


@pytest.mark.parametrize(
    "trouble", [StorageFull("the server's disk has no room"), UsageError("the body is no message")]
)
async def test_no_refusal_of_a_server_ends_its_clients(client: Any, trouble: Exception) -> None:
    await client.server.strike(trouble)
    async with client.running():
        await client.until(lambda: "away" in client.kinds())
        await client.server.strike(None)
        await client.server.give(21)
        await client.until(lambda: client.server.ended)
    assert codec.decode(client.server.ended[1][2]) == 42


async def test_a_withdrawn_ca_is_not_spoken_through_any_more(client: Any) -> None:
    session = client.agent()._session
    await session.exchange(Exchange(), [])
    await client.server.new_root(2, ca_keys=["ab" * 32])
    with pytest.raises(BadSignature, match="certificate authority"):
        await session.refresh_root()
    assert session.chain.root.version == 2
    with pytest.raises(BadSignature, match="certificate authority"):
        await session.exchange(Exchange(), [])


async def test_documents_that_no_researcher_signed_are_not_kept(client: Any) -> None:
    real = client.server.authorisation
    thief = PrivateKey.generate()
    junk = [seal(Authorisation(**{**fields_of(real), "run_key": f"{n}"}), thief) for n in range(3)]
    client.server.documents |= {hash_of(each): each for each in junk}
    padded = Envelope(real.payload_type, real.payload, [*real.signatures, Signature(b"x", bytes(1 << 20))])
    async with client.running():
        for number, each in enumerate(junk, 1):
            await client.server.give(1, run=hash_of(each))
            await client.until(lambda number=number: len(client.server.ended) == number)
        client.server.documents[hash_of(real)] = padded
        await client.server.give(1)
        await client.until(lambda: len(client.server.ended) == 4)
    assert [reason for _, reason, _ in client.server.ended.values()] == ["trust.role"] * 3 + ["too-large"]
    kept = {path.name for path in (client.settings.cache / "documents").glob("*")}
    assert kept.isdisjoint(map(hash_of, [*junk, real]))


def fields_of(envelope: Envelope) -> dict[str, Any]:
    return fields(msgspec.json.decode(envelope.payload, type=Authorisation))


async def test_a_server_that_acknowledges_nothing_gets_no_more_work_done(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "MAX_WAITING", 3)

    def forget(asked: Any, reply: ExchangeReply) -> ExchangeReply:
        reply.acks = []
        return reply

    client.transport = Bent(client.server, forget)
    async with client.running() as agent:
        await client.server.give(*range(20))
        await client.until(lambda: len(agent._spool) >= 3 and client.server.exchanges[-1].want == 0)
        seen = len(client.server.exchanges)
        await client.until(lambda: len(client.server.exchanges) > seen + 3)
        assert len(agent._spool) <= 3 + client.settings.slots


def test_no_unit_takes_more_than_the_computer_can_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = Limits(memory_bytes=1 << 50, disk_bytes=1 << 50, output_bytes=1 << 50)
    proven = type("Proven", (), {"unit": huge, "authorisation": huge})
    monkeypatch.setattr(runner, "memory_of_host", lambda: 8 << 30)
    limits = runner.limits(proven, runner.Room.of_host())  # type: ignore[arg-type]
    assert (limits.memory_bytes, limits.disk_bytes, limits.output_bytes) == (4 << 30, 2 << 30, 16 << 20)


def test_what_others_say_stays_on_its_line() -> None:
    out = io.StringIO()
    events.plain(out)(Event(kind="x", text="a\x1b[2Jb\n12:00:00 all is well\u202e\r"))
    assert out.getvalue()[9:] == "a [2Jb 12:00:00 all is well  \n"


@pytest.mark.parametrize("deadline_s", [0.0, 1e-9, 0.5])
def test_leases_of_no_length_do_not_make_a_client_call_without_end(deadline_s: float) -> None:
    assert policy.hold_s(25.0, [deadline_s]) == policy.SHORTEST_S


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_a_retry_time_that_is_no_number_is_the_usual_one(text: str) -> None:
    refusal = problem(503, {"Retry-After": text}, b"{}")
    assert isinstance(refusal, Busy)
    assert math.isfinite(refusal.retry_s)
    assert refusal.retry_s > 0


async def test_a_busy_server_that_names_no_time_is_not_hammered(client: Any) -> None:
    client.settings = replace(client.settings, backoff_low_s=0.05)
    await client.server.strike(Busy("now!", retry_s=0.0))
    async with client.running():
        await client.until(lambda: "away" in client.kinds())
    assert next(event for event in client.events if event.kind == "away").data["retry_s"] == 0.05
