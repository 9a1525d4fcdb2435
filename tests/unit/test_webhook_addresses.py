"""Where webhooks may not be sent: more than 600 addresses and spellings."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest

from libs.errors import Rejected
from services.webhook_dispatcher.domain.addresses import AddressRules, may_connect_all, may_connect_text, read_networks
from services.webhook_dispatcher.domain.urls import read_url

STRICT = AddressRules()
LOCAL = AddressRules(read_networks("127.0.0.0/8, ::1/128"), allow_http=True, any_port=True)

# Each row: the first and the last address of a refused range.
REFUSED_RANGES_V4 = [
    ("0.0.0.0", "0.255.255.255"), ("10.0.0.0", "10.255.255.255"), ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"), ("169.254.0.0", "169.254.255.255"), ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"), ("192.0.2.0", "192.0.2.255"), ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"), ("198.18.0.0", "198.19.255.255"), ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"), ("224.0.0.0", "239.255.255.255"), ("240.0.0.0", "255.255.255.255"),
]  # fmt: skip
PUBLIC_V4 = [
    "1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0",
    "192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
    "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "93.184.216.34",
]  # fmt: skip
REFUSED_V6 = [
    "::", "::1", "::2", "::10.0.0.1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "100::", "100::1",
    "1::", "1fff:ffff::1", "2001::", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1",
    "2001:20::1", "2001:1ff:ffff::1", "2001:db8::", "2001:db8::1", "2001:db8:ffff::1", "2002::", "2002:a00:1::1",
    "2002:7f00:1::", "2002:808:808::1", "2002:ffff:ffff::1", "3fff::", "3fff::1", "3fff:fff::1", "4000::", "5f00::1",
    "8000::1", "fc00::", "fc00::1", "fd00::1", "fd12:3456:789a::1", "fdff:ffff::1", "fe80::", "fe80::1", "fe80::1%eth0",
    "fe80::1%25eth0", "febf::1", "fec0::", "fec0::1", "feff::1", "ff00::", "ff01::1", "ff02::1", "ff02::fb", "ff05::2",
    "ff0e::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]  # fmt: skip
PUBLIC_V6 = [
    "2000::1", "2001:200::1", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::1", "2003::1", "2400:cb00::1",
    "2606:4700:4700::1111", "2620:fe::fe", "2a00:1450:4001::1", "2a03:2880::1", "3000::1", "3ffe::1", "3fff:1000::1",
]  # fmt: skip
HOSTILE_V4 = [
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "192.88.99.1", "203.0.113.7",
]  # fmt: skip


def _inside(first: str, last: str) -> list[str]:
    low, high = int(IPv4Address(first)), int(IPv4Address(last))
    steps = sorted({low, low + 1, low + (high - low) // 3, low + (high - low) // 2, high - 1, high})
    return [str(IPv4Address(number)) for number in steps]


def _spellings(text: str) -> list[str]:
    """Write an IPv4 address in the ways that some parser somewhere understands."""
    a, b, c, d = (int(part) for part in text.split("."))
    number = int(IPv4Address(text))
    wide = text.translate({ord(str(n)): chr(0xFF10 + n) for n in range(10)})
    circled = text.translate({ord(str(n)): "⓪①②③④⑤⑥⑦⑧⑨"[n] for n in range(10)})
    return [
        str(number), hex(number), hex(number).upper().replace("0X", "0x"), f"0{number:o}", f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}", f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a:03d}.{b:03d}.{c:03d}.{d:03d}", f"{a}.{b}.{c}.0x{d:x}", f"0{a:o}.{b}.{c}.{d}", f"{text}.", f"{text}..",
        f"{a}.{b}.{c}", f"{a}.{b}.{c}.{d}.0", f"{a}.{b}.{c}.{d + 256}", wide, circled, text.replace(".", "。"),
        text.replace(".", "．"), text.replace(".", "%2e"), f"%{ord(text[0]):x}{text[1:]}", f"[{text}]",
        f"[::ffff:{text}]", f"[::{text}]", f"[64:ff9b::{text}]", f"[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1]",
        f"[::ffff:{a * 256 + b:x}:{c * 256 + d:x}]", f"[0:0:0:0:0:ffff:{text}]", f"user@{text}", f"example.com@{text}",
        f"{text}#.example.com", f"{text}\\.example.com", f" {text}", f"{text}\t", f"{text}\x00.example.com",
    ]  # fmt: skip


TABLE = [
    *((one, False) for first, last in REFUSED_RANGES_V4 for one in _inside(first, last)),
    *((one, True) for one in PUBLIC_V4),
    *((one, False) for one in REFUSED_V6),
    *((one, True) for one in PUBLIC_V6),
]
SPELLED = [spelling for text in HOSTILE_V4 for spelling in [text, *_spellings(text)]]


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
