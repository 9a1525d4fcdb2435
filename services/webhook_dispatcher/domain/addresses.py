"""Which network addresses may be sent to (design: addresses we refuse).

`ipaddress.is_global` alone is not enough: Python 3.11 calls 64:ff9b::a00:1, 2002:a00:1::1, ::10.0.0.1, fec0::1,
224.0.0.1 and ff02::1 global.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REFUSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
UNICAST_V6 = IPv6Network("2000::/3")
REFUSED_V6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
ISATAP = 0x5EFE
"""In the middle of an IPv6 address before an IPv4 one (RFC 5214), with or without the bit of a universal one."""
ANSWERS_MAX = 16


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What the operator allows beyond the public internet: networks, `http`, ports other than the usual ones."""

    allowed_networks: tuple[Network, ...] = ()
    allow_http: bool = False
    any_port: bool = False


def read_networks(text: str) -> tuple[Network, ...]:
    """Read networks separated by commas, such as `127.0.0.0/8,::1/128`. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def may_connect(address: Address, rules: AddressRules) -> bool:
    """Tell whether a connection to this address may be made."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    if any(address in network for network in rules.allowed_networks):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in REFUSED_V4)
    embeds = (int(address) >> 32) & 0xFDFF_FFFF == ISATAP
    return address in UNICAST_V6 and not embeds and not any(address in network for network in REFUSED_V6)


def may_connect_text(text: str, rules: AddressRules) -> bool:
    """As `may_connect`, for an address as the operating system writes it; what is not an address may not."""
    try:
        return may_connect(ip_address(text), rules)
    except ValueError:
        return False


def may_connect_all(answers: Sequence[str], rules: AddressRules) -> bool:
    """Tell whether a name with these addresses may be connected to: 1 to 16 of them, and every one allowed."""
    return 0 < len(answers) <= ANSWERS_MAX and all(may_connect_text(answer, rules) for answer in answers)
