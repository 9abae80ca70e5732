"""What the owner may ask of the volunteer's account at one server, through the client's part for it."""

from __future__ import annotations

from dsage.errors import TrustError
from dsage.trust.invite import Link
from dsage.wire import LinkCode, PageLink, Privacy, TeamView, TeamWish
from dsage_client.addresses import web_address
from dsage_client.parts import Part


async def link(part: Part) -> str:
    """Return a link by which another computer joins the same account. Raises ServerAway."""
    code = await part.agent.session.ask("POST", "/v1/account/link", LinkCode)
    return _invite(part, code.code)


async def page(part: Part) -> str:
    """Return an address that logs a browser in. Raises ServerAway, TrustError."""
    given = (await part.agent.session.ask("POST", "/v1/account/page-link", PageLink)).url
    if not (address := web_address(given)):
        raise TrustError(f"{part.member.server.url} named a page that no browser should open")
    return address


async def privacy(part: Part, shown: Privacy) -> None:
    """Let others see this of the volunteer, and no more. Raises ServerAway."""
    held = await part.agent.session.ask("POST", "/v1/account/privacy", Privacy, shown)
    if part.account is not None:
        part.account.privacy = held
    await _ask_anew(part)


async def team(part: Part, wish: TeamWish | None) -> TeamView:
    """Return the volunteer's team after a wish about it; the code of an invite is made a link. Raises ServerAway."""
    if wish is None:
        return await part.agent.session.ask("GET", "/v1/account/team", TeamView)
    view = await part.agent.session.ask("POST", "/v1/account/team", TeamView, wish)
    view.code = view.code and _invite(part, view.code)
    await _ask_anew(part)
    return view


def _invite(part: Part, code: str) -> str:
    at = part.member.server
    return str(Link(at.url, at.server_id, at.ca, at.root, code))


async def _ask_anew(part: Part) -> None:
    part.asked, part.news = float("-inf"), True
    await part.refresh()
