"""Which request a line of the log belongs to: its id, and the log's two forms.

An id that a caller or proxy sends in X-Request-Id is kept if it is a plain word; otherwise one is made. The answer
carries it, and so does every line that is logged while the request is served.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

import msgspec
from aiohttp import web

HEADER: Final = "X-Request-Id"
NAME: Final = web.RequestKey("NAME", str)
"""Where a request keeps its id."""
TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s%(within)s"
_SANE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")

_current: ContextVar[str] = ContextVar("request", default="")
_prefix: Final = secrets.token_hex(2)
_numbers: Final = itertools.count(1)


def begin(request: web.BaseRequest) -> str:
    """Give a request its id, for the time that it is served."""
    given = request.headers.get(HEADER)
    name = given if given is not None and _SANE.fullmatch(given) else f"{_prefix}{next(_numbers):x}"
    request[NAME] = name
    _current.set(name)
    return name


def head_of(request: web.BaseRequest) -> bytes:
    """Return a request's id as a line of a head, for answers whose head is made by hand; empty if it has none."""
    name = request.get(NAME)
    return b"" if name is None else b"X-Request-Id: %s\r\n" % name.encode()


class _Within(logging.Filter):
    """Adds to each line the id of the request that it belongs to."""

    def filter(self, record: logging.LogRecord) -> bool:
        name = _current.get()
        record.__dict__ |= {"request": name, "within": f" [{name}]" if name else ""}
        return True


class Json(logging.Formatter):
    """A line of the log as one JSON object: `at` in UTC, `level`, `logger`, `message`, `request`, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage(),
        }  # fmt: skip
        if request := getattr(record, "request", ""):
            said["request"] = request
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(said).decode()


def log_to_stderr(form: str) -> None:
    """Log from now on to standard error, as "text" or "json"."""
    handler = logging.StreamHandler()
    handler.addFilter(_Within())
    handler.setFormatter(Json() if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
