"""The server's settings, read once at its start."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

LOG_FORMS: Final = ("text", "json")
"""Lines for people, or a JSON object a line."""


@dataclass(frozen=True, kw_only=True)
class Quota:
    """What one researcher may have at a time: open runs, units that have not ended, bytes of blobs."""

    runs: int = 1000
    open_units: int = 5_000_000
    blob_bytes: int = 100 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the server listens and what it allows. Ports of 0 mean any free one."""

    folder: Path
    """Database, bundles, TLS and the unit key."""
    store: str = ""
    """A PostgreSQL database instead of the SQLite file in `folder`, which remembers it: postgresql://..."""
    roles: frozenset[str] = frozenset({"api", "validator", "projector", "sweeper", "hosting"})
    """What this process does; fewer than all only with PostgreSQL (roles.py says what each means)."""
    name: str = "DSage"
    operator: str = ""
    """Who runs the server, as volunteers are told before they join."""
    listen: str = ""
    """Address of the machine API; empty: every address, IPv4 and IPv6."""
    port: int = 8470
    public: str = ""
    """The URL that clients should use; empty: https://HOSTNAME:PORT."""
    tls_cert: str = ""
    """The file of a certificate to show, with its chain; empty: one of the server's own CA."""
    tls_key: str = ""
    """The file of its key."""
    tls_ca: str = ""
    """What links pin: "system" or the file of a CA's certificate; empty: system with `tls_cert`, else the own CA."""
    pages: str = "localhost"
    """Address of the public pages (plain HTTP: put a proxy with TLS before it if it is not localhost)."""
    pages_port: int = 8471
    pages_url: str = ""
    """The URL under which visitors reach the pages; empty: http://PAGES:PORT."""
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose word is taken for where a caller comes from (X-Forwarded-For), besides programs of this computer."""
    metrics: str = ""
    """HOST:PORT where Prometheus may ask how the server stands, in plain HTTP; empty: nowhere."""
    traces: str = ""
    """The URL of an OpenTelemetry collector that gets a span for each request, by OTLP over HTTP; empty: none."""
    log_format: str = "text"
    """How the log is written: "text", or "json" for a JSON object a line."""
    sandbox_own: bool = False
    """Accept the weaker sandbox for checks, because every app here is the operator's own."""
    blobs: str = ""
    """Where bundles and inputs are kept: a directory or s3://BUCKET/PREFIX?endpoint=URL; empty: `blobs` in `folder`."""
    held_calls: int = 20_000
    """Calls held open at once for volunteers and drivers who wait; half of the files that may be open, if fewer."""
    archive_after_days: float = 0.0
    """Runs that ended so long ago leave the database for a file each; 0: never."""
    approve_first_runs: bool = False
    """The first run of a new researcher waits until another researcher of its project approves it."""
    quota_runs: int = Quota.runs
    """Runs that one researcher may have open; `dsage admin quota` sets it, and the next two, for one key."""
    quota_open_units: int = Quota.open_units
    """Units that have not ended, of all of a researcher's runs; four cancelled ones of open runs count as one."""
    quota_blob_bytes: int = Quota.blob_bytes
    """Input files, answers and programs that a researcher's runs need, and uploads that are under way."""
    max_blob_bytes: int = 1 << 30
    min_free_bytes: int = 256 << 20
    """A directory of blobs takes nothing that would leave less of its disk free."""

    @property
    def quota(self) -> Quota:
        """What each researcher may have, unless it was set for their key."""
        return Quota(runs=self.quota_runs, open_units=self.quota_open_units, blob_bytes=self.quota_blob_bytes)
