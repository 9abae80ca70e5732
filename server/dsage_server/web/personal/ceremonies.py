"""The two ceremonies of WebAuthn: a browser makes a passkey for this site, and proves later that it has one.

A passkey is bound to the host name of the pages (its RP id), is found without any name typed, and may ask for a finger
or a PIN. What an authenticator is, nobody here asks. (https://www.w3.org/TR/webauthn-3/.)
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import webauthn
from sqlalchemy import Connection
from webauthn.helpers import base64url_to_bytes, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from dsage.errors import NotAllowed, Replayed
from dsage_server.store import passkeys
from dsage_server.web.personal import challenges

LOGIN: Final = "login"
_PREFERRED: Final = UserVerificationRequirement.PREFERRED


class Place(NamedTuple):
    """Where the pages are: the origin that browsers see, and the host name that passkeys are bound to."""

    origin: str
    host: str

    @property
    def fits(self) -> bool:
        """Whether there can be passkeys: over TLS or on this computer, under a name and no bare address."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.origin.startswith("https://") or self.host == "localhost" or self.host.endswith(".localhost")
        return False


def place_of(origin: str) -> Place:
    """Return the place of an origin such as https://lab.example:8443; of none that makes sense, where nothing fits."""
    try:
        return Place(origin, urlsplit(origin).hostname or "")
    except ValueError:
        return Place("", "")


def ask_for_new(connection: Connection, place: Place, site: str, number: int, name: str, login: int, now: float) -> str:
    """Return what a browser needs to make a passkey, as JSON; good for the `login` that asks."""
    known = [PublicKeyCredentialDescriptor(id=each.credential) for each in passkeys.of(connection, number)]
    options = webauthn.generate_registration_options(
        rp_id=place.host, rp_name=site, user_name=name, user_id=challenges.handle_of(connection, number),
        challenge=challenges.make(connection, f"new {login}", now), exclude_credentials=known,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=_PREFERRED
        ),
    )  # fmt: skip
    return webauthn.options_to_json(options)


def take_new(
    connection: Connection, place: Place, number: int, answer: dict[str, Any], name: str, login: int, now: float
) -> None:
    """Keep the passkey that a browser made. Raises NotAllowed, Replayed, Conflict."""
    try:
        challenge = _challenge_of(answer)
        made = webauthn.verify_registration_response(
            credential=answer, expected_challenge=challenge, expected_rp_id=place.host, expected_origin=place.origin
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise _refused(error) from None
    challenges.use(connection, challenge, f"new {login}", now)
    passkeys.add(connection, number, made.credential_id, made.credential_public_key, made.sign_count, name, now)


def ask_for_proof(connection: Connection, place: Place, now: float) -> str:
    """Return what a browser needs to prove that it has a passkey, whosever, as JSON."""
    options = webauthn.generate_authentication_options(
        rp_id=place.host, challenge=challenges.make(connection, LOGIN, now), user_verification=_PREFERRED
    )
    return webauthn.options_to_json(options)


def take_proof(connection: Connection, place: Place, answer: dict[str, Any], now: float) -> int:
    """Return the volunteer whose passkey a browser has proven to have. Raises NotAllowed, Replayed."""
    try:
        challenge = _challenge_of(answer)
        known = passkeys.find(connection, base64url_to_bytes(answer["id"]))
        if known is None:
            raise NotAllowed("this passkey is not known here", hint="It was removed, or made for another account.")
        proven = webauthn.verify_authentication_response(
            credential=answer, expected_challenge=challenge, expected_rp_id=place.host, expected_origin=place.origin,
            credential_public_key=known.public_key, credential_current_sign_count=known.sign_count,
        )  # fmt: skip
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise _refused(error) from None
    challenges.use(connection, challenge, LOGIN, now)
    if not passkeys.note_use(connection, known, proven.new_sign_count, now):
        raise Replayed("this passkey was used elsewhere at this very moment", hint="Try once more.")
    return known.volunteer_id


def _challenge_of(answer: dict[str, Any]) -> bytes:
    """Return the challenge that an answer says it is to."""
    return parse_client_data_json(base64url_to_bytes(answer["response"]["clientDataJSON"])).challenge


def _refused(error: Exception) -> NotAllowed:
    return NotAllowed(f"the passkey could not be checked: {str(error)[:200]}", hint="Try once more, or another way in.")
