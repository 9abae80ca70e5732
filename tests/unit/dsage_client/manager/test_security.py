"""Who is let in, and everybody who is not."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from manager_visit import Visit
from owner_stand import CODE, LINK

from dsage.errors import DSageError
from dsage_client.manager.security import LINK_S, MAX_FORM, MAX_LINKS, SESSION_S, Visitors

PAGES = ("", "history", "servers", "preferences", "log", "join", "leave?server=lab")
ACTS = ("pause", "resume", "finish", "always", "preferences", "server", "join", "agree", "leave", "link")


async def test_a_one_time_address_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(stranger: Visit) -> None:
    answer = await stranger.ask(stranger.link())
    assert answer.status == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert f"Path={answer.headers['location']}" in cookie
    assert "Domain" not in cookie
    assert len(answer.headers["location"]) > 16
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_the_second_use_of_an_address_is_refused(stranger: Visit) -> None:
    link = stranger.link()
    assert (await stranger.ask(link)).status == 303
    answer = await stranger.ask(link)
    assert answer.status == 403
    assert "set-cookie" not in answer.headers


async def test_two_at_once_with_one_address_one_gets_in(stranger: Visit) -> None:
    link = stranger.link()
    answers = await asyncio.gather(*(stranger.ask(link) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [303, 403, 403, 403, 403]


async def test_an_address_is_good_for_a_minute(stranger: Visit) -> None:
    early, late = stranger.link(), stranger.link()
    stranger.clock[0] += LINK_S
    assert (await stranger.ask(early)).status == 303
    stranger.clock[0] += 0.1
    assert (await stranger.ask(late)).status == 403


async def test_looking_at_the_head_of_an_address_does_not_use_it(stranger: Visit) -> None:
    link = stranger.link()
    assert (await stranger.ask(link, method="HEAD")).status == 405
    assert (await stranger.ask(link)).status == 303


@pytest.mark.parametrize("secret", ["", "x", "%00", "%2e%2e", "x" * 5000])
async def test_a_guessed_address_is_refused(stranger: Visit, secret: str) -> None:
    answer = await stranger.ask(f"/open/{secret}")
    assert answer.status in (401, 403, 404)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("page", PAGES)
async def test_without_the_cookie_nothing_is_shown(stranger: Visit, page: str) -> None:
    await stranger.enter()
    stranger.cookie = ""
    for path in (stranger.room + page, f"/{page}", "/elsewhere/"):
        answer = await stranger.ask(path)
        assert answer.status == 401
        assert "steady-otter" not in answer.text
    for cookie in ("dsage_manager=", "dsage_manager=guess", "other=1"):
        stranger.cookie = cookie
        assert (await stranger.page(page)).status == 401


@pytest.mark.parametrize("act", ACTS)
async def test_without_the_cookie_nothing_is_done(stranger: Visit, act: str) -> None:
    await stranger.enter()
    key, stranger.cookie = await stranger.key(), ""
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    answer = await stranger.ask(stranger.room + act, method="POST", headers=headers, body=f"form_key={key}")
    assert answer.status == 401
    assert stranger.owner.asked == []


async def test_a_session_ends_when_nobody_has_come_by_for_half_a_day(visit: Visit) -> None:
    visit.clock[0] += SESSION_S - 1
    assert (await visit.page("")).status == 200
    visit.clock[0] += SESSION_S - 1
    assert (await visit.page("")).status == 200
    visit.clock[0] += SESSION_S + 1
    assert (await visit.page("")).status == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "localhost.evil.example", "0.0.0.0:{port}",
     "192.168.1.2:{port}", "127.0.0.1@evil.example", "[::1]:{port}", "127.0.0.1:{port}/x", "127.0.0.1:99999",
     "", "2130706433:{port}"],
)  # fmt: skip
async def test_a_foreign_name_is_sent_away_whatever_it_asks_for(visit: Visit, host: str) -> None:
    link = visit.link()
    for path in (visit.room, link, "/static/manager.css"):
        answer = await visit.ask(path, headers={"Host": host.format(port=visit.site.port)})
        assert answer.status in (421, 400)
        assert "steady-otter" not in answer.text
    assert (await visit.ask(link)).status == 303


async def test_the_port_may_be_another_one_so_that_ssh_can_forward_it(visit: Visit) -> None:
    assert (await visit.ask(visit.room, headers={"Host": "localhost:9000"})).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": ""},
    ],
)
@pytest.mark.parametrize("act", ["pause", "preferences", "leave"])
async def test_a_form_from_another_page_is_refused(visit: Visit, headers: dict[str, str], act: str) -> None:
    answer = await visit.post(act, [("server", "lab")], headers)
    assert answer.status == 403
    assert visit.owner.asked == []


async def test_a_browser_that_does_not_say_whence_must_name_this_origin(visit: Visit) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"form_key={await visit.key()}"
    for origin in ({}, {"Origin": "null"}, {"Origin": "http://localhost:1"}, {"Origin": "http://evil.example"}):
        answer = await visit.ask(visit.room + "finish", method="POST", headers=kind | origin, body=body)
        assert answer.status == 403
    assert visit.owner.asked == []
    ours = kind | {"Origin": visit.origin}
    assert (await visit.ask(visit.room + "finish", method="POST", headers=ours, body=body)).status == 303
    assert visit.owner.asked == [("finish",)]


@pytest.mark.parametrize("key", ["", "guess", "%C3%A9"])
@pytest.mark.parametrize("act", ACTS)
async def test_a_form_without_the_key_is_refused(visit: Visit, act: str, key: str) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    answer = await visit.ask(visit.room + act, method="POST", headers=headers, body=f"form_key={key}&server=lab")
    assert answer.status == 403
    assert visit.owner.asked == []


async def test_forms_are_of_one_kind_and_size(visit: Visit) -> None:
    assert (await visit.post("pause", headers={"Content-Type": "multipart/form-data; boundary=x"})).status == 400
    assert (await visit.post("pause", headers={"Content-Type": "application/json"})).status == 400
    assert (await visit.post("pause", [("x", "y" * MAX_FORM)])).status == 413
    assert (await visit.post("pause", [("x", "")] * 5000)).status == 400
    assert visit.owner.asked == []
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"\xff\xfe=1", b"form_key", b"a=%ff", b""):
        answer = await visit.ask(visit.room + "pause", method="POST", headers=headers, body=body)
        assert answer.status in (400, 403)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_other_methods_do_nothing(visit: Visit, method: str) -> None:
    answer = await visit.ask(visit.room + "pause", method=method, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status == 405
    assert visit.owner.asked == []


@pytest.mark.parametrize("act", [act for act in ACTS if act not in ("preferences", "join", "leave")])
async def test_an_address_alone_changes_nothing(visit: Visit, act: str) -> None:
    assert (await visit.page(act)).status in (404, 405)
    assert visit.owner.asked == []


@pytest.mark.parametrize(
    "path",
    ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "%2e%2e%2f%2e%2e%2fsettings.py", "....//app.py", "/etc/passwd",
     "%2fetc%2fpasswd", "..%5capp.py", "README.md", "manager.css%00.py", "pico.LICENSE.md", "", "."],
)  # fmt: skip
async def test_only_the_files_that_pages_need_are_served(stranger: Visit, path: str) -> None:
    answer = await stranger.ask(f"/static/{path}")
    assert answer.status in (401, 404)
    assert "import" not in answer.text
    assert "root:" not in answer.text


async def test_every_answer_carries_the_strict_headers(visit: Visit) -> None:
    answers = [await visit.page(page) for page in PAGES]
    answers += [await visit.page("nothing"), await visit.ask("/"), await visit.ask("/static/manager.css")]
    answers += [await visit.post("pause", [("duration", "soon")]), await visit.ask(visit.link())]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cache-control"] in ("no-store", "no-cache")
        assert "aiohttp" not in answer.headers["server"].lower()
        assert " style=" not in answer.text
        assert " onclick=" not in answer.text
        assert "<script>" not in answer.text


async def test_no_key_and_no_code_stands_on_a_page(visit: Visit) -> None:
    texts = [(await visit.page(page)).text for page in PAGES]
    texts.append((await visit.post("join", [("link", f"{LINK}&code={CODE}")])).text)
    session = visit.cookie.partition("=")[2]
    for text in texts:
        assert CODE not in text
        assert session not in text


async def test_only_so_many_addresses_are_remembered() -> None:
    visitors = Visitors(lambda: 0.0)
    secrets = [visitors.mint() for _ in range(MAX_LINKS + 1)]
    with pytest.raises(DSageError):
        visitors.let_in(secrets[0])
    assert visitors.known(visitors.let_in(secrets[-1]))


async def test_too_many_open_pages_are_refused_and_the_others_go_on(visit: Visit) -> None:
    held = [
        await visit.session.get(f"{visit.origin}{visit.room}live?page=now", headers={"Cookie": visit.cookie})
        for _ in range(16)
    ]
    assert visit.live.open == 16
    assert (await visit.page("live?page=now")).status >= 400
    assert (await visit.page("")).status == 200
    for answer in held:
        answer.close()
    async with asyncio.timeout(10):
        while visit.live.open or visit.owner.followers:
            await asyncio.sleep(0.01)


def test_an_agent_without_an_open_page_has_not_loaded_the_pages() -> None:
    code = (
        "import sys, dsage_client.manager, dsage_client.station; "
        "sys.exit([name for name in ('jinja2', 'dsage_client.manager.app') if name in sys.modules] != [])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
