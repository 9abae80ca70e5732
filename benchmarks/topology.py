"""The topology that packaging/ describes, as processes: two servers of one home, and a proxy as it is shipped."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from lab import Lab, wait_for

from dsage.trust import tls
from dsage_server.blobs.testing import KEYS
from dsage_server.store.testing import rows

PROXIES: Final = Path(__file__).resolve().parents[1] / "packaging" / "proxy"
NAME: Final = "science.example.org"
"""Whose name stands in what is shipped."""
OWN_PORTS: Final = (20_000, 32_000)
"""Below the ports that Linux chooses from for connections: those may be taken while a server starts again."""


def needs(program: str, package: str) -> str:
    """Return where a program is; without it the test is skipped, except under CI."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        assert "CI" not in os.environ, f"apt-get install {package}"
        pytest.skip(f"{program} is not installed here: apt-get install {package}")
    return found


def free_port() -> int:
    """Return a port that was free a moment ago, of those that the system gives to nobody by itself."""
    while True:
        port = random.randrange(*OWN_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Site(Lab):
    """The topology of compose.yaml as processes: two servers of one home, and a proxy that clients know."""

    def __init__(self, folder: Path, store: str, blobs: str) -> None:
        super().__init__(folder)
        self.variables = KEYS
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.servers: dict[str, subprocess.Popen[str]] = {}
        self.ports = {name: (free_port(), free_port()) for name in ("one", "two")}
        self.proxies: list[subprocess.Popen[bytes]] = []
        self._shared = ["--store", store, "--blobs", blobs]

    def serve(self, name: str, *more: str) -> None:
        """Start a server process and wait until it is ready."""
        api, pages = self.ports[name]
        self.listen = f"127.0.0.1:{api}"
        self.start_server("--public", self.url, "--pages", f"127.0.0.1:{pages}", *self._shared, *more)
        assert self.server is not None
        self.servers[name] = self.server

    def configured(self, path: Path, *further: tuple[str, str]) -> Path:
        """Return a shipped configuration of a proxy with this site's addresses."""
        text = path.read_text()
        for name, (api, pages) in self.ports.items():
            text = text.replace(f"{name}:8470", f"127.0.0.1:{api}").replace(f"{name}:8471", f"127.0.0.1:{pages}")
        for old, new in further:
            assert old in text, old
            text = text.replace(old, new)
        made = self.folder / path.name
        made.write_text(text)
        return made

    def proxy(self, *line: str) -> None:
        """Start a proxy and wait until it lets callers through."""
        with (self.folder / "proxy.log").open("w") as log:
            environment = {**os.environ, "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
            self.proxies.append(subprocess.Popen(line, stdout=log, stderr=log, env=environment))
        try:
            wait_for(lambda: health(self.url) or self.proxies[-1].poll() is not None)
        finally:
            assert self.proxies[-1].poll() is None, (self.folder / "proxy.log").read_text()

    def valid(self) -> int:
        """Return how many units have their answer."""
        return int(rows(self.home / "server", "SELECT count(*) FROM unit WHERE state = 'valid'")[0][0])

    def stop(self) -> None:
        """End everything that was started here."""
        started: list[subprocess.Popen[Any]] = [*self.servers.values(), *self.proxies]
        for process in started:
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
        super().stop()


def health(url: str, context: ssl.SSLContext | None = None) -> bool:
    """Say whether the machine API at a URL is ready, whoever vouches for it."""
    trusting = context or ssl._create_unverified_context()
    try:
        with urlopen(f"{url}/healthz", timeout=5, context=trusting if url.startswith("https") else None) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def haproxy(site: Site, *more: tuple[str, str]) -> list[str]:
    """Return the line that starts HAProxy with its shipped configuration."""
    program = needs("haproxy", "haproxy")
    shipped = PROXIES / "haproxy.cfg"
    return [program, "-db", "-f", str(site.configured(shipped, ("bind :8470", f"bind 127.0.0.1:{site.port}"), *more))]


def nginx(site: Site, port: int | None = None, secure: int | None = None) -> list[str]:
    """Return the line that starts nginx with its shipped configuration; `secure` is its port for 443."""
    program = needs("nginx", "nginx-light libnginx-mod-stream")
    folder = site.folder
    (folder / "shown").mkdir(exist_ok=True)
    tls.make_authority(folder / "shown")
    tls.make_leaf(folder / "shown", ["localhost"])
    temporary = [f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    made = site.configured(
        PROXIES / "nginx.conf",
        ("user www-data;", "user root;" if os.geteuid() == 0 else ""),
        ("pid /run/nginx.pid;", f"pid {folder}/nginx.pid;"),
        ("server_tokens off;", " ".join(["server_tokens off;", *temporary])),
        ("listen 8470;", f"listen 127.0.0.1:{port or free_port()};"),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen 443 ssl", f"listen 127.0.0.1:{secure or free_port()} ssl"),
        (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", f"{folder}/shown/tls.pem"),
        (f"/etc/letsencrypt/live/{NAME}/privkey.pem", f"{folder}/shown/tls.key"),
        ("/etc/dsage/ca.pem", f"{site.home}/server/tls/ca.pem"),
        (NAME, "localhost"),
    )
    return [program, "-e", "stderr", "-c", str(made), "-g", "daemon off;"]


def caddy(site: Site) -> list[str]:
    """Return the line that starts Caddy with its shipped configuration and a certificate of its own making."""
    program = needs("caddy", "caddy")
    made = site.configured(
        PROXIES / "Caddyfile",
        (
            f"\n{NAME} {{\n",
            f"\n{{\nadmin off\nauto_https disable_redirects\nskip_install_trust\n}}\n{site.url} {{\ntls internal\n",
        ),
        ("/etc/dsage/ca.pem", f"{site.home}/server/tls/ca.pem"),
        (f"tls_server_name {NAME}", "tls_server_name localhost"),
    )
    return [program, "run", "--adapter", "caddyfile", "--config", str(made)]
