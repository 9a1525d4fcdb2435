"""One strict reading of an endpoint's URL (design: addresses we refuse). What is read here is what is connected to."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import idna

from libs.errors import Problem, Rejected
from services.webhook_dispatcher.domain.addresses import AddressRules, may_connect

LENGTH_MAX = 2_048
PORTS = {"https": (443, 8443), "http": (80, 8080)}
DEFAULT_PORTS = {"https": 443, "http": 80}
REFUSED_SUFFIXES = ("localhost", "local", "internal", "onion")

_PARTS = re.compile(r"(?P<scheme>[A-Za-z]+)://(?P<authority>[^/?]*)(?P<rest>.*)", re.ASCII)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?", re.ASCII)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII)
_NUMERIC = re.compile(r"\d+|0[xX][0-9A-Fa-f]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: `host` in ASCII without brackets; `literal` when it is an address and not a name."""

    scheme: str
    host: str
    port: int
    path: str
    literal: bool

    @property
    def url(self) -> str:
        """Write the URL as it is requested."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def refused(code: str, message: str) -> Rejected:
    """Make the error that names the field `url`."""
    return Rejected(f"url {message}", [Problem("url", code, message)])


def read_url(text: str, rules: AddressRules) -> Target:
    """Read an endpoint's URL and check all that can be known without asking a resolver. Raises Rejected."""
    _check_letters(text)
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise refused("url_invalid", "must be an absolute URL such as https://example.com/hook")
    scheme = parts["scheme"].lower()
    if scheme not in PORTS or (scheme == "http" and not rules.allow_http):
        raise refused("scheme_refused", "must begin with https://")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        raise refused("host_invalid", "has a host that is not a name, an IPv4 address or an IPv6 address in brackets")
    host, literal = _read_host(authority["host"], rules)
    rest = parts["rest"]
    if not rest.isascii():
        raise refused("url_invalid", "must have its path and query percent-encoded")
    path = rest if rest.startswith("/") else f"/{rest}"
    return Target(scheme, host, _read_port(authority["port"], scheme, rules), path, literal)


def _check_letters(text: str) -> None:
    if not 1 <= len(text) <= LENGTH_MAX:
        raise refused("url_too_long", f"must have 1 to {LENGTH_MAX} characters, has {len(text)}")
    for letter in text:
        if letter.isspace() or not letter.isprintable() or letter in '\\#@"<>^`{|}':
            raise refused("url_invalid", f"must not hold U+{ord(letter):04X} (nor user names, fragments, white space)")


def _read_port(text: str | None, scheme: str, rules: AddressRules) -> int:
    if text is None:
        return DEFAULT_PORTS[scheme]
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text, re.ASCII) or int(text) > 65_535:
        raise refused("port_invalid", "has a port that is not a number from 1 to 65535 without leading zeros")
    if not rules.any_port and int(text) not in PORTS[scheme]:
        allowed = " or ".join(str(port) for port in PORTS[scheme])
        raise refused("port_refused", f"has port {text}; allowed: {allowed}")
    return int(text)


def _read_host(text: str, rules: AddressRules) -> tuple[str, bool]:
    """Return the host in ASCII and whether it is an address."""
    if text.startswith("["):
        return _read_address(text[1:-1], IPv6Address, rules), True
    if "%" in text:
        raise refused("host_invalid", "must not have % in its host")
    try:
        name = idna.encode(text, uts46=True, std3_rules=True).decode().lower() if not text.isascii() else text.lower()
    except idna.IDNAError as error:
        raise refused("host_invalid", "has a host that is not a valid international name") from error
    name = name.removesuffix(".")
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]) or all(_NUMERIC.fullmatch(label) for label in labels):
        return _read_address(text, IPv4Address, rules), True
    _check_name(name, labels)
    return name, False


def _read_address(text: str, kind: type[IPv4Address] | type[IPv6Address], rules: AddressRules) -> str:
    try:
        address = kind(text)
    except AddressValueError as error:
        raise refused("host_invalid", "has a numeric host that is not written as 192.0.2.1 or [2001:db8::1]") from error
    if not may_connect(address, rules):
        raise refused("address_refused", "leads to an address that is not allowed")
    return str(address)


def _check_name(name: str, labels: list[str]) -> None:
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise refused("host_invalid", "has a host that is not a valid name")
    if any(label.startswith("xn--") for label in labels):
        try:
            idna.decode(name)
        except idna.IDNAError as error:
            raise refused("host_invalid", "has a host that is not a valid international name") from error
    if len(labels) < 2 or labels[-1] in REFUSED_SUFFIXES:
        raise refused("name_refused", "must have a public name of at least two labels, such as example.com")
