"""Kinds whose value is a number: integer, decimal, money, rating."""

from decimal import Context, Decimal, InvalidOperation

from libs.contracts.activity_object import ObjectField
from services.lifecycle.domain.fields.wrong import Check, Wrong, shown

INTEGER_MAX = 2**53 - 1
"""What every reader of JSON keeps exactly (RFC 8259, section 6)."""
DIGITS_MAX = 30
DECIMALS_MAX = 10
MONEY_DECIMALS = 2
RATING_MAX, RATING_DEFAULT = 10, 5
_EXACT = Context(prec=2 * DIGITS_MAX)


def integer(_: ObjectField) -> Check:
    """Check a whole number."""

    def check(value: object) -> int:
        if type(value) is not int or not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise Wrong("not_integer", f"is {shown(value)}; give a whole number from -{INTEGER_MAX} to {INTEGER_MAX}")
        return value

    return check


def rating(field: ObjectField) -> Check:
    """Check a rating: a whole number from 1 to the field's maximum."""
    highest = field.rating_max or RATING_DEFAULT

    def check(value: object) -> int:
        if type(value) is not int or not 1 <= value <= highest:
            raise Wrong("rating_range", f"is {shown(value)}; give a whole number from 1 to {highest}")
        return value

    return check


def decimal(field: ObjectField) -> Check:
    """Check a decimal number; stored as text, with the field's decimals if it has any, else without needless zeros."""
    return _exact(field.decimals)


def money(field: ObjectField) -> Check:
    """Check an amount; stored as text with the field's decimals (2)."""
    return _exact(MONEY_DECIMALS if field.decimals is None else field.decimals)


def _exact(decimals: int | None) -> Check:
    places = DECIMALS_MAX if decimals is None else decimals
    unit = None if decimals is None else Decimal(1).scaleb(-decimals)

    def check(value: object) -> str:
        number = _read(value)
        if abs(number.adjusted()) >= DIGITS_MAX or len(number.as_tuple().digits) > DIGITS_MAX:
            raise Wrong("too_many_digits", f"is {shown(value)}; at most {DIGITS_MAX} digits are taken")
        number = number.normalize(_EXACT)
        exponent = number.as_tuple().exponent
        if isinstance(exponent, int) and -exponent > places:
            raise Wrong("too_many_decimals", f"is {shown(value)}; at most {places} decimals are taken")
        return f"{number if unit is None else number.quantize(unit, context=_EXACT):f}"

    return check


def _read(value: object) -> Decimal:
    if type(value) is int and abs(value) >= 10**DIGITS_MAX:
        raise Wrong("too_many_digits", f"is {shown(value)}; at most {DIGITS_MAX} digits are taken")
    if type(value) is int or (type(value) is float) or (type(value) is str and len(value) <= 2 * DIGITS_MAX):
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_finite() and "_" not in str(value):
            return number or Decimal(0)
    raise Wrong("not_decimal", f'is {shown(value)}; give a decimal number, such as "12.50"')
