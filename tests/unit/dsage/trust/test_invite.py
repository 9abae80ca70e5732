"""Invite links: written, read, and refused."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage.errors import UsageError
from dsage.trust.invite import Link

CA, ROOT = "ab" * 32, "01" * 32
LINK = Link("https://lab.example.org:8470", "server-one", CA, ROOT, "s3cret")
TEXT = str(LINK)

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n))),
    st.integers(0, 2**128 - 1).map(lambda n: f"[{IPv6Address(n)}]"),
)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(lambda n: f":{n}"))
hexes = st.binary(min_size=32, max_size=32).map(bytes.hex)
authorities = st.one_of(hexes, st.just("system"))
words = st.from_regex(r"[A-Za-z0-9_-]{1,60}", fullmatch=True)


@given(hosts, ports, words, authorities, hexes, st.one_of(st.just(""), words))
def test_round_trip(host: str, port: str, server_id: str, ca: str, root: str, code: str) -> None:
    link = Link(f"https://{host}{port}", server_id, ca, root, code)
    assert Link.parse(str(link)) == link


def test_it_looks_as_documented() -> None:
    assert f"https://lab.example.org:8470/join#v=1&id=server-one&ca={CA}&root={ROOT}&code=s3cret" == TEXT


@pytest.mark.parametrize("text", [f"  {TEXT}\n", f"<{TEXT}>", f"'{TEXT}'", TEXT.replace("https://lab", "HTTPS://LAB")])
def test_what_pasting_does_is_forgiven(text: str) -> None:
    assert Link.parse(text) == LINK


def test_an_ipv6_address_has_one_spelling() -> None:
    text = TEXT.replace("lab.example.org", "[2001:0DB8::0001]")
    assert Link.parse(text).url == "https://[2001:db8::1]:8470"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "https://lab.example.org:8470",
        "https://lab.example.org:8470/join",
        "https://lab.example.org:8470/join#",
        TEXT.replace("https:", "http:"),
        TEXT.replace("https://", ""),
        TEXT.replace("/join", "/other"),
        TEXT.replace("/join", "/a/join"),
        TEXT.replace("/join", "?x=1/join"),
        TEXT.replace("lab.", "user:pw@lab."),
        TEXT.replace("lab.example.org", ""),
        TEXT.replace("lab.example.org", "lab example"),
        TEXT.replace("lab.example.org", "[::1"),
        TEXT.replace("lab.example.org", "[::1]evil"),
        TEXT.replace("lab.example.org", "[1.2.3.4]"),
        TEXT.replace("lab.example.org", "[fe80::1%25eth0]"),
        TEXT.replace("lab.example.org", "-lab"),
        TEXT.replace("8470", "84700"),
        TEXT.replace("8470", "0"),
        TEXT.replace("8470", "x"),
        TEXT.replace("v=1&", ""),
        TEXT.replace("id=server-one&", ""),
        TEXT.replace(f"&ca={CA}", ""),
        TEXT.replace(f"&root={ROOT}", ""),
        TEXT.replace(CA, CA[:-1]),
        TEXT.replace(CA, CA.upper()),
        TEXT.replace(CA, "System"),
        TEXT.replace(ROOT, "system"),
        TEXT.replace(ROOT, ROOT[:-1] + "g"),
        TEXT + "&code=again",
        TEXT + "&extra=1",
        TEXT.replace("s3cret", "s3 cret"),
        TEXT.replace("s3cret", "s3cret%0a"),
        TEXT.replace("server-one", "../server"),
        TEXT + "x" * 1000,
    ],
)
def test_anything_else_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="this is not an invite link") as caught:
        Link.parse(text)
    assert "dsage invite" in caught.value.hint
    assert "\n" not in caught.value.message


def test_a_link_of_the_future_says_update() -> None:
    with pytest.raises(UsageError, match="newer version"):
        Link.parse(TEXT.replace("v=1", "v=3"))


@given(st.text(max_size=200))
def test_noise_raises_nothing_else(text: str) -> None:
    for candidate in (text, TEXT[:40] + text, text + TEXT[30:]):
        try:
            assert str(Link.parse(candidate)).startswith("https://")
        except UsageError:
            continue


def test_a_very_long_text_is_not_even_read() -> None:
    with pytest.raises(UsageError, match="too long"):
        Link.parse(TEXT + "&x=" * 400)


@pytest.mark.parametrize("url", ["https://lab.example.org/", "http://lab.example.org", "lab", "https://LAB"])
def test_a_link_is_not_made_for_half_an_address(url: str) -> None:
    with pytest.raises(UsageError):
        Link(url, "server-one", CA, ROOT)


PAGED = Link(LINK.url, LINK.server_id, CA, ROOT, "s3cret", "https://science.example.org")


@given(hosts, ports, st.sampled_from(["https", "http"]), words)
def test_a_link_that_leads_people_to_the_pages_says_where_clients_find_the_server(
    host: str, port: str, scheme: str, code: str
) -> None:
    link = Link("https://lab.example.org:8470", "server-one", CA, ROOT, code, f"{scheme}://{host}{port}")
    again = Link.parse(str(link))
    assert (again, again.page, again.url) == (link, link.page, link.url)
    assert Link.parse(str(again.for_clients())) == again
    assert again.for_clients().page == ""


def test_a_link_with_pages_looks_as_documented_and_older_clients_are_told_to_update() -> None:
    text = f"https://science.example.org/join#v=2&at=lab.example.org:8470&id=server-one&ca={CA}&root={ROOT}&code=s3cret"
    assert str(PAGED) == text
    assert PAGED == LINK


@pytest.mark.parametrize("text", [TEXT, str(PAGED)])
def test_a_link_that_a_computer_opens_with_the_client(text: str) -> None:
    opened = Link.parse(text.replace("https://", "dsage://"))
    assert opened == LINK
    assert opened.page == Link.parse(text).page


@pytest.mark.parametrize(
    "text",
    [
        str(PAGED).replace("at=lab.example.org:8470&", ""),
        str(PAGED).replace("v=2", "v=1"),
        str(PAGED).replace("at=lab.example.org:8470", "at="),
        str(PAGED).replace("at=lab.example.org:8470", "at=user@lab.example.org"),
        str(PAGED).replace("at=lab.example.org:8470", "at=lab.example.org/x"),
        str(PAGED).replace("https://science", "ftp://science"),
        str(PAGED).replace("https://science", "javascript://science"),
        TEXT.replace("https://", "http://"),
        TEXT.replace("v=1", "v=2"),
    ],
)
def test_a_link_with_pages_that_is_damaged_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an invite link"):
        Link.parse(text)
