"""What is asked of a server: one method for each request of a researcher's programs, the login taken care of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from dsage import blobs
from dsage.connection import Body, Connection, Query, login
from dsage.errors import BadSignature, LoggedOut, NotAllowed
from dsage.trust.envelope import Envelope, hash_of
from dsage.trust.keys import PrivateKey
from dsage.wire import (
    Answers,
    Attempt,
    Chosen,
    CreditLine,
    DescribeProject,
    DiscoveryView,
    Drive,
    Event,
    Finder,
    Hello,
    PageLink,
    ProjectView,
    Remainder,
    Replay,
    RunView,
    StatusView,
    Step,
    StepReply,
    TokenView,
    TokenWish,
    UnitPage,
)

SLACK_S: Final = 30.0
"""How much longer than its wait a held call may take."""
LOGINS: Final = 100
"""Logins that sending one file may take: a token lasts a quarter of an hour, and then the upload goes on."""

T = TypeVar("T")


class Requests:
    """The requests of one researcher at one server, whose id is `server_id`; `key` is asked for at the first login.

    Whoever has no key that the server knows may look all the same, and is told of runs what everybody is. With an API
    token (`dsage token new`) that is used instead, as far as it goes, and nobody logs in.
    """

    def __init__(self, conn: Connection, server_id: str, key: Callable[[], PrivateKey], api_token: str = "") -> None:
        self._conn = conn
        self._server_id = server_id
        self._signer = key
        self._api_token = api_token
        self._token: str | None = api_token or None
        self._is_nobody = False
        """Whether this computer has no key, or the server does not know it: then looking tries no further login."""

    async def sign_in(self) -> str:
        """Log in with the code key and return the name that the server has it certified under."""
        reply = await login(self._conn, self._signer(), "researcher", self._server_id)
        self._token = reply.token
        return reply.name

    async def hello(self) -> Hello:
        """Return who the server is."""
        return await self._conn.call("GET", "/v1/hello", None, Hello)

    async def page(self, run: int) -> str:
        """Return the address of a run's page."""
        return f"{(await self.hello()).pages_url.rstrip('/')}/run/{run}"

    async def about(self) -> dict[str, str]:
        """Return how many volunteers' computers are there now."""
        return {"computers": str((await self.status()).hosts_live)}

    async def status(self) -> StatusView:
        """Return the server at a glance."""
        return await self._looked("/v1/status", StatusView)

    async def leaderboard(self) -> list[CreditLine]:
        """Return who is to be thanked."""
        return await self._conn.call("GET", "/v1/leaderboard", None, list[CreditLine])

    async def runs(self) -> list[RunView]:
        """Return every run."""
        return await self._looked("/v1/runs", list[RunView])

    async def run(self, run: int) -> RunView:
        """Return one run. Raises NotFound."""
        return await self._looked(f"/v1/runs/{run}", RunView)

    async def events(self, run: int, *, after: int = 0, wait_s: float = 0.0) -> list[Event]:
        """Return what happened after event number `after`, waiting up to `wait_s` seconds for it."""
        query = {"after": after, "wait": wait_s}
        return await self._looked(f"/v1/runs/{run}/events", list[Event], query=query, timeout_s=wait_s + SLACK_S)

    async def finders(self, run: int, units: Iterable[int]) -> list[Finder]:
        """Return whose machines brought the answers of these units."""
        query = [("unit", unit) for unit in units]
        return await self._looked(f"/v1/runs/{run}/finders", list[Finder], query=query)

    async def credit(self, run: int) -> dict[str, int]:
        """Return thousandths of credit by pseudonym; "a volunteer" sums those who have not opted in."""
        return await self._looked(f"/v1/runs/{run}/credit", dict[str, int])

    async def document(self, sha256: str) -> Envelope:
        """Return a signed app version or authorisation. Raises BadSignature if it is not the one named."""
        envelope = await self._conn.call("GET", f"/v1/documents/{sha256}", None, Envelope)
        if hash_of(envelope) != sha256:
            raise BadSignature(f"the server sent another document than {sha256[:12]}")
        return envelope

    async def drive(self, run: int) -> Drive:
        """Take a run over: older drivers get Conflict from now on."""
        return await self._authed("POST", f"/v1/runs/{run}/drive", None, Drive)

    async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> Answers:
        """Return the answers that no step has folded, waiting up to `wait_s` seconds for one."""
        query = {"fence": fence, "wait": wait_s, "hungry": int(hungry)}
        timeout_s = wait_s + SLACK_S
        path = f"/v1/runs/{run}/answers"
        return await self._authed("GET", path, None, Answers, query=query, timeout_s=timeout_s)

    async def step(self, run: int, step: Step) -> StepReply:
        """Commit a step."""
        return await self._authed("POST", f"/v1/runs/{run}/steps", step, StepReply, timeout_s=60.0)

    async def units(self, run: int, *, after: int = 0, state: str = "", limit: int = 200) -> UnitPage:
        """Return units of a run of one's own, by id above `after`, of one state or (empty) all; at most `limit`."""
        query: Query = {"after": after, "limit": limit, "state": state}
        return await self._authed("GET", f"/v1/runs/{run}/units", None, UnitPage, query=query)

    async def attempts(self, run: int, *, unit: int = 0) -> list[Attempt]:
        """Return the copies of one unit of a run of one's own, or (0) the newest ones of all its units."""
        return await self._authed("GET", f"/v1/runs/{run}/attempts", None, list[Attempt], query={"unit": unit})

    async def remainder(self, run: int, *, after: int = 0) -> Remainder:
        """Return what no step of a run of one's own has folded, by unit id above `after`."""
        return await self._authed("GET", f"/v1/runs/{run}/remainder", None, Remainder, query={"after": after})

    async def replay(self, run: int, *, fence: int) -> Drive:
        """Go back to before the first answer that does not hold any more was folded."""
        return await self._authed("POST", f"/v1/runs/{run}/replay", Replay(fence=fence), Drive)

    async def upload(self, path: Path) -> str:
        """Send a file, unless the server has it, and return its SHA-256.

        Raises as `dsage.blobs.upload`, and OSError if the file cannot be read.
        """

        async def call() -> str:
            return await blobs.upload(self._conn, self._token or "", path)

        for _ in range(1 if self._api_token else LOGINS):
            with suppress(LoggedOut):
                return await self._signed_in(call)
        raise LoggedOut(f"the server took no login while {path.name} was sent")

    async def cancel(self, run: int) -> None:
        """Cancel a run."""
        await self._authed("POST", f"/v1/runs/{run}/cancel", None, None)

    async def host(self, run: int) -> None:
        """Let the server drive a run of one's own, in place of whoever does."""
        await self._authed("POST", f"/v1/runs/{run}/host", None, None)

    async def pause(self, run: int) -> None:
        """Let a run give out no more work; what volunteers have goes on."""
        await self._authed("POST", f"/v1/runs/{run}/pause", None, None)

    async def approve(self, run: int) -> None:
        """Let a new researcher's first run go on. Raises NotAllowed if it is one's own or of another project."""
        await self._authed("POST", f"/v1/runs/{run}/approve", None, None)

    async def described(self, project: str) -> ProjectView:
        """Return what is said of a project. Raises NotFound if nothing is."""
        return await self._conn.call("GET", f"/v1/projects/{project}", None, ProjectView)

    async def describe(self, project: str, said: DescribeProject) -> ProjectView:
        """Say what a project is for. Raises NotAllowed if the key is not certified for it."""
        return await self._authed("PUT", f"/v1/projects/{project}", said, ProjectView)

    async def resume(self, run: int) -> None:
        """Let a paused run go on."""
        await self._authed("POST", f"/v1/runs/{run}/resume", None, None)

    async def retry(self, run: int, units: Iterable[int] = ()) -> None:
        """Try failed units again (none named: all of them), and the run goes on if it had failed."""
        await self._authed("POST", f"/v1/runs/{run}/retry", Chosen(units=list(units)), None)

    async def reopen(self, run: int, units: Iterable[int]) -> None:
        """Refuse the accepted answers of units: they are computed again, and the run takes the old ones back."""
        await self._authed("POST", f"/v1/runs/{run}/reopen", Chosen(units=list(units)), None)

    async def discoveries(self) -> list[DiscoveryView]:
        """Return what one's own runs have discovered, newest first, published or not."""
        return await self._authed("GET", "/v1/discoveries", None, list[DiscoveryView])

    async def publish(self, discovery: int) -> DiscoveryView:
        """Show a confirmed discovery of one's own to everybody. Raises Conflict if it is not confirmed."""
        return await self._authed("POST", f"/v1/discoveries/{discovery}/publish", None, DiscoveryView)

    async def retire(self, run: int) -> None:
        """Free what a run that ended keeps on the server but its answer and its credit."""
        await self._authed("POST", f"/v1/runs/{run}/retire", None, None)

    async def page_link(self) -> PageLink:
        """Return an address that logs a browser in to the researcher's own pages, once, within a minute."""
        return await self._authed("POST", "/v1/researcher/page-link", None, PageLink)

    async def tokens(self) -> list[TokenView]:
        """Return one's tokens for programs, without their secrets."""
        return await self._authed("GET", "/v1/researcher/tokens", None, list[TokenView])

    async def make_token(self, wish: TokenWish) -> TokenView:
        """Return a new token for a program, with its secret. Raises UsageError, Conflict if there are too many."""
        return await self._authed("POST", "/v1/researcher/tokens", wish, TokenView)

    async def revoke_token(self, number: int) -> TokenView:
        """Let a token open nothing any more. Raises NotFound."""
        return await self._authed("POST", f"/v1/researcher/tokens/{number}/revoke", None, TokenView)

    async def _looked(self, path: str, reply: type[T], *, timeout_s: float = 30.0, query: Query | None = None) -> T:
        """Ask what anybody may, in one's own name if there is a key for it: a run's researcher is told more.

        Raises LoggedOut for an API token that does not work any more.
        """

        async def call() -> T:
            return await self._conn.call("GET", path, None, reply, token=self._token, timeout_s=timeout_s, query=query)

        if self._token is None:
            await self._introduced()
        try:
            return await call()
        except LoggedOut:
            if self._api_token:
                raise
            self._token = None
            await self._introduced()
            return await call()

    async def _introduced(self) -> None:
        """Log in, if there is a key here that the server knows."""
        if not self._is_nobody:
            try:
                await self.sign_in()
            except NotAllowed:
                self._is_nobody = True

    async def _authed(
        self,
        method: str,
        path: str,
        body: Body,
        reply: type[T] | None,
        *,
        timeout_s: float = 30.0,
        query: Query | None = None,
    ) -> T:
        async def call() -> Any:
            token = self._token
            return await self._conn.call(
                method, path, body, reply or bytes, token=token, timeout_s=timeout_s, query=query
            )

        return await self._signed_in(call)

    async def _signed_in(self, call: Callable[[], Awaitable[T]]) -> T:
        if self._token is not None:
            try:
                return await call()
            except LoggedOut:
                if self._api_token:
                    raise
                self._token = None
        await self.sign_in()
        return await call()
