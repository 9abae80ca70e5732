"""Every error that DSage raises on purpose, in one tree.

    DSageError
    |-- UsageError            what the person typed or the author wrote cannot be done as it stands
    |   |-- CodecError        a value that cannot travel, or bytes that are not a value
    |   `-- BundleError       source that cannot be packed, or a package that is not one of ours
    |-- TrustError            a signature, a role, a version or an expiry does not hold
    |   |-- BadSignature      the bytes are not what the key signed
    |   |-- WrongRole         a good key, used for something it may not do
    |   |-- WrongPath         a Merkle path that does not lead to the signed root
    |   |-- RolledBack        an older version than one already seen
    |   |-- Expired           past its date
    |   |-- WrongServer       made for another server
    |   |-- Replayed          a challenge or token used twice, or too late
    |   `-- Revoked           a key or an app version that its signer has withdrawn
    |-- RequestError          a server refused a request
    |   |-- NotFound, NotAllowed, Conflict, TooLarge, TooOld, InviteRefused,
    |   |   WrongMethod, WrongRange, QuotaExceeded
    |   |   `-- Reopened      a Conflict: an answer of a driver's step does not hold any more
    |   `-- Busy              try again after `retry_s`
    |       `-- TooMany       one's own fault: more requests than one may make
    |-- ServerAway            no answer: this server must wait
    |-- NoServer              no server is known here
    |-- NoAgent               no client runs here
    |-- RunEnded              a run ended without its answer
    |   |-- RunFailed         with a reason
    |   `-- RunCancelled      by somebody's wish
    |-- TimedOut              what was waited for did not happen in time
    |-- UnitFailed            this unit failed here; the client goes on with the next
    |   `-- InstructionMissing  this computer's processor cannot run the app at all
    |-- SandboxRefused        strangers' work cannot run safely on this machine
    |-- StorageFull           the disk has no room for what must be kept
    `-- MustStop              the client must stop: continuing would lose or break something

Each class carries a stable `code` (all stand in docs/errors.md), the HTTP `status` that an API answers
with, the exit status of the command line, and a `hint` that says what to do next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class DSageError(Exception):
    """Anything that DSage refuses or fails to do, in one sentence, with what to do next."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_status: ClassVar[int] = 1
    default_hint: ClassVar[str] = "Run the command again with --debug and report what it prints."

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint


class UsageError(DSageError):
    """What was asked for cannot be done as it stands."""

    code = "usage"
    status = 400
    exit_status = 2
    default_hint = "Add --help to the command to see what it takes."


class CodecError(UsageError):
    """A value cannot travel between machines, or bytes received are not a value."""

    code = "codec"
    default_hint = "Use None, booleans, numbers, text, bytes, dates, lists, sets, dicts, dataclasses or numpy arrays."


class BundleError(UsageError):
    """Source code that cannot be packed, or a bundle that is not well formed."""

    code = "bundle"
    exit_status = 5
    default_hint = "Give a Python file or the name of a project from the gallery."


class TrustError(DSageError):
    """A signature chain does not hold; nothing it covers was used."""

    code = "trust"
    status = 403
    exit_status = 4
    default_hint = "Do not go on with this server; ask its operator for a new invite link."


class BadSignature(TrustError):
    """The bytes are not what the key signed."""

    code = "trust.signature"


class WrongRole(TrustError):
    """The key is genuine but may not sign this."""

    code = "trust.role"


class WrongPath(TrustError):
    """The Merkle path does not lead from this unit to the signed root."""

    code = "trust.path"


class RolledBack(TrustError):
    """A version lower than one already seen."""

    code = "trust.rollback"


class Expired(TrustError):
    """Past its expiry date (or not valid yet)."""

    code = "trust.expired"
    default_hint = (
        "Check the clocks of this computer and of the server; if both are right, the operator must renew the signature."
    )


class WrongServer(TrustError):
    """Signed for another server."""

    code = "trust.server"


class Replayed(TrustError):
    """A challenge, code or token that was used before or has run out."""

    code = "trust.replay"
    status = 401
    default_hint = "Log in again."


class Revoked(TrustError):
    """A key or app version that was withdrawn."""

    code = "trust.revoked"
    default_hint = "Nothing to do: the work was withdrawn by the people who signed it."


class RequestError(DSageError):
    """The server refused a request."""

    code = "request"
    status = 400
    default_hint = "Update this program; if it is current, report the message."


class NotFound(RequestError):
    """No such run, unit, document or page."""

    code = "not-found"
    status = 404
    exit_status = 3
    default_hint = "`dsage status` lists what there is."


class WrongMethod(RequestError):
    """There is something at this address, but it cannot be asked in this way."""

    code = "method"
    status = 405
    default_hint = "The header Allow names the methods that there are; /api/v1/openapi.json describes each."


class WrongRange(RequestError):
    """The part that was asked for lies behind the end."""

    code = "range"
    status = 416
    default_hint = "The header Content-Range says how long the whole is."


class NotAllowed(RequestError):
    """Not logged in, or not with a key that may do this."""

    code = "not-allowed"
    status = 403
    exit_status = 4
    default_hint = "Log in with a key that the operator has certified (`dsage keys status`)."


class LoggedOut(NotAllowed):
    """The token is unknown or has run out; a new login is all it takes."""

    code = "logged-out"
    status = 401


class Conflict(RequestError):
    """Somebody else changed it first."""

    code = "conflict"
    status = 409
    exit_status = 7
    default_hint = "Look at its state again (`dsage watch`), then decide."


class Reopened(Conflict):
    """An answer that the step rests on does not hold any more: the driver goes on from its last committed step."""

    code = "reopened"
    default_hint = "Nothing to do: drivers go on by themselves."


class TooLarge(RequestError):
    """More bytes than this request may have."""

    code = "too-large"
    status = 413
    default_hint = "Make the units or their results smaller."


class TooOld(RequestError):
    """This program's protocol version is no longer served."""

    code = "too-old"
    status = 426
    default_hint = "Update DSage on this computer, then start it again."


class InviteRefused(RequestError):
    """The invite code is wrong, used up or out of date."""

    code = "invite"
    status = 403
    exit_status = 4
    default_hint = "Ask the operator for a fresh link (`dsage invite`)."


class QuotaExceeded(RequestError):
    """This would be more than one researcher may have at a time."""

    code = "quota"
    status = 403
    exit_status = 10
    default_hint = "End or retire some runs, or ask the operator for more (`dsage admin quota`)."


class Busy(RequestError):
    """The server has too much to do; it says when to come back."""

    code = "busy"
    status = 503
    exit_status = 6
    default_hint = "Try again later."

    def __init__(self, message: str, *, hint: str | None = None, retry_s: float = 5.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_s = retry_s


class TooMany(Busy):
    """More requests in a short time than one caller may make; it says when the next one is let through."""

    code = "too-many"
    status = 429
    default_hint = "Ask less often: the headers RateLimit and RateLimit-Policy say how much is left."


class ServerAway(DSageError):
    """The server gave no answer."""

    code = "server-away"
    status = 504
    exit_status = 6
    default_hint = "Check the address and that `dsage serve` is running; finished work is kept and sent later."


class NoServer(DSageError):
    """No server is known here: nobody has logged in."""

    code = "no-server"
    status = 404
    exit_status = 6
    default_hint = "Run `dsage serve` here, or `dsage login LINK` for another computer's; local() needs neither."


class NoAgent(DSageError):
    """No client runs on this computer, or not for this home."""

    code = "no-agent"
    status = 404
    exit_status = 6
    default_hint = "Start it: `dsage join`, or `systemctl --user start dsage` where it was installed as a package."


class RunEnded(DSageError):
    """A run ended without its answer."""

    code = "run-ended"
    exit_status = 8
    default_hint = "`dsage show ID` says more; mend the code and submit again, or `dsage retry ID`."


class RunFailed(RunEnded):
    """A run, a call or a unit of it was given up, with the reason."""

    code = "run-failed"


class RunCancelled(RunEnded):
    """A run was cancelled before it had its answer."""

    code = "run-cancelled"
    exit_status = 9
    default_hint = "Submit it again, if it was not you who cancelled it."


class TimedOut(DSageError, TimeoutError):
    """What was waited for did not happen in time; it goes on."""

    code = "timed-out"
    status = 504
    exit_status = 6
    default_hint = "Wait again: nothing was stopped. kill() stops it."


class UnitFailed(DSageError):
    """One unit failed on this computer; the next one may well succeed."""

    code = "unit-failed"
    default_hint = "Nothing to do: another computer gets this unit."


class InstructionMissing(UnitFailed):
    """The app was built for processors with instructions that this computer's lacks."""

    code = "instruction"
    default_hint = "Nothing to do: other computers do this app's work, and this one other work."


class SandboxRefused(DSageError):
    """This machine cannot run strangers' code safely, so it does not."""

    code = "sandbox"
    exit_status = 4
    default_hint = "Install bubblewrap and start the client as an ordinary user; docs/volunteers.md says more."


class StorageFull(DSageError):
    """The disk has no room for what must be kept, or may only be read."""

    code = "storage-full"
    status = 507
    default_hint = "Free some disk space; work goes on by itself when there is room."


class MustStop(DSageError):
    """The client must stop: going on would lose or break something."""

    code = "must-stop"
    default_hint = "Read the sentence above, mend it, then start the client again."


def class_of(code: object) -> type[DSageError] | None:
    """Return the class that has this code, None if none has."""
    return next((kind for kind in _tree(DSageError) if kind.code == code), None)


def _tree(kind: type[DSageError]) -> Iterator[type[DSageError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _tree(child)
