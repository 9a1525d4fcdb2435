"""The sample's own fields and rules take what the sample's calls say."""

from datetime import UTC, date, datetime

from cli.sample import fields
from cli.sample.generate import generate
from libs.contracts.decoding import decoder_of
from libs.contracts.report import ReportReceived
from services.ingest import domain, reading
from services.ingest.domain import Arrival
from tests.integration.test_lifecycle_reports import admit, answers
from tests.integration.test_lifecycle_routes import World, world

__all__ = ("world",)

decode = decoder_of(ReportReceived)


async def test_every_call_of_the_sample_is_admitted_with_its_fields(world: World) -> None:
    for field in fields.FIELDS:
        assert (await world.call("POST", f"/{fields.OBJECT}/fields", field)).status_code == 201
    assert (await world.call("PUT", f"/{fields.OBJECT}/rules", fields.RULES)).status_code == 200
    arrival = Arrival(world.tenant.business_id, datetime.now(UTC))
    [sample, *_] = generate(7, 1_500, date(2026, 11, 21))
    accepted = [domain.accept(arrival, reading.read_report(line)) for line in sample.reports]
    told = [decode(each.value) for each in accepted]
    given = [event for event in told if event.report.fields]
    await admit(world.database, *told)
    reasons = [reason for each in await answers(world.database) for reason in each.reasons if each.outcome == "refused"]
    assert (reasons, len(given) > 10) == ([], True)
    assert any("reason" in event.report.fields for event in given)
