"""Where webhooks may not be sent: more than 600 addresses and spellings."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest

from libs.errors import Rejected
from services.webhook_dispatcher.domain.addresses import AddressRules, may_connect_all, may_connect_text, read_networks
from services.webhook_dispatcher.domain.urls import read_url
from tests.support.addresses import SPELLED, TABLE

STRICT = AddressRules()
LOCAL = AddressRules(read_networks("127.0.0.0/8, ::1/128"), allow_http=True, any_port=True)


def test_table_has_more_than_600_rows() -> None:
    assert len({row[0] for row in TABLE} | set(SPELLED)) >= 600


@pytest.mark.parametrize(("text", "allowed"), TABLE)
def test_address_is_judged_as_the_table_says(text: str, allowed: bool) -> None:
    assert may_connect_text(text, STRICT) is allowed


def test_hostile_spellings_are_refused_in_urls() -> None:
    passed = [one for one in SPELLED for scheme in ("https", "HTTPS") if not _is_refused(f"{scheme}://{one}/hook")]
    assert passed == []


def test_refused_addresses_are_refused_in_urls() -> None:
    hosts = [f"[{text}]" if ":" in text else text for text, allowed in TABLE if not allowed]
    assert [one for one in hosts if not _is_refused(f"https://{one}/hook")] == []


def test_public_addresses_are_taken_in_urls() -> None:
    for text, allowed in TABLE:
        if allowed:
            target = read_url(f"https://{f'[{text}]' if ':' in text else text}/hook", STRICT)
            assert (ip_address(target.host), target.literal) == (ip_address(text), True)


def test_all_answers_of_a_name_must_pass() -> None:
    assert may_connect_all(["1.1.1.1", "2606:4700:4700::1111"], STRICT)
    assert not may_connect_all(["1.1.1.1", "10.0.0.1"], STRICT)
    assert not may_connect_all(["1.1.1.1", "::1"], STRICT)
    assert not may_connect_all(["1.1.1.1", "nonsense"], STRICT)
    assert not may_connect_all([], STRICT)
    assert may_connect_all(["1.1.1.1"] * 16, STRICT)
    assert not may_connect_all(["1.1.1.1"] * 17, STRICT)


def test_allowed_networks_open_those_and_no_others() -> None:
    assert all(may_connect_text(one, LOCAL) for one in ("127.0.0.1", "127.9.9.9", "::1"))
    for one in ("10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1", "169.254.169.254", "2002:7f00:1::"):
        assert not may_connect_text(one, LOCAL)
    assert read_networks(" 10.0.0.0/8 ,fd00::/8,") == (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        read_networks("10.0.0.1/8")


@pytest.mark.parametrize(
    "url",
    [
        "", "https", "https:", "https://", "https:///", "https:///hook", "//example.com/", "/hook", "example.com/hook",
        "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
        "javascript:alert(1)",
        "https:example.com", "https:/example.com", "https:\\\\example.com", "https://example.com\\@127.0.0.1/",
        "https://user@example.com/", "https://user:pass@example.com/", "https://@example.com/", "https://example.com/#x",
        "https://example.com#x", "https://exam ple.com/", "https://example.com/a b", "https://example.com/\n",
        "\nhttps://example.com/", " https://example.com/", "https://exa\tmple.com/", "https://example.com/\x00",
        "https://example.com/\x7f", "https://example.com/\u00a0", "https://example.com/\u2028", "https://ex%61mple.com/",
        "https://example.com%00.evil.com/", "https://localhost/", "https://LOCALHOST/", "https://localhost./",
        "https://a.localhost/", "https://printer.local/", "https://x.internal/", "https://metadata.google.internal/",
        "https://x.onion/", "https://intranet/", "https://com/", "https://.com/", "https://example..com/",
        "https://-a.example.com/", "https://a-.example.com/", "https://a_b.example.com/", "https://exa!mple.com/",
        f"https://{'a' * 64}.com/", f"https://{'a.' * 127}com/", f"https://example.com/{'a' * 2040}",
        "https://example.com:/", "https://example.com:0/", "https://example.com:065/", "https://example.com:65536/",
        "https://example.com:99999/", "https://example.com:-1/", "https://example.com:4 43/", "https://example.com:x/",
        "https://example.com:443:443/", "https://example.com:22/", "https://example.com:25/", "https://example.com:6379/",
        "https://example.com:80/", "https://[::1/", "https://::1/", "https://[::1]x/", "https://[]/", "https://[1.1.1.1]/",
        "https://[2606:4700::1111%25eth0]/", "https://[v1.x]/", "https://[2606:4700:4700::1111]:0/", "https://1/",
        "https://1.1/", "https://0x1.example.0x2/", "https://xn--/", "https://xn--a.com/", "https://xn--zzzzzz.com/",
        "https://\u2024example.com/", "https://exa\u00admple\u200b.local/", "https://ｌｏｃａｌｈｏｓｔ/", "https://a.ｌｏｃａｌ/",
        "https://exämple.com/ä", "https://1e100.1/", "https://example.123/", "https://example.0x7f/",
    ],
)  # fmt: skip
def test_url_that_is_not_plainly_public_is_refused_and_says_so_of_url(url: str) -> None:
    with pytest.raises(Rejected) as caught:
        read_url(url, STRICT)
    assert [problem.field for problem in caught.value.problems] == ["url"]


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://example.com", "https://example.com/"), ("HTTPS://Example.COM/Hook?a=b", "https://example.com/Hook?a=b"),
        ("https://example.com?x=%20", "https://example.com/?x=%20"), ("https://example.com./", "https://example.com/"),
        ("https://bücher.example/x", "https://xn--bcher-kva.example/x"), ("https://example.com:443/", "https://example.com/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"), ("https://a.b.c.example:8443/", "https://a.b.c.example:8443/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"), ("https://[2606:4700:4700::1111]/", "https://[2606:4700:4700::1111]/"),
        ("https://1and1.com/", "https://1and1.com/"), ("https://0x.co/", "https://0x.co/"),
        ("https://example.com/%2e%2e/%00", "https://example.com/%2e%2e/%00"),
    ],
)  # fmt: skip
def test_public_url_is_taken_and_written_canonically(url: str, canonical: str) -> None:
    assert read_url(url, STRICT).url == canonical


def test_operator_may_allow_http_any_port_and_local_networks_but_not_localhost() -> None:
    assert read_url("http://127.0.0.1:8123/x", LOCAL).url == "http://127.0.0.1:8123/x"
    assert read_url("http://[::1]:9/", LOCAL).host == str(IPv6Address("::1"))
    assert _is_refused("http://localhost:8123/", LOCAL)
    assert _is_refused("http://10.0.0.1/", LOCAL)
    assert _is_refused("http://127.1/", LOCAL)


def _is_refused(url: str, rules: AddressRules = STRICT) -> bool:
    try:
        read_url(url, rules)
    except Rejected:
        return True
    return False
