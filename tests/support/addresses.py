"""Addresses and spellings of addresses: where webhooks may not be sent, and some where they may."""

from ipaddress import IPv4Address

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
    "ff0e::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:7f00:1",
    "2a00:1450::5efe:8.8.8.8",
]  # fmt: skip
PUBLIC_V6 = [
    "2000::1", "2001:200::1", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::1", "2003::1", "2400:cb00::1",
    "2606:4700:4700::1111", "2620:fe::fe", "2a00:1450:4001::1", "2a03:2880::1", "3000::1", "3ffe::1", "3fff:1000::1",
    "2606:4700::5eff:a00:1", "2606:4700:0:5efe::1",
]  # fmt: skip
HOSTILE_V4 = [
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "192.88.99.1", "203.0.113.7",
]  # fmt: skip


def _inside(first: str, last: str) -> list[str]:
    low, high = int(IPv4Address(first)), int(IPv4Address(last))
    steps = sorted({low, low + 1, low + (high - low) // 3, low + (high - low) // 2, high - 1, high})
    return [str(IPv4Address(number)) for number in steps]


def spellings_of(text: str) -> list[str]:
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


TABLE: list[tuple[str, bool]] = [
    *((one, False) for first, last in REFUSED_RANGES_V4 for one in _inside(first, last)),
    *((one, True) for one in PUBLIC_V4),
    *((one, False) for one in REFUSED_V6),
    *((one, True) for one in PUBLIC_V6),
]
"""Each address, and whether it may be connected to."""
SPELLED = [spelling for text in HOSTILE_V4 for spelling in [text, *spellings_of(text)]]
"""Hosts of URLs, all of them refused."""
