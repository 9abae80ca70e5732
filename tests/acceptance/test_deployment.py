"""What packaging/ ships for operators: files that fit together and our command line, and their topology as processes.

Images are not built here. The servers, PostgreSQL, the S3-compatible store and the proxies of compose.yaml run as
processes of this computer, with the shipped configuration; only names, ports and places of files are replaced.
"""

from __future__ import annotations

import re
import shlex
import signal
import ssl
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml  # type: ignore[import-untyped]
from lab import Lab, kill, wait_for
from topology import NAME, Site, caddy, haproxy, health, needs, nginx

from dsage.cli.main import find
from dsage_server.blobs.testing import LocalS3, local_s3
from dsage_server.store.testing import rows, shared_cluster

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGING: Final = ROOT / "packaging"
CONTAINER: Final = PACKAGING / "container"
UNITS: Final = sorted((PACKAGING / "systemd").glob("*.service"))
FROM_HERE: Final = "/opt/dsage/bin/dsage"
EXACT: Final = re.compile(r"[\w.-]+(?:\.[\w-]+)+/[\w./-]+:[\w.-]*\d+[.-]\d+[\w.-]*|localhost/[\w./-]+:\d+\.\d+\.\d+")
"""An image with its registry and a version that does not move by itself."""
WRITES_NOWHERE: Final = ("read_only", "cap_drop", "security_opt")
APP: Final = """
import time

from dsage import DistributedFunction, Unit


class Sum(DistributedFunction):
    def units(self):
        yield from (Unit(i, quorum=1) for i in range(1, self.n + 1))

    @staticmethod
    def compute(i):
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        return i

    def process_result(self, unit, value):
        self.result = (self.result or 0) + value
"""


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file with every variable filled in, as an operator's `.env` does."""
    text = (CONTAINER / "compose.yaml").read_text()
    filled = re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda m: {"DSAGE_NAME": NAME}.get(m[1], f"value-of-{m[1]}"), text)
    document: dict[str, Any] = yaml.safe_load(filled)
    return document


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    """The Containerfile: for each stage its instructions and their arguments."""
    lines = (CONTAINER / "Containerfile").read_text().replace("\\\n", " ").splitlines()
    found: list[list[tuple[str, str]]] = []
    for line in lines:
        if line.strip() and not line.startswith("#"):
            word, _, rest = line.strip().partition(" ")
            if word == "FROM":
                found.append([])
            found[-1].append((word, rest.strip()))
    return found


def accepted(line: list[str]) -> dict[str, Any]:
    """Return the parameters of a command line of `dsage`, parsed by the very command; it fails if there is none."""
    command = find(line[0])
    assert command is not None
    words = line[1:]
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    return dict(command.make_context(line[0], list(words)).params)


def one(stage: list[tuple[str, str]], word: str) -> str:
    """Return the argument of an instruction that stands in a stage once."""
    (found,) = (rest for each, rest in stage if each == word)
    return found


def test_the_image_starts_our_command_as_nobody_special(stages: list[list[tuple[str, str]]]) -> None:
    build, final = stages
    assert {one(stage, "FROM").partition(" ")[0] for stage in stages} == {one(build, "FROM").partition(" ")[0]}
    assert EXACT.fullmatch(one(final, "FROM"))
    assert one(final, "USER").partition(":")[0].isdigit()
    assert int(one(final, "USER").partition(":")[0]) >= 1000
    order = [word for word, _ in final]
    assert order.index("USER") > max(place for place, word in enumerate(order) if word == "RUN")
    start = [*yaml.safe_load(one(final, "ENTRYPOINT")), *yaml.safe_load(one(final, "CMD"))]
    assert start[0] == "dsage"
    assert accepted(start[1:])["pages"] == "0.0.0.0:8471"
    assert set(one(final, "EXPOSE").split()) == {"8470", "8471"}
    environment = dict(pair.partition("=")[::2] for pair in one(final, "ENV").split())
    assert environment["DSAGE_HOME"] == one(final, "VOLUME")
    for _, rest in (each for each in [*build, *final] if each[0] == "RUN" and "apt-get install" in each[1]):
        assert "--no-install-recommends" in rest
        assert "rm -rf /var/lib/apt/lists" in rest


def test_the_image_copies_and_installs_what_is_there(stages: list[list[tuple[str, str]]]) -> None:
    build, final = stages
    for source in (name for word, rest in build if word == "COPY" for name in rest.split()[:-1] if name != "."):
        assert (ROOT / source).exists()
    packages = (ROOT / "pyproject.toml").read_text().partition("[tool.hatch.build.targets.wheel]")[2].partition("]")[0]
    needed = {path.partition("/")[0] for path in re.findall(r'"([\w/]+)"', packages)}
    assert needed <= {name for word, rest in build if word == "COPY" for name in rest.split()[:-1]}
    (extras,) = re.findall(r"\$1\[([\w,]+)\]", " ".join(rest for _, rest in final))
    table = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    assert {"server", "postgres"} <= set(extras.split(",")) <= set(re.findall(r"^(\w+) = ", table, re.MULTILINE))


def test_every_container_is_pinned_and_confined(compose: dict[str, Any]) -> None:
    assert len(compose["services"]) == 6
    for name, service in compose["services"].items():
        assert EXACT.fullmatch(service["image"]), name
        assert service["restart"] == "unless-stopped"
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert compose["services"]["one"]["image"] == f"localhost/dsage:{version[1]}"


def test_only_the_proxies_are_reached_from_outside(compose: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert ports == {"proxy": ["8470:8470"], "pages": ["80:80", "443:443"]}


def test_the_containers_fit_together(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services[other] or services[other]["image"] == services["one"]["image"], name
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            assert (CONTAINER / source).exists() if source.startswith(".") else source in compose["volumes"], mount
    assert set(compose["volumes"]) == {
        mount.partition(":")[0]
        for service in services.values()
        for mount in service.get("volumes", [])
        if not mount.startswith(".")
    }
    for server in ("one", "two"):
        said = accepted(services[server]["command"])
        assert said["public"] == f"https://{NAME}:8470"
        assert said["pages_url"] == f"https://{NAME}"
        assert said["store"] == "postgresql://dsage@database/dsage"
        assert said["blobs"].startswith("s3://dsage/")
        assert said["blobs"].endswith("http://objects:9000")
        assert services[server]["volumes"] == ["home:/var/lib/dsage"]
    for file in (PACKAGING / "proxy" / "haproxy.cfg", CONTAINER / "Caddyfile"):
        assert set(re.findall(r"\b(\w+):847[01]\b", file.read_text())) == {"one", "two"}


def test_every_variable_of_the_compose_file_is_explained() -> None:
    named = set(re.findall(r"\$\{(\w+)", (CONTAINER / "compose.yaml").read_text()))
    told = set(re.findall(r"^([A-Z_]+)=", (CONTAINER / "README.md").read_text(), re.MULTILINE))
    assert told == named


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_start_our_command_as_a_user_of_their_own(unit: Path) -> None:
    text = unit.read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    words = shlex.split(line)
    assert words[0] == FROM_HERE
    examples = re.findall(r"^# .*DSAGE_OPTIONS=\"(.*)\"$", text, re.MULTILINE)
    assert bool(examples) == ("$DSAGE_OPTIONS" in words)
    for example in examples or [""]:
        accepted([word for word in words[1:] if word != "$DSAGE_OPTIONS"] + shlex.split(example))
    assert "\nUser=dsage\n" in text
    assert re.search(r"^u dsage ", (PACKAGING / "systemd" / "dsage.sysusers").read_text(), re.MULTILINE)
    for option in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "UMask=0077"):
        assert f"\n{option}\n" in text


def test_the_two_units_of_the_server_differ_in_their_names_only() -> None:
    single, several = (
        [line for line in (PACKAGING / "systemd" / name).read_text().splitlines() if not line.startswith("#")]
        for name in ("dsage-server.service", "dsage-server@.service")
    )
    differing = [new for old, new in zip(single, several, strict=True) if old != new]
    assert [line.partition("=")[0] for line in differing] == ["Description", "EnvironmentFile"]


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    needs("systemd-analyze", "systemd")
    for path in (PACKAGING / "systemd").iterdir():
        text = path.read_text().replace(FROM_HERE, str(Path(sys.executable).with_name("dsage")))
        (tmp_path / path.name).write_text(text)
    drop_in = tmp_path / "dsage-server@.service.d"
    drop_in.mkdir()
    (tmp_path / "postgresql.conf").rename(drop_in / "postgresql.conf")
    units = [str(path) for path in tmp_path.glob("*.*") if path.suffix in (".service", ".timer")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "dsage" in line]
    assert (done.returncode, ours) == (0, [])


def test_caddy_accepts_what_the_container_of_the_pages_is_given() -> None:
    program = needs("caddy", "caddy")
    line = [program, "adapt", "--adapter", "caddyfile", "--config", str(CONTAINER / "Caddyfile")]
    told = subprocess.run(line, env={"DSAGE_NAME": NAME}, capture_output=True, text=True, check=True)
    (server,) = yaml.safe_load(told.stdout)["apps"]["http"]["servers"].values()
    assert server["listen"] == [":443"]
    assert server["routes"][0]["match"] == [{"host": [NAME]}]


@pytest.mark.slow
def test_the_wheel_installs_what_the_image_starts(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)],
        check=True,
    )
    (wheel,) = tmp_path.glob("dsage-*.whl")
    venv.create(tmp_path / "fresh", with_pip=True)
    fresh = tmp_path / "fresh" / "bin"
    subprocess.run([str(fresh / "pip"), "install", "--quiet", f"{wheel}[server,postgres,archive]"], check=True)
    told = subprocess.run([str(fresh / "dsage"), "serve", "--help"], capture_output=True, text=True, check=True)
    assert "--tls-cert" in told.stdout
    program = "import dsage_server.server, psycopg, obstore, pyarrow, uvloop"
    subprocess.run([str(fresh / "python"), "-c", program], check=True)


# -- processes -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3() -> Iterator[LocalS3]:
    with local_s3() as store:
        yield store


@pytest.fixture
def site(tmp_path: Path, s3: LocalS3) -> Iterator[Site]:
    """Two ready servers on PostgreSQL and S3, without a proxy."""
    made = Site(tmp_path, shared_cluster().database(), s3.address)
    (tmp_path / "sums.py").write_text(APP)
    try:
        yield made
    finally:
        made.stop()


def submit(site: Site, n: int) -> subprocess.Popen[str]:
    """Submit a run of so many units."""
    return site.start("submit", f"{site.folder / 'sums.py'}:Sum", "-p", f"n={n}", "--json", log="submit")


def done(site: Site, run: subprocess.Popen[str], n: int) -> None:
    """Wait for the answer, which must be right, with each unit paid once."""
    assert run.wait(150) == 0, (site.folder / "submit.log").read_text()
    assert f'"result":{n * (n + 1) // 2}' in (site.folder / "submit.out").read_text().replace(" ", "")
    assert rows(site.home / "server", "SELECT count(*), count(DISTINCT replica_id) FROM credit_entry") == [(n, n)]


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param(haproxy, id="haproxy"),
        pytest.param(lambda site: nginx(site, port=site.port), marks=pytest.mark.slow, id="nginx"),
    ],
)
def test_two_servers_behind_a_proxy_are_restarted_one_after_the_other(
    site: Site, s3: LocalS3, proxy: Callable[[Site], list[str]]
) -> None:
    for name in ("one", "two"):
        site.serve(name)
    site.proxy(*proxy(site))
    site.join(2)
    run = submit(site, 120)
    for number, name in enumerate(("one", "two"), 1):
        wait_for(lambda least=number * 30: site.valid() >= least, run)  # type: ignore[misc]
        site.servers[name].send_signal(signal.SIGTERM)
        assert site.servers[name].wait(30) == 0
        site.serve(name)
    done(site, run, 120)
    listing = urlopen(Request(f"{s3.endpoint}/{s3.bucket}?list-type=2&prefix=some/prefix/"), timeout=10).read()
    assert b"<Key>some/prefix/" in listing
    assert not (site.home / "server" / "blobs").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_that_is_killed_is_missed_by_nobody_for_long(site: Site) -> None:
    for name in ("one", "two"):
        site.serve(name)
    site.proxy(*haproxy(site, ("balance source", "balance roundrobin")))
    site.join(2)
    run = submit(site, 400)
    wait_for(lambda: site.valid() >= 50, run)
    kill(site.servers["one"])
    wait_for(lambda: "Server servers/one is DOWN" in (site.folder / "proxy.log").read_text())
    done(site, run, 400)
    site.serve("one")
    wait_for(lambda: "Server servers/one is UP" in (site.folder / "proxy.log").read_text())


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("proxy", "authority"),
    [
        pytest.param(lambda site: nginx(site, secure=site.port), "shown/ca.pem", id="nginx"),
        pytest.param(caddy, "caddy/pki/authorities/local/root.crt", marks=pytest.mark.slow, id="caddy"),
    ],
)
def test_a_proxy_that_ends_tls_shows_the_pages_and_the_machine_api(
    site: Site, proxy: Callable[[Site], list[str]], authority: str
) -> None:
    for name in ("one", "two"):
        site.serve(name, "--tls-ca", "system", "--pages-url", site.url)
    site.proxy(*proxy(site))
    trusted = {"SSL_CERT_FILE": str(site.folder / authority)}
    site.environment = lambda home: {**Lab.environment(site, home), **trusted}  # type: ignore[method-assign]
    assert "&ca=system&" in site.invite(1)
    site.join(2)
    run = submit(site, 60)
    done(site, run, 60)
    vouched = ssl.create_default_context(cafile=trusted["SSL_CERT_FILE"])
    assert health(site.url, vouched)
    with urlopen(f"{site.url}/run/1.json", timeout=10, context=vouched) as reply:
        assert reply.headers["Content-Type"].startswith("application/json")
    with urlopen(f"{site.url}/run/1.live", timeout=10, context=vouched) as reply:
        assert reply.readline()
    big = Request(f"{site.url}/v1/exchange", data=bytes(8_000_000), method="POST", headers={"DSage-Protocol": "1"})
    with pytest.raises(HTTPError) as refused:
        urlopen(big, timeout=30, context=vouched)
    assert (refused.value.code, b'"logged-out"' in refused.value.read()) == (401, True)


def test_the_images_health_check_says_whether_a_server_is_ready(
    stages: list[list[tuple[str, str]]], site: Site
) -> None:
    check = yaml.safe_load(one(stages[-1], "HEALTHCHECK").partition("CMD ")[2])
    assert check[0] == "python"
    line = [sys.executable, *check[1:]]
    port = site.ports["one"][1]
    line[-1] = line[-1].replace("localhost:8471", f"127.0.0.1:{port}")
    assert str(port) in line[-1]
    assert subprocess.run(line, capture_output=True, check=False).returncode != 0
    site.serve("one")
    assert subprocess.run(line, capture_output=True, check=False).returncode == 0
