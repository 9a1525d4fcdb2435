"""Activity objects with fields, for tests of what is done with activities of them."""

from datetime import UTC, datetime

from libs.contracts.activity_object import ObjectField
from libs.database import Database
from services.lifecycle import looking
from services.lifecycle.domain.field_changes import put_field
from services.lifecycle.domain.objects import next_version
from services.lifecycle.store import objects
from tests.support.http import Tenant


async def give_fields(database: Database, tenant: Tenant, api_name: str, *fields: ObjectField) -> None:
    """Add fields to an activity object of a business."""
    async with database.work() as tx:
        types = await looking.find_types(tx, [tenant.business_id], datetime.now(UTC))
        kind = next(each for each in types[tenant.business_id] if each.api_name == api_name)
        after = kind.fields
        for field in fields:
            after = put_field(after, field)
        await objects.save_object(tx, next_version(kind, fields=after))
