"""What of an activity is shown, and where."""

from datetime import timedelta
from uuid import uuid4

import orjson

from libs.contracts.activity import Assignee, Link, Person, newest_of
from libs.contracts.agent import agent_of
from libs.contracts.ids import record_id_of
from services.timeline_projector.domain import lines as domain
from services.timeline_projector.domain.conversations import talk_of
from tests.support.conversations import conversation
from tests.support.histories import START, activity, event, next_version, planned

BUSINESS = uuid4()
CONTACT, LEAD = uuid4(), uuid4()


def test_each_linked_record_is_a_place_once() -> None:
    links = [Link(object="contact", record_id=CONTACT), Link(object="lead", record_id=LEAD)]
    shown = activity(BUSINESS, links=[*links, links[0]])
    assert domain.links_of(shown) == [("contact", CONTACT), ("lead", LEAD)]


def test_all_records_of_an_object_cover_each_of_them() -> None:
    links = [Link(object="contact", record_id=CONTACT), Link(object="contact", all=True)]
    assert domain.links_of(activity(BUSINESS, links=links)) == [("contact", domain.EVERY)]


def test_link_by_external_ref_alone_leads_to_the_record_it_will_be() -> None:
    shown = activity(BUSINESS, links=[Link(object="contact", external_ref="c-1")])
    assert domain.links_of(shown) == [("contact", record_id_of(BUSINESS, "contact", "c-1"))]
    assert orjson.loads(domain.head_of(shown).links) == [["contact", str(record_id_of(BUSINESS, "contact", "c-1"))]]


def test_conversation_with_a_link_by_external_ref_alone_is_written_the_same() -> None:
    links = [Link(object="contact", external_ref="c-1")]
    talk = talk_of(conversation(BUSINESS, links=links).interaction)
    assert orjson.loads(talk.links) == [["contact", str(record_id_of(BUSINESS, "contact", "c-1"))]]


def test_deleted_activity_is_nowhere() -> None:
    links = [Link(object="contact", record_id=CONTACT)]
    assert domain.links_of(activity(BUSINESS, links=links, deleted_at=START)) == []


def test_only_the_highest_version_of_a_batch_is_shown() -> None:
    first = planned(BUSINESS)
    third = next_version(next_version(first), summary="third")
    (newest,) = newest_of([event(third), event(first), event(third)]).values()
    head = domain.head_of(newest)
    assert (head.version, head.summary) == (3, "third")


def test_a_note_stands_in_for_the_summary_of_what_has_neither_summary_nor_subject() -> None:
    note = "<p>Bring <b>papers</b> &amp; pens</p><ul><li>soon</li></ul>"

    def summary(**given: str | None) -> str | None:
        return domain.head_of(activity(BUSINESS, **{"summary": None, "notes": note} | given)).summary

    assert summary() == "Bring papers & pens soon"
    assert (summary(summary="said"), summary(subject="title"), summary(notes="<br>")) == ("said", None, None)
    assert summary(notes="x" * 500) == "x" * 199 + "…"
    assert summary(privacy="team") is None


def test_entries_that_stay_are_left_alone_and_others_go_or_come() -> None:
    first = planned(BUSINESS, links=[Link(object="contact", record_id=CONTACT), Link(object="lead", record_id=LEAD)])
    second = next_version(first, links=[Link(object="contact", record_id=CONTACT), Link(object="account", all=True)])
    key = (BUSINESS, first.activity_id)
    before, now = domain.head_of(first), domain.head_of(second)
    gone, come = domain.moves({key: now}, {key: domain.Placed(before.at, before.upcoming, before.links)})
    assert [(entry.object, entry.record_id) for entry in gone] == [("lead", LEAD)]
    assert [(entry.object, entry.record_id) for entry in come] == [("account", domain.EVERY)]


def test_planned_is_upcoming_until_it_is_logged_or_cancelled() -> None:
    plan = planned(BUSINESS, due_at=START)
    assert domain.head_of(plan).upcoming
    assert not domain.head_of(next_version(plan, cancelled_at=START)).upcoming
    assert not domain.head_of(next_version(plan, logged_at=START)).upcoming


def test_state_in_a_line_follows_from_the_moment_it_is_read() -> None:
    row = domain.head_of(planned(BUSINESS, due_at=START))._asdict() | {"icon": None, "colour": None}
    assert domain.line_of(row, START - timedelta(seconds=1))["state"] == "scheduled"
    assert domain.line_of(row, START + timedelta(seconds=1))["state"] == "overdue"


def test_agent_is_the_actor_then_who_logged_it_then_the_assignee() -> None:
    member = uuid4()
    shown = activity(BUSINESS, actor=Person(name="Ada"), logged_by=Person(name="Ben"), assignee=Assignee(name="Cleo"))
    assert agent_of(shown) == "Ada"
    assert agent_of(shown.model_copy(update={"actor": None})) == "Ben"
    assert agent_of(shown.model_copy(update={"actor": Person(), "logged_by": None})) == "Cleo"
    assert agent_of(activity(BUSINESS, assignee=Assignee(member_id=member))) == str(member)
    assert agent_of(activity(BUSINESS, assignee=Assignee(role_id=member))) is None
