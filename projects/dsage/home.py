"""Where DSage keeps what belongs to one person on one machine, and the login file of a researcher.

The folder is `$DSAGE_HOME`, else `dsage` in the XDG data folder (`~/.local/share` by default).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from dsage.errors import NotFound, UsageError
from dsage.files import write_whole
from dsage.trust.invite import Link

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def default_folder() -> Path:
    """Return the folder that the environment names."""
    if own := os.environ.get("DSAGE_HOME"):
        return Path(own).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "dsage"


def is_plain(name: str) -> bool:
    """Say whether a key or a project may have this name: letters, digits, . _ and -, at most 64 of them."""
    return _PLAIN.fullmatch(name) is not None


@dataclass(frozen=True)
class Home:
    """The folders of one person: keys apart from the server's and the client's."""

    folder: Path = field(default_factory=default_folder)

    @property
    def keys(self) -> Path:
        """Keys that belong to people: `root.key`, `code-NAME.key`."""
        return self.folder / "keys"

    @property
    def server(self) -> Path:
        """What `dsage serve` keeps here."""
        return self.folder / "server"

    @property
    def client(self) -> Path:
        """What `dsage join` keeps here."""
        return self.folder / "client"

    @property
    def login(self) -> Path:
        """The login file of a researcher."""
        return self.folder / "login.json"

    @property
    def root_key(self) -> Path:
        """The root key, until it is moved away."""
        return self.keys / "root.key"

    @property
    def unit_key(self) -> Path:
        """The server's online key."""
        return self.server / "unit.key"

    @property
    def tls(self) -> Path:
        """The server's certificate authority and certificate."""
        return self.server / "tls"

    @property
    def root_file(self) -> Path:
        """root.json, the signed list of keys."""
        return self.server / "root.json"

    def code_key(self, name: str) -> Path:
        """Return the file of a code key. Raises UsageError for a name that is not a plain word."""
        if not is_plain(name):
            raise UsageError(f"{name!r} cannot be the name of a key", hint="Use letters, digits, . _ and -.")
        return self.keys / f"code-{name}.key"

    def code_key_names(self) -> list[str]:
        """Return the names of the code keys here, in order."""
        names = (path.name.removeprefix("code-").removesuffix(".key") for path in self.keys.glob("code-*.key"))
        return sorted(name for name in names if is_plain(name))


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Where a researcher submits: a server's link, and the name of the code key to sign with."""

    link: str
    key: str

    @property
    def server(self) -> Link:
        """The parsed link. Raises UsageError if the file was changed by hand."""
        return Link.parse(self.link)

    def save(self, home: Home) -> None:
        """Keep this as the login of `home`; the file is private."""
        write_whole(home.login, msgspec.json.format(msgspec.json.encode(self)), private=True)

    @classmethod
    def load(cls, home: Home) -> Login:
        """Read the login of `home`. Raises NotFound if there is none, UsageError if it is damaged."""
        try:
            login = msgspec.json.decode(home.login.read_bytes(), type=cls)
        except FileNotFoundError:
            raise NotFound(
                "this computer is not logged in to a DSage server", hint="Run `dsage login LINK` first."
            ) from None
        except msgspec.DecodeError as error:
            raise UsageError(f"{home.login} is damaged: {error}", hint="Run `dsage login LINK` again.") from None
        return login
