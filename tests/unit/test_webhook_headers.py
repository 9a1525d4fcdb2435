"""Headers of their own that receivers may ask for."""

import pytest

from libs.errors import Rejected
from services.webhook_dispatcher.domain.headers import check_headers

EVERYTHING = ("host", "content-length", "content-type", "webhook-id", "cookie", "authorization", "transfer-encoding")


def test_names_of_their_own_and_those_the_operator_allows_are_taken_in_lower_case() -> None:
    given = {"X-Ours": "a b", "x-two": "~", "Authorization": "Bearer t"}
    assert check_headers(given, ["authorization"]) == {"x-ours": "a b", "x-two": "~", "authorization": "Bearer t"}


@pytest.mark.parametrize(
    "name",
    ["host", "Content-Length", "webhook-id", "webhook-signature", "cookie", "transfer-encoding", "x-",
     "x-forwarded-for",
     "x-real-ip",
     "x-http-method-override", "", "x a", "x-ü", "x-a:", "x-a\r\nx-b", "accept", "x-" + "a" * 63],
)  # fmt: skip
def test_what_decides_where_a_request_goes_or_ends_is_refused_whatever_the_operator_allows(name: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_headers({name: "x"}, EVERYTHING)
    assert caught.value.problems[0].field.startswith("headers")


@pytest.mark.parametrize("value", ["", " x", "x ", "a\nb", "a\rb", "a\x00b", "ü", "x" * 1_001])
def test_value_that_no_header_holds_is_refused(value: str) -> None:
    with pytest.raises(Rejected, match="x-a"):
        check_headers({"x-a": value}, ())
