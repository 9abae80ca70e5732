"""The paths of the machine API (docs/protocol.md describes the conversation)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from aiohttp import web
from sqlalchemy import text

from dsage import wire
from dsage.bundle import MAX_BUNDLE_BYTES
from dsage.errors import (
    BadSignature,
    BundleError,
    Busy,
    CodecError,
    Conflict,
    Expired,
    InviteRefused,
    NotAllowed,
    NotFound,
    QuotaExceeded,
    Reopened,
    Replayed,
    Revoked,
    SandboxRefused,
    TrustError,
    WrongRange,
    WrongRole,
    WrongServer,
)
from dsage.states import IllegalMove
from dsage.trust.ceremony import load_root
from dsage.trust.documents import Authorisation, Enrolment, Login, Manifest, Root
from dsage.trust.envelope import Envelope, open_as, signers
from dsage_server.api.accounts import Accounts
from dsage_server.api.bearers import Bearers
from dsage_server.api.callers import visitor
from dsage_server.api.declared import DRIVER, HOST, IN_PARTS, JSON, OF_PARTS, RESEARCHER, Sealed, call, calls_of
from dsage_server.api.discoveries import Discoveries
from dsage_server.api.http import Handler, Reply, body, manners, number, read_capped, reply, seconds
from dsage_server.api.limits import BY_KEY, BY_NETWORK, Limits, tell
from dsage_server.api.looking import Looking
from dsage_server.api.openapi import PATH, Description
from dsage_server.api.projects import Projects
from dsage_server.api.researchers import Researchers
from dsage_server.api.views import Views, asked_run
from dsage_server.blobs.routes import BlobApi, send
from dsage_server.blobs.uploads import Uploads
from dsage_server.certified import certified
from dsage_server.hub import Hub
from dsage_server.published import Published
from dsage_server.sessions import CHALLENGE_S, TOKEN_S, Session
from dsage_server.store import hosts

MAX_GREETING_BYTES = 16 << 10
"""An enrolment or login, of somebody whom nobody knows yet."""
UNTRUSTED = (TrustError, BadSignature, WrongRole, Expired, WrongServer, Replayed, Revoked)
"""What is wrong with signed documents."""
REFUSED = (CodecError, BundleError, Conflict, QuotaExceeded)
"""What is wrong with a run or a step."""
ASKED = {"fence": wire.Count, "wait": wire.Seconds, "hungry": Literal["0", "1"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The handlers. `ca_file` and `root_file` are public documents, served as they lie on the disk.

    `operator` is who answers for the server, `visited` whether its pages are open to visitors; who follows an invite
    link to here is sent on to them.
    """

    hub: Hub
    uploads: Uploads
    name: str
    pages_url: str
    ca_file: Path
    root_file: Path
    published: Published
    limits: Limits
    description: Description
    operator: str = ""
    visited: bool = False

    def app(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(middlewares=[manners], client_max_size=wire.MAX_BODY_BYTES)
        self.limits.add_to(app)
        bearers = Bearers(self.hub)
        app.middlewares.append(bearers.look)
        app.add_routes(
            [
                web.get("/healthz", self.health),
                web.get("/v1/ca", self.ca),
                web.get("/join", self.join),
                web.get("/v1/hello", self.hello),
                web.get("/v1/root", self.root),
                web.post("/v1/challenge", self.challenge),
                web.post("/v1/enrol", self.enrol),
                web.post("/v1/login", self.login),
                web.post("/v1/exchange", self.exchange),
                web.get("/v1/documents/{hash}", self.document),
                web.get("/v1/bundles/{hash}", self.get_bundle),
                web.put("/v1/bundles/{hash}", self.put_bundle),
                web.post("/v1/runs", self.submit),
                web.post("/v1/runs/{run}/drive", self.drive),
                web.get("/v1/runs/{run}/answers", self.answers),
                web.post("/v1/runs/{run}/steps", self.step),
                web.post("/v1/runs/{run}/cancel", self.cancel),
                web.post("/v1/runs/{run}/host", self.host),
                web.post("/v1/runs/{run}/pause", self.pause),
                web.post("/v1/runs/{run}/resume", self.resume),
                web.post("/v1/runs/{run}/retry", self.retry),
                web.post("/v1/runs/{run}/reopen", self.reopen),
                web.post("/v1/runs/{run}/retire", self.retire),
                web.post("/v1/runs/{run}/replay", self.replay),
            ]
        )
        app.add_routes(Views(hub=self.hub, name=self.name, asks=bearers.asks).routes())
        app.add_routes(Looking(hub=self.hub, who=self._who).routes())
        app.add_routes(Projects(hub=self.hub, who=self._who).routes())
        app.add_routes(Researchers(hub=self.hub, who=self._who, pages_url=self.pages_url).routes())
        app.add_routes(Discoveries(hub=self.hub, who=self._who, pages_url=self.pages_url).routes())
        about = wire.About(
            server_id=self.hub.server_id, name=self.name, operator=self.operator,
            pages_url=self.pages_url if self.visited else "",
        )  # fmt: skip
        accounts = Accounts(
            hub=self.hub, who=self._who, about=about, published=self.published, pages_url=self.pages_url
        )  # fmt: skip
        app.add_routes(accounts.routes())
        app.add_routes(BlobApi(blobs=self.hub.blobs, uploads=self.uploads, who=self._who).routes())
        app.add_routes([web.get(PATH, self.description.serve)])
        self.description.api_calls.extend(calls_of(app))
        return app

    def hot(self) -> Mapping[tuple[str, str], Handler]:
        """Return what is served before any router is asked, by method and path."""

        async def exchange(request: web.Request) -> web.StreamResponse:
            response = await manners(request, partial(self.limits.guard, handler=self.exchange))
            if not isinstance(response, Reply):
                await tell(request, response)  # there is no application that would signal it
            return response

        return {("POST", "/v1/exchange"): exchange}

    @call(gives=dict[str, str], media=JSON)
    async def health(self, request: web.Request) -> web.Response:
        """Whether callers should be sent to this process: its database answers, and it is not about to end."""
        if self.hub.closing:
            raise Busy("this server is stopping")
        await self.hub.store.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    # -- meeting ---------------------------------------------------------------------------------------------

    @call(gives=bytes, media="application/x-pem-file")
    async def ca(self, request: web.Request) -> web.Response:
        """The CA's certificate; who asks checks it against the hash in the invite."""
        if not self.ca_file.is_file():
            raise NotFound("this server has no CA of its own")
        return web.Response(body=self.ca_file.read_bytes(), content_type="application/x-pem-file")

    @call(status=303)
    async def join(self, request: web.Request) -> web.Response:
        """Somebody follows an invite link in a browser: the pages explain it, and keep what stands after its #."""
        raise web.HTTPSeeOther(f"{self.pages_url}/join")

    @call(gives=wire.Hello)
    async def hello(self, request: web.Request) -> web.Response:
        """Who this server is, and which protocols it speaks."""
        hub = self.hub
        return reply(
            wire.Hello(
                server_id=hub.server_id, name=self.name,
                protocols=list(range(wire.OLDEST_PROTOCOL, wire.PROTOCOL + 1)),
                root_version=hub.chain.root.version, time=hub.clock(),
                pages_url=self.pages_url,
            )
        )  # fmt: skip

    @call(gives=Sealed(Root))
    async def root(self, request: web.Request) -> web.Response:
        """The root.json in force."""
        return reply(load_root(self.root_file))

    @call(gives=wire.ChallengeReply)
    async def challenge(self, request: web.Request) -> web.Response:
        """A single-use number to sign."""
        fresh = self.hub.sessions.challenge(self.hub.clock())
        return reply(wire.ChallengeReply(challenge=fresh, server_id=self.hub.server_id, valid_s=CHALLENGE_S))

    @call(takes=Sealed(Enrolment), gives=wire.EnrolReply, errors=(*UNTRUSTED, NotAllowed, InviteRefused, Conflict))
    async def enrol(self, request: web.Request) -> web.Response:
        """A new volunteer's key joins by an invite code."""
        envelope = await body(request, Envelope, MAX_GREETING_BYTES)
        enrolment = open_as(envelope, Enrolment, signers(envelope)[:1])
        await self._check_fresh(enrolment)
        if signers(envelope)[:1] != [enrolment.key]:
            raise NotAllowed("the enrolment is not signed by the key that it names")
        now, peer = self.hub.clock(), visitor(request)
        known = await self.hub.store.write(
            lambda c: hosts.enrol(
                c, enrolment.key, enrolment.code, _shown(enrolment), now, peer, name=enrolment.pseudonym
            )
        )
        if enrolment.key not in self.hub.chain.root.revoked_keys:
            self.hub.sessions.readmit(enrolment.key)
        return reply(wire.EnrolReply(volunteer=known.volunteer, pseudonym=known.pseudonym))

    @call(takes=Sealed(Login), gives=wire.LoginReply, errors=(*UNTRUSTED, NotAllowed))
    async def login(self, request: web.Request) -> web.Response:
        """A proof of a key, for a token."""
        hub = self.hub
        envelope = await body(request, Envelope, MAX_GREETING_BYTES)
        login = open_as(envelope, Login, signers(envelope)[:1])
        await self._check_fresh(login)
        if signers(envelope)[:1] != [login.key]:
            raise NotAllowed("the login is not signed by the key that it names")
        session, name = await self._session(login.role, login.key, hub.clock() + TOKEN_S)
        return reply(wire.LoginReply(token=hub.sessions.open(session), valid_s=TOKEN_S, name=name))

    async def _check_fresh(self, greeting: Enrolment | Login) -> None:
        if greeting.server_id != self.hub.server_id or not self.hub.chain.accepts_ca(greeting.ca):
            raise WrongServer("this was signed for another server")
        await self.hub.sessions.use(greeting.challenge, self.hub.clock())

    async def _session(self, role: str, key: bytes, expires: float) -> tuple[Session, str]:
        """Return who logs in, and the name to call them by."""
        if key in self.hub.chain.root.revoked_keys:
            raise NotAllowed("this key was revoked")
        if role == "host":
            known = await self.hub.store.read(lambda c: hosts.find(c, key))
            if known is None:
                raise NotAllowed("this key has not enrolled", hint="Join again with an invite link.")
            session = Session(role=role, key=key, expires=expires, host=known.host, volunteer=known.volunteer)
            return session, known.pseudonym
        if role != "researcher":
            raise NotAllowed(f"nobody logs in as {role[:40]!r}")
        return Session(role=role, key=key, expires=expires), certified(self.hub.chain, key, self.hub.clock()).name

    # -- volunteers' hosts -----------------------------------------------------------------------------------

    @call(takes=wire.Exchange, gives=wire.ExchangeReply, auth=HOST, errors=UNTRUSTED)
    async def exchange(self, request: web.Request) -> web.Response:
        """Report, renew, fetch: the one call of a client."""
        session = self._who(request, "host")
        return reply(await self.hub.exchange(session, await body(request, wire.Exchange)))

    @call(gives=Sealed(Manifest, Authorisation))
    async def document(self, request: web.Request) -> web.Response:
        """A signed manifest or authorisation by its hash."""
        return reply(await self.hub.document(request.match_info["hash"]))

    @call(gives=bytes, also=IN_PARTS, headers=OF_PARTS, errors=(WrongRange,))
    async def get_bundle(self, request: web.Request) -> web.StreamResponse:
        """A bundle by its hash."""
        return await send(request, self.hub.blobs, request.match_info["hash"])

    # -- researchers -----------------------------------------------------------------------------------------

    @call(takes=bytes, auth=RESEARCHER, errors=(BundleError, Conflict, QuotaExceeded))
    async def put_bundle(self, request: web.Request) -> web.Response:
        """Keep a bundle under its hash."""
        self._who(request, "researcher")
        data = await read_capped(request, MAX_BUNDLE_BYTES)
        await self.hub.requests.store_bundle(request.match_info["hash"], data)
        return web.Response(status=204)

    @call(takes=wire.SubmitRun, gives=wire.RunCreated, auth=RESEARCHER, errors=(*UNTRUSTED, *REFUSED, SandboxRefused))
    async def submit(self, request: web.Request) -> web.Response:
        """Create a run."""
        session = self._who(request, "researcher")
        return reply(await self.hub.requests.submit(session, await body(request, wire.SubmitRun)))

    @call(gives=wire.Drive, auth=DRIVER, scope="write", errors=(Conflict,))
    async def drive(self, request: web.Request) -> web.Response:
        """Become the driver of a run."""
        return reply(await self.hub.requests.drive(self._driver(request), asked_run(request)))

    @call(gives=wire.Answers, auth=DRIVER, scope="write", query=ASKED, required=("fence",), errors=(Conflict,))
    async def answers(self, request: web.Request) -> web.Response:
        """What the driver can fold."""
        session = self._driver(request)
        query = request.query
        return reply(
            await self.hub.requests.answers(
                session, asked_run(request), number(query.get("fence", ""), "fence"),
                seconds(query.get("wait")), query.get("hungry") == "1",
            )
        )  # fmt: skip

    @call(takes=wire.Step, gives=wire.StepReply, auth=DRIVER, scope="write", errors=(*REFUSED, Reopened, Revoked))
    async def step(self, request: web.Request) -> web.Response:
        """Commit a step."""
        session = self._driver(request)
        return reply(await self.hub.requests.step(session, asked_run(request), await body(request, wire.Step)))

    @call(auth=RESEARCHER, scope="write", errors=(IllegalMove,))
    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel a run."""
        await self.hub.requests.cancel(self._who(request, "researcher"), asked_run(request))
        return web.Response(status=204)

    @call(auth=RESEARCHER, scope="write", errors=(Conflict, SandboxRefused))
    async def host(self, request: web.Request) -> web.Response:
        """Let the server drive a run."""
        await self.hub.requests.host(self._who(request, "researcher"), asked_run(request))
        return web.Response(status=204)

    def _driver(self, request: web.Request) -> Session:
        """Return the session of whoever may drive the run that the path names."""
        return Bearers(self.hub).driver(request, asked_run(request))

    @call(auth=RESEARCHER, scope="write", errors=(Conflict,))
    async def pause(self, request: web.Request) -> web.Response:
        """Let a run give out no more work."""
        await self.hub.control.pause(self._who(request, "researcher"), asked_run(request))
        return web.Response(status=204)

    @call(auth=RESEARCHER, scope="write", errors=(Conflict,))
    async def resume(self, request: web.Request) -> web.Response:
        """Let a paused run go on."""
        await self.hub.control.resume(self._who(request, "researcher"), asked_run(request))
        return web.Response(status=204)

    @call(takes=wire.Chosen, auth=RESEARCHER, scope="write", errors=(Conflict, Revoked))
    async def retry(self, request: web.Request) -> web.Response:
        """Try failed units of a run again."""
        session = self._who(request, "researcher")
        await self.hub.control.retry(session, asked_run(request), await body(request, wire.Chosen))
        return web.Response(status=204)

    @call(takes=wire.Chosen, auth=RESEARCHER, scope="write", errors=(Conflict,))
    async def reopen(self, request: web.Request) -> web.Response:
        """Refuse the accepted answers of units of a run."""
        session = self._who(request, "researcher")
        await self.hub.control.reopen(session, asked_run(request), await body(request, wire.Chosen))
        return web.Response(status=204)

    @call(takes=wire.Replay, gives=wire.Drive, auth=DRIVER, scope="write", errors=(Conflict,))
    async def replay(self, request: web.Request) -> web.Response:
        """Take a run back to before an answer that does not hold any more."""
        session = self._driver(request)
        asked = await body(request, wire.Replay)
        return reply(await self.hub.requests.replay(session, asked_run(request), asked.fence))

    @call(auth=RESEARCHER, scope="write", errors=(Conflict,))
    async def retire(self, request: web.Request) -> web.Response:
        """Free what a run that ended keeps here."""
        await self.hub.control.retire(self._who(request, "researcher"), asked_run(request))
        return web.Response(status=204)

    def _who(self, request: web.Request, role: str) -> Session:
        return Bearers(self.hub).who(request, role)


def limits_of(hub: Hub) -> Limits:
    """Return the limits of the machine API: whoever has a token is known by its key."""

    def key_of(request: web.Request) -> bytes | None:
        session = hub.sessions.known(request.headers.get("Authorization"), hub.clock())
        return None if session is None else session.key

    return Limits(BY_NETWORK, BY_KEY, address_of=visitor, key_of=key_of, free=("/healthz",), ticks=hub.ticks)


def _shown(enrolment: Enrolment) -> wire.Privacy:
    discoveries = enrolment.public if enrolment.discoveries is None else enrolment.discoveries
    return wire.Privacy(leaderboard=enrolment.public, discoveries=discoveries)
