"""Kinds whose value is text: text, longtext, wysiwyg, email, phonenumber, timezone."""

import re
import unicodedata
from functools import cache, lru_cache
from zoneinfo import available_timezones

import nh3
import phonenumbers

from libs.contracts.activity_object import ObjectField
from services.lifecycle.domain.fields.wrong import Check, Wrong, must_be_text, shown

TEXT_MAX = 1_000
LONGTEXT_MAX = 50_000
EMAIL_MAX = 254  # RFC 5321, section 4.5.3.1.3, without the brackets
NUMBERS_KEPT = 4_096
"""Phone numbers whose reading (40 to 90 µs) is kept."""

_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")
_LINES = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]*")
_EMAIL = re.compile(r"[^\s@<>\"(),:;\\\[\]\x00-\x20]{1,64}@([^\s@<>\"(),:;\\\[\]/_]+\.[^\s@<>\"(),:;\\\[\]/_.]{2,63})")


def text(_: ObjectField) -> Check:
    """Check one line of text: NFC, up to 1,000 characters."""

    def check(value: object) -> str:
        return _bounded(_composed(must_be_text(value)), TEXT_MAX, _ONE_LINE)

    return check


def longtext(_: ObjectField) -> Check:
    """Check lines of text: NFC, up to 50,000 characters."""

    def check(value: object) -> str:
        return _bounded(_composed(must_be_text(value)), LONGTEXT_MAX, _LINES)

    return check


def wysiwyg(_: ObjectField) -> Check:
    """Check and sanitise HTML, up to 50,000 characters."""

    def check(value: object) -> str:
        return _bounded(sanitised(must_be_text(value)), LONGTEXT_MAX, _LINES)

    return check


def sanitised(html: str) -> str:
    """Take out of HTML what could run: scripts, handlers, styles, frames. Text without tags stays as it is."""
    return nh3.clean(html) if "<" in html else html


def email(_: ObjectField) -> Check:
    """Check an e-mail address; its domain is stored in small letters."""

    def check(value: object) -> str:
        given = unicodedata.normalize("NFC", must_be_text(value).strip())
        found = _EMAIL.fullmatch(given)
        if found is None or len(given) > EMAIL_MAX or ".." in given:
            raise Wrong("email_invalid", f"is {shown(value)}; give an e-mail address, such as ada@example.com")
        local, _, domain = given.rpartition("@")
        return f"{local}@{unicodedata.normalize('NFC', domain.lower())}"

    return check


def phonenumber(field: ObjectField) -> Check:
    """Check a phone number; stored as E.164. Numbers without a country code are read as in the field's region."""
    region = field.phone_region

    def check(value: object) -> str:
        found = _e164(must_be_text(value), region)
        if found is None:
            hint = f", or as dialled within {region}" if region else ""
            message = f"is {shown(value)}; give a phone number with its country code, such as +49 30 901820{hint}"
            raise Wrong("phonenumber_invalid", message)
        return found

    return check


def phone_regions() -> frozenset[str]:
    """List the regions whose numbers can be read without a country code: ISO 3166-1, two letters."""
    return frozenset(phonenumbers.SUPPORTED_REGIONS)


def timezone(_: ObjectField) -> Check:
    """Check the IANA name of a time zone."""

    def check(value: object) -> str:
        if must_be_text(value) not in _zones():
            raise Wrong("zone_unknown", f"is {shown(value)}; give an IANA time zone, such as Europe/Berlin")
        return str(value)

    return check


@cache
def _zones() -> frozenset[str]:
    return frozenset(zone for zone in available_timezones() if zone not in ("Factory", "localtime"))


@lru_cache(maxsize=NUMBERS_KEPT)
def _e164(given: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(given, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number) or number.extension:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _composed(given: str) -> str:
    return given if given.isascii() else unicodedata.normalize("NFC", given)


def _bounded(given: str, length_max: int, allowed: re.Pattern[str]) -> str:
    if len(given) > length_max:
        raise Wrong("too_long", f"has {len(given)} characters; at most {length_max} are taken")
    if not given.isprintable() and allowed.fullmatch(given) is None:  # what is printable is allowed, and known sooner
        first = next(letter for letter in given if allowed.fullmatch(letter) is None)
        lines = "" if allowed is _ONE_LINE else " but line breaks and tabs"
        raise Wrong("control_character", f"has U+{ord(first):04X}; control characters{lines} are not taken")
    return given
