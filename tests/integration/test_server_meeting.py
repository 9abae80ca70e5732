"""Meeting a real server: invites, logins, tokens, versions, and bodies that are none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage import codec, wire
from dsage.connection import login
from dsage.errors import (
    BadSignature,
    Busy,
    DSageError,
    InviteRefused,
    LoggedOut,
    NotAllowed,
    NotFound,
    Replayed,
    RequestError,
    TooLarge,
    TooOld,
    UsageError,
    WrongRole,
    WrongServer,
)
from dsage.trust.documents import Enrolment, Login
from dsage.trust.envelope import Envelope, seal
from dsage.trust.keys import PrivateKey
from dsage_server.testing import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_host_joins_works_and_is_paid(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(7)
    got = await host.fetch(want=5)
    assert len(got) == 1
    assert await host.report(got, [7]) == ["ok"]
    heard = await run.answers()
    assert [codec.decode(answer.value or b"") for answer in heard.answers] == [7]
    assert heard.open_units == 0
    await run.commit(folded=[heard.answers[0].unit], finished=True, result=codec.encode(7))
    view = await world.view(run)
    assert (view.state, view.credit_milli, view.replicas) == ("done", 1000, {"valid": 1})


async def test_a_challenge_is_good_once_and_for_this_server(world: World) -> None:
    host = await world.host()

    async def fresh(**changes: Any) -> Envelope:
        challenge = await host.conn.call("POST", "/v1/challenge", None, wire.ChallengeReply)
        proof = Login(
            server_id=challenge.server_id, challenge=challenge.challenge, ca=host.conn.link.ca, key=host.key.public,
            role="host",
        )  # fmt: skip
        return seal(msgspec.structs.replace(proof, **changes), host.key)

    async def enter(envelope: Envelope) -> None:
        await host.conn.call("POST", "/v1/login", envelope, wire.LoginReply)

    proof = await fresh()
    await enter(proof)
    with pytest.raises(Replayed):
        await enter(proof)
    with pytest.raises(Replayed):
        await enter(await fresh(challenge=b"made up"))
    with pytest.raises(WrongServer):
        await enter(await fresh(server_id="another"))
    with pytest.raises(NotAllowed, match="not signed by the key"):
        await enter(await fresh(key=PrivateKey.generate().public))
    with pytest.raises(NotAllowed, match="not certified"):
        await enter(await fresh(role="researcher"))
    with pytest.raises(NotAllowed, match="nobody logs in as"):
        await enter(await fresh(role="operator"))
    good = await fresh()
    with pytest.raises(BadSignature):
        await enter(Envelope(good.payload_type, good.payload.replace(b"host", b"hose"), good.signatures))
    with pytest.raises(WrongRole):
        await enter(Envelope(good.payload_type, good.payload, []))
    with pytest.raises(NotAllowed, match="has not enrolled"):
        await login(host.conn, PrivateKey.generate(), "host", world.running.hub.server_id)


async def test_an_invite_is_good_for_as_many_as_it_says(world: World) -> None:
    host = await world.host()
    link = await world.running.invite(uses=1)

    async def enrol(key: PrivateKey, code: str) -> wire.EnrolReply:
        challenge = await host.conn.call("POST", "/v1/challenge", None, wire.ChallengeReply)
        said = Enrolment(
            server_id=link.server_id,
            challenge=challenge.challenge,
            ca=link.ca,
            key=key.public,
            code=code,
            public=False,
        )
        return await host.conn.call("POST", "/v1/enrol", seal(said, key), wire.EnrolReply)

    first = PrivateKey.generate()
    account = await enrol(first, link.code)
    assert await enrol(first, link.code) == account
    with pytest.raises(InviteRefused, match="used up"):
        await enrol(PrivateKey.generate(), link.code)
    with pytest.raises(InviteRefused, match="not one of this server"):
        await enrol(PrivateKey.generate(), "guess")
    stale = await world.running.invite(valid_s=-1.0)
    with pytest.raises(InviteRefused, match="out of time"):
        await enrol(PrivateKey.generate(), stale.code)


async def test_a_token_opens_its_own_door_for_a_while(world: World) -> None:
    host, run = await world.host(), await world.run()
    with pytest.raises(NotAllowed, match="needs a researcher's token"):
        await host.conn.call("POST", f"/v1/runs/{run.run}/cancel", None, token=host.token)
    researcher = run.researcher._token
    with pytest.raises(NotAllowed, match="needs a host's token"):
        await host.conn.call("POST", "/v1/exchange", wire.Exchange(), wire.ExchangeReply, token=researcher)
    for token in (None, "", "unknown"):
        with pytest.raises(LoggedOut):
            await host.conn.call("POST", "/v1/exchange", wire.Exchange(), wire.ExchangeReply, token=token)
    hub = world.running.hub
    date = hub.clock
    try:
        hub.clock = lambda: date() + 901.0
        with pytest.raises(LoggedOut):
            await host.exchange()
    finally:
        hub.clock = date
    await host.exchange()


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [(None, 426, "too-old"), ("0", 426, "too-old"), ("x", 426, "too-old"), ("99", 400, "usage")],
)
async def test_each_call_says_its_protocol_version(world: World, said: str | None, status: int, code: str) -> None:
    host = await world.host()
    headers = {wire.PROTOCOL_HEADER: said or ""}
    answered, problem, _ = await host.raw("POST", "/v1/exchange", headers=headers, data=b"\x80")
    assert (answered, problem["code"], problem["status"]) == (status, code, status)
    assert problem["hint"]
    assert (await host.raw("GET", "/v1/hello", headers=headers))[0] == 200
    assert TooOld.code == "too-old"


async def test_a_body_is_capped_before_it_is_read(world: World) -> None:
    host = await world.host()
    with pytest.raises(TooLarge):
        await host.conn.call("POST", "/v1/exchange", b"\x00" * (wire.MAX_BODY_BYTES + 1), bytes, token=host.token)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"\x00" * (1 << 20)

    try:
        status, problem, _ = await host.raw("POST", "/v1/exchange", data=endless())
        assert (status, problem["code"]) == (413, "too-large")
    except aiohttp.ClientError:
        pass
    await host.exchange()


FIELDS = st.sampled_from(
    [
        *("reports", "proof", "holding", "want", "wait_s", "host", "replica", "lease", "cpu_s", "value"),
        *("fence", "step", "folded", "units", "state", "payload", "payloadType", "signatures"),
    ]
)
BODIES = st.binary(max_size=200) | st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(max_size=5), inner, max_size=6),
    max_leaves=15,
).map(msgspec.msgpack.encode)


async def test_whatever_comes_is_answered_in_a_sentence(world: World) -> None:
    host, run = await world.host(), await world.run()
    token = await run.researcher.sign_in() and run.researcher._token
    paths = ["/v1/login", "/v1/enrol", "/v1/exchange", "/v1/runs", f"/v1/runs/{run.run}/steps"]
    told = []

    @given(data=BODIES, path=st.sampled_from(paths))
    @settings(max_examples=150, deadline=None, database=None)
    def collect(data: bytes, path: str) -> None:
        told.append((data, path))

    collect()
    refused: list[DSageError] = []
    for data, path in told:
        try:
            await host.conn.call("POST", path, data, bytes, token=host.token if path.endswith("exchange") else token)
        except DSageError as error:
            refused.append(error)
    assert len(refused) > 50
    assert [e for e in refused if type(e) is RequestError or isinstance(e, Busy)] == []


@pytest.mark.parametrize(
    "said",
    [
        {"wait_s": float("nan")}, {"wait_s": float("inf")}, {"want": -1}, {"want": 2**63},
        {"holding": [{"replica": 2**64 - 1, "lease": b""}]},
        {"holding": [{"replica": 1, "lease": b"", "cpu_s": float("nan")}]},
        {"reports": [{"replica": -1}]}, {"reports": [{"replica": 1, "wall_s": float("inf")}]},
        {"host": {"client": "", "platform": "", "cores": 2**64 - 1, "memory_bytes": 0, "sandbox": ""}},
    ],
)  # fmt: skip
async def test_numbers_that_no_clock_and_no_column_holds_are_refused(world: World, said: dict[str, Any]) -> None:
    host = await world.host()
    with pytest.raises(UsageError, match="the body is not a Exchange"):
        await host.conn.call("POST", "/v1/exchange", msgspec.msgpack.encode(said), bytes, token=host.token)


async def test_a_body_that_pretends_to_be_compressed_is_refused(world: World) -> None:
    host = await world.host()
    status, problem, _ = await host.raw("POST", "/v1/exchange", data=b"not gzip", headers={"Content-Encoding": "gzip"})
    assert (status, problem["code"]) == (400, "usage")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/x", "/v1/runs/99999999", "/v1/runs/" + "9" * 40, "/v1/documents/" + "a" * 64, "/nothing",
        "/v1/bundles/..%2f..%2funit.key", "/v1/bundles/" + "\U00010300" * 64, "/v1/bundles/" + "\u0663" * 64,
    ],
)  # fmt: skip
async def test_what_is_not_there_is_not_found(world: World, path: str) -> None:
    host = await world.host()
    with pytest.raises(NotFound):
        await host.conn.call("GET", path, None, bytes)
