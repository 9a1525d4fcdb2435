"""The typed client that is made from the description of the routes does what a person's program would do with it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import client as writing
from libs.embedded import packages
from tests.support.system import ONE_WAY, Business, System

PROGRAM = """
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

from activities_client import AuthenticatedClient
from activities_client.api.directory import create_record
from activities_client.api.lifecycle import get_logged, log_activity, schedule
from activities_client.api.timeline_projector import show_timeline
from activities_client.models import Entity, LogBody, PlanBody, Problem, RecordBody

url, key, business_id, user_id = sys.argv[1:]
client = AuthenticatedClient(
    base_url=url, token=key, prefix="", auth_header_name="X-API-KEY",
    headers={"X-BUSINESS-ID": business_id, "X-USER-ID": user_id, "Prefer": "wait=30"},
)
refused = schedule.sync(client=client, body=PlanBody(activity_object_name="no_such_type"))
assert isinstance(refused, Problem) and refused.errors[0].field == "activity_object_name", refused
record = create_record.sync("contact", client=client, body=RecordBody(name="Client", external_ref="client-1"))
entity = Entity(custom_object="contact", entity_id=record.id)
plan = PlanBody(
    activity_object_name="call", due_datetime=datetime.now(UTC) + timedelta(days=1), note="typed",
    associated_entities=[entity],
)
scheduled = schedule.sync(client=client, body=plan)
assert scheduled.state == "scheduled" and scheduled.version == 1, scheduled
body = LogBody(related_objects=[entity], note="done", scheduled_activity_id=UUID(scheduled.id))
logged = log_activity.sync("call", client=client, body=body)
assert (logged.id, logged.scheduled_activity_id) == (scheduled.id, scheduled.id), logged
assert get_logged.sync(logged.id, client=client).notes == "done"
shown = show_timeline.sync("contact", UUID(record.id), client=client, min_version=[f"{logged.id}:2"])
assert [(row.id, row.state) for row in shown.results] == [(logged.id, "completed")], shown
print("done")
"""


@ONE_WAY
@pytest.mark.timeout(300)
async def test_a_program_schedules_logs_and_reads_with_the_typed_client(
    system: System, business: Business, tmp_path: Path
) -> None:
    said = await asyncio.to_thread(writing.write, tmp_path)
    modules = [path for path in (tmp_path / writing.PACKAGE / "api").rglob("*.py") if path.name != "__init__.py"]
    assert f": {len(modules)} operations" in said, "each operation has its function"
    place = packages.fetch("client", packages.cache_directory())
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PROGRAM, system.url, business.api_key, business.id, business.user_id],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{place}"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
