"""Forms that visitors send: read as the pages here send them, whatever else is said about them."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from dsage.errors import TooLarge, UsageError

MOST_FIELDS: Final = 100


async def form_of(request: web.Request) -> dict[str, str]:
    """Return the fields of a form by name. Raises UsageError for what no page here sends, files for instance; TooLarge
    as soon as more is announced than is taken."""
    if (request.content_length or 0) > request.client_max_size:
        raise TooLarge("that is larger than any form here")
    body = await request.read()
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise _refused() from None
    if "\0" in "".join(fields.values()):  # no database has room for it
        raise _refused()
    return fields


def _refused() -> UsageError:
    return UsageError("this cannot be read as a form", hint="Open the page here and use the form there.")
