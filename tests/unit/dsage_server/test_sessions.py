"""Tokens and challenges: honoured by every process with the secret, by nobody else, and not for ever."""

from __future__ import annotations

import base64

import msgspec
import pytest

from dsage.errors import LoggedOut, NotAllowed, Replayed
from dsage_server import sessions
from dsage_server.sessions import CHALLENGE_S, DRIVER, SLACK_S, TOKEN_S, Session, Sessions

NOW = 1.8e9
SECRET = bytes(range(32))
HOST = Session(role="host", key=b"k" * 32, expires=NOW + TOKEN_S, host=7, volunteer=3)


def header(token: str) -> str:
    return f"Bearer {token}"


def test_a_token_is_good_at_every_process_with_the_secret_and_after_a_restart() -> None:
    token = Sessions(SECRET).open(HOST)
    other = Sessions(SECRET)
    assert other.find(header(token), "host", NOW) == other.find(header(token), "host", NOW + 1.0) == HOST
    with pytest.raises(LoggedOut):
        Sessions().find(header(token), "host", NOW)
    with pytest.raises(NotAllowed):
        other.find(header(token), "researcher", NOW)


def test_a_token_is_verified_once() -> None:
    mine = Sessions(SECRET)
    token = header(mine.open(HOST))
    assert mine.find(token, "host", NOW) is mine.find(token, "host", NOW)


def test_of_many_tokens_the_latest_are_remembered_and_all_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SEEN", 10)
    mine = Sessions(SECRET)
    everybody = [msgspec.structs.replace(HOST, host=n) for n in range(30)]
    tokens = [header(mine.open(each)) for each in everybody]
    for _ in range(2):
        assert [mine.find(token, "host", NOW).host for token in tokens] == list(range(30))
    assert len(mine._seen) == 10


def forged(token: str) -> list[str]:
    """Return tokens that were not made by who has the secret."""
    data = base64.urlsafe_b64decode(token)
    bent = [bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]]) for at in range(len(data))]
    longer = msgspec.msgpack.encode(msgspec.structs.replace(HOST, expires=NOW + 1e9))
    bent += [data[:-1], data + b"\0", data[:32], data[:32] + longer, b"", bytes(32)]
    return [base64.urlsafe_b64encode(each).decode() for each in bent] + ["", "!", "ü" * 40, "a" * 4001, "a b"]


def test_a_forged_token_opens_nothing() -> None:
    mine = Sessions(SECRET)
    token = mine.open(HOST)
    for each in forged(token):
        with pytest.raises(LoggedOut):
            mine.find(header(each), "host", NOW)
    for said in (None, "", token, f"Basic {token}", f"bearer {token}", f"Bearer  {token}"):
        with pytest.raises(LoggedOut):
            mine.find(said, "host", NOW)
    assert not mine._seen


def test_a_challenge_is_no_token() -> None:
    mine = Sessions(SECRET)
    challenge = mine.challenge(NOW)
    turned = base64.urlsafe_b64encode(challenge[24:] + challenge[:24]).decode()
    with pytest.raises(LoggedOut):
        mine.find(header(turned), "host", NOW)


@pytest.mark.parametrize("seen_before", [True, False])
@pytest.mark.parametrize(
    ("jump_s", "good"),
    [(TOKEN_S - 1, True), (TOKEN_S + 1, False), (3600.0, False), (-3600.0, True), (-3600.0 - 1.0, False)],
)
def test_when_the_date_jumps(jump_s: float, good: bool, seen_before: bool) -> None:
    """Ahead: log in again. Back by up to an hour: what is out lasts longer. Further: log in again."""
    assert SLACK_S == 3600.0
    mine = Sessions(SECRET)
    token = header(mine.open(HOST))
    if seen_before:
        assert mine.find(token, "host", NOW) == HOST
    if good:
        assert mine.find(token, "host", NOW + jump_s) == HOST
    else:
        with pytest.raises(LoggedOut):
            mine.find(token, "host", NOW + jump_s)


def test_revoked_keys_are_shut_out_seen_or_not() -> None:
    mine, other = Sessions(SECRET), Sessions(SECRET)
    friend = msgspec.structs.replace(HOST, key=b"f" * 32)
    tokens = [header(mine.open(each)) for each in (HOST, friend)]
    assert mine.find(tokens[0], "host", NOW) == HOST
    for each in (mine, other):
        each.drop_keys({HOST.key})
        with pytest.raises(LoggedOut):
            each.find(tokens[0], "host", NOW)
        assert each.find(tokens[1], "host", NOW) == friend


async def test_a_challenge_is_used_once_at_any_process() -> None:
    noted: set[bytes] = set()

    async def remember(challenge: bytes, expires: float) -> bool:
        assert expires == NOW + CHALLENGE_S
        fresh = challenge not in noted
        noted.add(challenge)
        return fresh

    mine, other = Sessions(SECRET, remember), Sessions(SECRET, remember)
    challenge = mine.challenge(NOW)
    await other.use(challenge, NOW + CHALLENGE_S)
    for each in (mine, other):
        with pytest.raises(Replayed):
            await each.use(challenge, NOW)


@pytest.mark.parametrize(("jump_s", "good"), [(59.0, True), (61.0, False), (-3600.0, True), (-3601.0, False)])
async def test_a_challenge_lasts_a_minute(jump_s: float, good: bool) -> None:
    mine = Sessions(SECRET)
    challenge = mine.challenge(NOW)
    if good:
        await mine.use(challenge, NOW + jump_s)
    with pytest.raises(Replayed):
        await mine.use(challenge, NOW + jump_s)


async def test_used_challenges_are_remembered_as_long_as_they_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_USED", 4)
    mine = Sessions(SECRET)
    out = [mine.challenge(NOW) for _ in range(8)]
    for challenge in out:
        await mine.use(challenge, NOW)
    assert len(mine._used) == 4
    with pytest.raises(Replayed):
        await mine.use(out[-1], NOW)
    await mine.use(mine.challenge(NOW + 100.0), NOW + 100.0)
    assert len(mine._used) == 1


async def test_bent_challenges_are_refused() -> None:
    mine = Sessions(SECRET)
    challenge = mine.challenge(NOW)
    for bent in (b"", challenge[:-1], challenge + b"\0", bytes(56), bytes(24) + challenge[24:]):
        with pytest.raises(Replayed):
            await mine.use(bent, NOW)
    with pytest.raises(Replayed):
        await Sessions().use(challenge, NOW)
    await mine.use(challenge, NOW)


def test_a_token_of_a_hosted_driver_drives_one_run_and_no_other() -> None:
    mine = Sessions(SECRET)
    driver = Session(role=DRIVER, key=b"k" * 32, expires=NOW + TOKEN_S, run=5)
    token = header(mine.open(driver))
    assert Sessions(SECRET).find_driver(token, 5, NOW) == driver
    with pytest.raises(NotAllowed, match="good for run 5 alone"):
        mine.find_driver(token, 6, NOW)
    for role in ("researcher", "host"):
        with pytest.raises(NotAllowed, match="not a driver's"):
            mine.find(token, role, NOW)
    with pytest.raises(LoggedOut):
        mine.find_driver(token, 5, NOW + TOKEN_S + 1.0)
    with pytest.raises(NotAllowed):
        mine.find_driver(header(mine.open(HOST)), 5, NOW)
    researcher = msgspec.structs.replace(HOST, role="researcher", host=0, volunteer=0)
    assert mine.find_driver(header(mine.open(researcher)), 6, NOW) == researcher
    mine.drop_keys({driver.key})
    with pytest.raises(LoggedOut):
        mine.find_driver(token, 5, NOW)
