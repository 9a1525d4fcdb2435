"""Which business writes to which inbound topic: a setting."""

import pytest

from libs.contracts.ids import uuid7
from services.ingest.settings import Settings

A, B = uuid7(), uuid7()


def test_topics_are_read_with_their_businesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INBOUND_TOPICS", f" {A}=activity.inbound.acme, {B} = activity.inbound.b-2,")
    assert Settings().inbound_topics == {"activity.inbound.acme": A, "activity.inbound.b-2": B}
    monkeypatch.setenv("INBOUND_TOPICS", "")
    assert Settings().inbound_topics == {}


@pytest.mark.parametrize(
    "text",
    [
        f"{A}", f"{A}=", f"{A}=activity.received", f"{A}=activity.inbound", "acme=activity.inbound.acme",
        f"{A}=activity.inbound.a b", f"{A}=activity.inbound.x,{B}=activity.inbound.x",
    ],
)  # fmt: skip
def test_what_is_no_topic_of_a_business_does_not_start(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("INBOUND_TOPICS", text)
    with pytest.raises(ValueError, match="inbound_topics"):
        Settings()
