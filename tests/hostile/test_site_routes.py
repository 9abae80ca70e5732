"""Every route of the site, as its router has them: what each answer carries, and what is refused to whom."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
import pytest_asyncio
from aiohttp import ClientSession, DummyCookieJar, web
from seeded_site import NOW, Site, seeded, serve
from sqlalchemy import event, select
from yarl import URL

from dsage_server.seeding.people import Size
from dsage_server.store import visits
from dsage_server.store.schema import discovery, host, metadata, passkey, team, volunteer, web_session
from dsage_server.store.visits import Role
from dsage_server.web.public import PAGES
from dsage_server.web.slugs import slug_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

TINY: Final = Size(volunteers=20, days=7, ledger=1000)
PRIVATE: Final = re.compile(r"/(me|admin|runs|tokens)\b")
OPEN: Final = re.compile(r"/(look|logout/.*|me/recover|me/passkey/ask|me/passkey|login/.*|join/qr|certify)")
"""Unsafe routes for visitors who are not logged in."""
SAFE: Final = ("GET", "HEAD")
OUR_OWN: Final = {"Sec-Fetch-Site": "same-origin"}
PASSKEYS: Final = (("POST", "/me/passkey/ask"), ("POST", "/me/passkeys/ask"))
FOREIGN: Final = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": ""},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://[evil"},
    {"Origin": "http://localhost.evil.example"},
    {"Referer": "https://evil.example/"},
)
STRANGE: Final = (
    "' OR 1=1 --", '"; DROP TABLE volunteer; --', "') UNION SELECT token_hash FROM web_session --", "%", "_", "\\", "*",
    "1e400", "-1", "0", "9" * 40, str(2**63 - 1), str(2**62), "0x10", "\u0661", "\U0001f600",
    "%00", "%ff", "../../etc/passwd", "a" * 3000, "\u202e", "?page=2&x#y", "{{7*7}}", "1;2", "None", "true", "[]",
)  # fmt: skip
FORM: Final = "application/x-www-form-urlencoded"
LONG: Final = b"do=create&name=" + b"%E2%80%AE" * 400 + b"&country=XX&number=-1&text=" + b"x" * 9000
TIMES: Final = b"begins=inf&ends=-1e400&hours=1e999&minutes=nan&text=x&do=lead&link=https%3A%2F%2F%5B"
ODD: Final = b'{"credential": {"id": 1, "response": []}, "name": {"a": 1}, "id": [], "rawId": 7, "response": null}'
LONE: Final = b'{"id": "\\ud800", "rawId": "%%%", "type": "public-key", "response": {"clientDataJSON": "AA"}}'
FORMS: Final = (
    (b"\xff\xfe=\xff", FORM),
    (b"do=%00&name=%00&code=%00&text=%00&begins=%00&number=%00", FORM),
    (b"&".join([b"a=b"] * 5000), FORM),
    (LONG, FORM), (TIMES, FORM), (b"x" * 70_000, FORM), (b"a=b", f"{FORM}; charset=nonsense"),
    (b"ab", "multipart/form-data"), (b"ab", "multipart/form-data; boundary=x"),
    (b"[" * 30_000, "application/json"), (ODD, "application/json"), (LONE, "application/json"), (b"", ""),
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> AsyncIterator[Site]:
    """A site with people and work of all kinds."""
    assert pytestconfig.cache is not None
    async with serve(
        tmp_path_factory.mktemp("routes"), seeded(pytestconfig.cache.mkdir("seeded"), TINY), researchers=True
    ) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    """Somebody whose program keeps no cookies."""
    async with ClientSession(cookie_jar=DummyCookieJar()) as opened:
        yield opened


def token(site: Site, role: Role, subject: str | None = None) -> str:
    """Return the cookie of a browser that has just logged in."""
    who = site.subject(role) if subject is None else subject
    return f"__Host-{role}=" + site.store.write_now(lambda c: visits.begin(c, role, who, "link", NOW))


def everybody(site: Site, number: int | None = None) -> str:
    """Return the cookies of a browser that has just logged in as everything, as a volunteer of some number."""
    subjects = {Role.VOLUNTEER: None if number is None else str(number)}
    return "; ".join(token(site, role, subjects.get(role)) for role in Role)


def somebody_else(site: Site) -> int:
    """Return a volunteer who is not listed."""
    hides = select(volunteer.c.id).where(~volunteer.c.public, volunteer.c.id != site.volunteer).limit(1)
    number: int = site.store.read_now(lambda c: c.execute(hides).scalar_one())
    return number


def samples(site: Site) -> dict[str, list[str]]:
    """Return what may stand for the variables of an address."""

    def look(connection: Any) -> list[str]:
        return [slug_of(row.id, row.name) for row in connection.execute(select(team.c.id, team.c.name).limit(1))]

    return {
        "number": ["1"], "unit": ["1"], "name": [site.pseudonym, "dsage.css", "user.gz"], "code": ["c" * 43],
        "slug": ["factor", *site.store.read_now(look)], "role": ["operator"], "form": ["", ".json", ".live"],
        "hash": ["0" * 64], "kind": ["csv", "json"], "act": ["pause", "cancel"],
    }  # fmt: skip


def addresses(resource: web.AbstractResource, known: dict[str, list[str]]) -> Iterator[str]:
    """Yield addresses that a route has; one at least."""
    info = resource.get_info()
    if "path" in info:
        yield info["path"]
        return
    form, pattern = info["formatter"], info["pattern"]
    names = re.findall(r"{(\w+)}", form)
    for values in itertools.product(*(known.get(name, ["1", "x"]) for name in names)):
        path = form.format(**dict(zip(names, values, strict=True)))
        if pattern.fullmatch(path):
            yield path


def routes(site: Site) -> list[tuple[str, str]]:
    """Return every method with every kind of address."""
    known = samples(site)
    found = []
    for route in site.app.router.routes():
        assert route.resource is not None
        paths = [*addresses(route.resource, known)]
        assert paths, f"nothing is known to stand in {route.resource.canonical}"
        found += [(route.method, path) for path in paths]
    return found


def unsafe(site: Site) -> list[tuple[str, str]]:
    """Return those that change something; logging out comes last."""
    return sorted((each for each in routes(site) if each[0] not in SAFE), key=lambda each: "/logout" in each[1])


def rows(site: Site) -> dict[str, set[tuple[Any, ...]]]:
    """Return what is in the tables, but for when browsers were seen last."""

    def look(connection: Any) -> dict[str, set[tuple[Any, ...]]]:
        found = {}
        for table in metadata.sorted_tables:
            columns = [column for column in table.columns if table is not web_session or column.name == "id"]
            found[table.name] = {tuple(row) for row in connection.execute(select(*columns))}
        return found

    return site.store.read_now(look)


async def ask(session: ClientSession, site: Site, method: str, path: str, **said: Any) -> tuple[int, Any, bytes]:
    """Make a request; return status, headers and body (the first bytes of a stream)."""
    url = URL(site.address + path, encoded=True)
    async with session.request(method, url, allow_redirects=False, **said) as answer:
        stream = answer.content_type == "text/event-stream"
        return answer.status, answer.headers, await (answer.content.readany() if stream else answer.read())


def policy_of(headers: Any) -> dict[str, list[str]]:
    """Return the directives of a Content-Security-Policy."""
    said = [part.split() for part in headers["Content-Security-Policy"].split(";")]
    return {name: sources for name, *sources in said}


async def test_every_answer_carries_a_strict_policy_whoever_asks(site: Site, session: ClientSession) -> None:
    before = None
    for cookie in (everybody(site), ""):
        before = before or rows(site)
        good = 0
        for method, path in routes(site):
            if method not in SAFE:
                continue
            status, headers, _ = await ask(session, site, method, path, headers={"Cookie": cookie})
            assert status < 500, path
            good += status == 200
            policy = policy_of(headers)
            assert policy["default-src"] == ["'self'"], path
            assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == ["'none'"]
            assert policy["form-action"] == ["'self'"]
            sources = {source for each in policy.values() for source in each}
            assert sources <= {"'self'", "'none'", "data:"}, path
            assert "data:" not in {*policy.get("script-src", ()), *policy["default-src"]}
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "same-origin"
            if PRIVATE.match(path):
                assert headers["Cache-Control"] == "no-store", path
                assert "ETag" not in headers
        assert good > 60
    assert rows(site) == before, "looking has changed something"


async def test_nothing_is_done_for_another_site(site: Site, session: ClientSession) -> None:
    cookie = everybody(site)
    before = rows(site)
    for (method, path), foreign in itertools.product(unsafe(site), FOREIGN):
        said = {"Cookie": cookie, "Accept": "application/json"} | foreign
        status, _, body = await ask(session, site, method, path, headers=said, data=b"sure=on&do=leave")
        assert (status, b'"code":"not-allowed"' in body, b"another site" in body) == (403, True, True), (path, foreign)
    assert rows(site) == before


@pytest.mark.parametrize("who", ["nobody", "another", "forger"])
async def test_nothing_is_done_for_who_has_no_business_there(site: Site, session: ClientSession, who: str) -> None:
    before = rows(site)
    done = []
    for method, path in unsafe(site):
        if OPEN.fullmatch(path):
            continue
        role = Role.OPERATOR if path.startswith("/admin") else Role.RESEARCHER
        role = Role.VOLUNTEER if path.startswith("/me") else role
        cookie = {
            "nobody": "", "forger": f"__Host-{role}=1; __Host-{role}=' OR 1=1 --",
            "another": f"__Host-{role}=" + token(site, next(each for each in Role if each is not role)).split("=")[1],
        }[who]  # fmt: skip
        status, _, _ = await ask(session, site, method, path, headers=OUR_OWN | {"Cookie": cookie}, data=b"sure=on")
        if status not in (401, 403, 404):
            done.append((path, status))
    assert not done
    after = rows(site)
    del before["web_session"], after["web_session"]
    assert after == before


async def test_no_form_makes_a_page_fail(site: Site, session: ClientSession) -> None:
    failed = []
    number = somebody_else(site)
    for body, kind in FORMS:
        cookie = everybody(site, number)
        for method, path in unsafe(site):
            headers = OUR_OWN | {"Cookie": cookie, "Content-Type": kind}
            status, _, _ = await ask(session, site, method, path, headers=headers, data=body)
            if status >= 500:
                failed.append((path, kind, body[:40], status))
    assert not failed


async def test_no_parameter_makes_a_page_fail_or_find_more(site: Site, session: ClientSession) -> None:
    cookie = everybody(site)
    before = rows(site)
    named = {name for page in PAGES for name in page.params} | {"did", "me", "show", "unit"}
    failed = []
    paths = sorted({path for method, path in routes(site) if method in SAFE and "." not in path})
    asked = [f"{path}?{name}={{}}" for path in paths for name in named if _takes(path, name)]
    asked += [_hollow(route.resource) for route in site.app.router.routes() if route.method == "GET" and route.resource]
    for form, value in itertools.product(dict.fromkeys(asked), STRANGE):
        said = value if re.fullmatch("%[0-9a-f]{2}", value) else _quoted(value)
        path = re.sub(r"{\w*}", said.replace("\\", r"\\"), form.replace("{form}", ""))
        status, _, _ = await ask(session, site, "GET", path, headers={"Cookie": cookie})
        if status not in (200, 303, 400, 404, 409):
            failed.append((path[:120], status))
    assert not failed
    assert rows(site) == before


def _takes(path: str, name: str) -> bool:
    for page in PAGES:
        if name in page.params:
            pattern = re.sub(r"\\{\w+(:[^{}]*)?\\}|{\w+(:[^{}]*)?}", "[^/]+", page.route)
            if re.fullmatch(pattern + r"(\.json)?", path):
                return True
    if name in ("page", "state", "unit") and PRIVATE.match(path):
        return True
    return name in ("did", "me", "show") and path in ("/me", "/admin/hosts", "/leaderboard", "/me/privacy")


def _hollow(resource: web.AbstractResource) -> str:
    info = resource.get_info()
    return str(info.get("path") or info["formatter"])


def _quoted(value: str) -> str:
    return URL.build(path="/", query={"x": value}).raw_query_string.removeprefix("x=").replace("/", "%2F")


@pytest.mark.parametrize("name", ["[", "a/b?c#d@e", "localhost:99999999", "<x-evil>", "\u00e9.example", "a" * 3000])
async def test_no_host_makes_a_page_fail(site: Site, session: ClientSession, name: str) -> None:
    cookie = everybody(site)
    told = {"Cookie": cookie, "Host": name, "X-Forwarded-Host": name, "X-Forwarded-Proto": name, "Forwarded": name}
    for method, path in [*(each for each in routes(site) if each[0] == "GET"), *PASSKEYS]:
        status, _, body = await ask(session, site, method, path, headers=OUR_OWN | told)
        assert status < 500, path
        assert b"<x-evil>" not in body


async def test_a_search_takes_no_wildcards(site: Site, session: ClientSession) -> None:
    for path in ("/leaderboard.json?q=", "/teams.json?q="):
        found = [await ask(session, site, "GET", path + said) for said in ("%25", "%5F", "zzzz", "%5C")]
        assert {status for status, _, _ in found} == {200}, path
        assert len({re.sub(rb'"q": ?"[^"]*"', b"", body) for _, _, body in found}) == 1, path


def hidden(site: Site) -> tuple[str, int, int]:
    """Return a volunteer who is not listed, a discovery that is not published, and another's computer."""

    def look(connection: Any) -> tuple[str, int, int]:
        private = select(volunteer.c.pseudonym).where(~volunteer.c.public).limit(1)
        candidate = select(discovery.c.id).where(discovery.c.published.is_(None)).limit(1)
        others = select(host.c.id).where(host.c.volunteer_id != site.volunteer, host.c.gone.is_(None)).limit(1)
        name, number, machine = (connection.execute(each).scalar_one() for each in (private, candidate, others))
        return name, number, machine

    return site.store.read_now(look)


async def test_what_is_private_looks_like_what_is_missing(site: Site, session: ClientSession) -> None:
    """The same bytes, the same headers, and the same questions to the database, which is what takes time."""
    name, number, machine = hidden(site)
    cookie = everybody(site)
    other_one = somebody_else(site)
    browser = token(site, Role.VOLUNTEER, str(other_one))
    other = site.store.read_now(lambda c: c.execute(select(web_session.c.id).order_by(web_session.c.id.desc()))).first()
    assert browser
    assert other is not None
    site.store.write_now(
        lambda c: c.execute(
            passkey.insert().values(
                id=7,
                volunteer_id=other_one,
                credential=b"c",
                public_key=b"k",
                sign_count=0,
                name="n",
                created=NOW,
            )
        )
    )
    used = site.link(Role.OPERATOR).removeprefix(site.address)
    await ask(session, site, "POST", used, headers=OUR_OWN)
    missing = 987_654
    pairs = [("GET", f"/u/{name}{form}", f"/u/nobody-here-000{form}") for form in ("", ".json", ".svg")]
    pairs += [("GET", f"/discovery/{number}{form}", f"/discovery/{missing}{form}") for form in ("", ".json", ".svg")]
    pairs += [("GET", used, "/login/" + "x" * 43), ("POST", used, "/login/" + "x" * 43)]
    acts = ("/me/devices/{}/revoke", "/me/browsers/{}/end", "/me/passkeys/{}/remove")
    for act, one in zip(acts, (machine, other.id, 7), strict=True):
        pairs.append(("POST", act.format(one), act.format(missing)))
    asked: list[str] = []

    def listener(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        asked.append(re.sub(r"savepoint_\d+", "", statement))

    for engine in (site.store._reader, site.store._writer):
        event.listen(engine, "before_cursor_execute", listener)
    for method, private, absent in pairs:
        found = []
        for path in (private, absent):
            asked.clear()
            status, headers, body = await ask(session, site, method, path, headers=OUR_OWN | {"Cookie": cookie})
            ours = {key: value for key, value in headers.items() if key not in ("Date", "Content-Length")}
            last = path.rstrip("/").split("/")[3 if path.startswith("/me/") else 2].partition(".")[0]
            found.append((status, ours, re.sub(rb"(?<=[ /])%s\b" % last.encode(), b"*", body), tuple(asked)))
        assert found[0] == found[1], private
        assert found[0][0] == 404, private


@pytest.mark.parametrize("role", list(Role))
async def test_a_login_is_kept_in_a_cookie_that_only_this_host_gets(
    site: Site, session: ClientSession, role: Role
) -> None:
    path = site.link(role).removeprefix(site.address)
    for method in ("GET", "HEAD", "GET"):
        status, headers, _ = await ask(session, site, method, path)
        assert (status, "Set-Cookie" in headers) == (200, False)
    held = token(site, role)
    status, headers, _ = await ask(session, site, "POST", path, headers=OUR_OWN | {"Cookie": held})
    assert status == 303
    [cookie] = headers.getall("Set-Cookie")
    given, *attributes = cookie.split("; ")
    assert {each.partition("=")[0] for each in attributes} == {"HttpOnly", "Max-Age", "Path", "SameSite", "Secure"}
    assert {"Path=/", "SameSite=Lax"} <= set(attributes)
    name, _, value = given.partition("=")
    assert name == f"__Host-{role}"
    assert len(value) >= 43
    assert given != held, "a token that somebody brought along is taken over"
    assert (await ask(session, site, "POST", path, headers=OUR_OWN))[0] == 404
    assert not any(value in str(each) for found in rows(site).values() for each in found)
    status, headers, _ = await ask(session, site, "POST", f"/logout/{role}", headers=OUR_OWN | {"Cookie": given})
    assert status == 303
    gone = headers.getall("Set-Cookie")
    assert [each for each in gone if each.startswith(f'{name}=""') and "Max-Age=0" in each and "Secure" in each]
    home = {Role.VOLUNTEER: "/me.json", Role.OPERATOR: "/admin.json"}.get(role)
    if home:
        assert (await ask(session, site, "GET", home, headers={"Cookie": given}))[0] == 401
