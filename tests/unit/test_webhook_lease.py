"""A lease outlives the longest exchange, however long a delivery waited in its lane."""

import pytest

from services.webhook_dispatcher.api.bodies import TIMEOUT_MAX_S as ASKED_FOR_MAX_S
from services.webhook_dispatcher.app import TIMEOUT_MAX_S, lease_s_of
from services.webhook_dispatcher.delivery import QUEUED_SHARE
from services.webhook_dispatcher.settings import Settings


@pytest.mark.parametrize("extra_s", [0.5, 10.0, 60.0])
def test_what_waited_longest_and_takes_longest_ends_within_its_lease(extra_s: float) -> None:
    lease_s = lease_s_of(extra_s)
    assert lease_s - QUEUED_SHARE * lease_s - TIMEOUT_MAX_S == pytest.approx(extra_s)


def test_no_exchange_is_longer_than_leases_reckon_with() -> None:
    bounds = Settings.model_fields["webhook_timeout_s"].metadata
    assert ASKED_FOR_MAX_S == TIMEOUT_MAX_S
    assert max(bound.le for bound in bounds if hasattr(bound, "le")) == TIMEOUT_MAX_S
