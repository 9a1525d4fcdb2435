"""I1 to I12 (design: what must hold), each a function of the evidence that says in sentences what breaks it."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import orjson

from services.reporting.domain.facts import fact_of
from tests.faults.evidence import POISON, Case
from tests.faults.history import Life
from tests.faults.load import RECORDS, REFUSED

Found = list[str]
SAID_MAX = 5
"""How many sentences an invariant says about a business; the rest is counted."""
DELETED_GRACE_S = 6.0
"""A webhook that was under way when its endpoint was deleted may arrive so much later: its timeout and a claim."""
LOGGING = {"log", "complete"}
FROZEN = {"activity.appended", "activity.updated", "activity.deleted", "activity.restored", "activity.erased"}
FINAL = {"delivered", "exhausted", "cancelled", "parked"}
PAGE = 200


def accepted_once(case: Case) -> Found:
    """I1: every acknowledged activity is in the truth exactly once, or visible as refused with its reason."""
    found = _about(case, "receipt")
    standing = case.by_ref()
    for ref, life in case.told.lives.items():
        if len(life.activity_ids) > 1:
            found.append(f"{ref} was acknowledged under {len(life.activity_ids)} ids")
        if not life.activity_ids:
            continue
        held = [id_ for id_ in standing.get(ref, []) if str(id_) in life.activity_ids]
        if not held and not _waits(case, life):
            found.append(f"{ref} ({', '.join(life.activity_ids)}) was acknowledged and is not there")
        if len(standing.get(ref, [])) > 1:
            found.append(f"{ref} is there {len(standing[ref])} times")
        found += _appends_missing(case, ref, life, held)
    found += _unanswered(case)
    return found


def _waits(case: Case, life: Life) -> bool:
    """Tell whether only reports are known that wait for their activity, which was never reported."""
    outcomes = {case.admissions.get(UUID(receipt)) for write in life.writes.values() for receipt in write.receipts}
    return bool(outcomes) and outcomes <= {"waiting", "refused"}


def _appends_missing(case: Case, ref: str, life: Life, held: Sequence[UUID]) -> Found:
    writes = [write for write in life.writes.values() if write.action == "append"]
    if not held or not writes:
        return []
    count = case.events[held[0]].activity.appends_count
    least = sum(write.acknowledged for write in writes)
    if least <= count <= len(writes):
        return []
    return [f"{ref}: {least} of {len(writes)} additions were acknowledged, it has {count}"]


def _unanswered(case: Case) -> Found:
    receipts = {UUID(each) for life in case.told.lives.values() for w in life.writes.values() for each in w.receipts}
    missing = [each for each in receipts if each not in case.admissions]
    return [f"receipt {each} was given and lifecycle knows nothing of it" for each in missing]


def nothing_else(case: Case) -> Found:
    """I2: the truth holds nothing that was not acknowledged or of unknown outcome, and nothing refused."""
    found = []
    for ref, ids in case.by_ref().items():
        life = case.told.lives.get(ref)
        if life is None or not (life.acknowledged | life.possible):
            found.append(f"activity {ids[0]} ({ref}) is there, and nobody reported it")
    for activity_id, event in case.events.items():
        if REFUSED in (event.activity.summary or ""):
            found.append(f"activity {activity_id} holds what was refused: {event.activity.summary!r}")
    return found


def lives_in_order(case: Case) -> Found:
    """I3: content is the first accepted, versions run 1..n, only allowed changes, logged stays logged."""
    found = _about(case, "activity")
    for activity_id, versions in case.histories.items():
        found += [f"activity {activity_id}: {text}" for text in _broken_life(versions)]
    standing = case.by_ref()
    for ref, life in case.told.lives.items():
        found += _wrongly_taken(ref, life)
        for activity_id in standing.get(ref, []):
            found += _wrong_end(case, activity_id, life)
    return found


def _broken_life(versions: Sequence[Any]) -> Found:
    found, logged = [], False
    if [each.version for each in versions] != list(range(1, len(versions) + 1)):
        found.append(f"its versions are {[each.version for each in versions]}")
    for each in versions:
        activity = each.event.activity
        if activity.version != each.version:
            found.append(f"version {each.version} holds version {activity.version}")
        if logged and activity.logged_at is None:
            found.append(f"version {each.version} ({each.type}) is scheduled again after it was logged")
        if logged and each.type not in FROZEN:
            found.append(f"version {each.version} is {each.type} after it was logged")
        logged = logged or activity.logged_at is not None
    summaries = {each.event.activity.summary for each in versions if each.event.activity.summary}
    if len(summaries) > 1:
        found.append(f"it has had {len(summaries)} summaries: {sorted(summaries)}")
    return found


def _wrongly_taken(ref: str, life: Life) -> Found:
    found = [
        f"{ref}: {write.action} was to be refused with {write.expected}, and was taken"
        for write in life.writes.values()
        if write.expected is not None and write.acknowledged
    ]
    if ref.startswith("p"):
        logs = [write for write in life.writes.values() if write.action == "log" and write.acknowledged]
        if len(logs) > 1:
            found.append(f"{ref}: {len(logs)} logs of one scheduled activity were taken")
    return found


def _wrong_end(case: Case, activity_id: UUID, life: Life) -> Found:
    activity = case.events[activity_id].activity
    known, possible = life.acknowledged, life.possible
    logged = activity.logged_at is not None
    found = []
    if known & LOGGING and not logged:
        found.append(f"{life.ref}: was logged, and is not")
    if logged and not (known | possible) & LOGGING:
        found.append(f"{life.ref}: is logged, and nobody said so")
    if life.ref.startswith("p"):
        newest = max((w.version or 0 for w in life.writes.values() if w.expected is None), default=0)
        slack = sum(w.unknown and not w.acknowledged and w.expected is None for w in life.writes.values())
        if not newest <= activity.version <= newest + slack:
            found.append(f"{life.ref}: was answered at version {newest}, is at {activity.version}")
    elif "cancel" in known and "schedule" in known and not logged and activity.cancelled_at is None:
        found.append(f"{life.ref}: was cancelled, and is not")
    return found


def shown_exactly(case: Case) -> Found:
    """I4: each timeline holds exactly the activities of its record, each once, at the truth's version; badge = rows."""
    return [*_about(case, "timeline"), *_about(case, "badge")]


async def shown_in_order(case: Case) -> Found:
    """I4, through the routes: pages in the stated order, each activity once, as many as the badge says."""
    found = []
    ids = [case.tenant.record_id(number) for number in range(RECORDS)]
    answer = await case.tenant.call("POST", "/api/timeline/badges", {"object": "contact", "record_ids": ids})
    if answer.status != 200:
        return [f"badges answer {answer.status}"]
    badges = orjson.loads(answer.body)["counts"]
    for record_id in ids:
        lines = await _pages(case, f"/api/timeline/contact/{record_id}?limit={PAGE}")
        places = [(line["at"], line["activity_id"]) for line in lines]
        if places != sorted(places, reverse=True):
            found.append(f"the timeline of contact {record_id} is not in order")
        if len(set(places)) != len(places):
            found.append(f"the timeline of contact {record_id} shows an activity twice")
        if badges[record_id] != len(lines):
            found.append(f"the badge of contact {record_id} says {badges[record_id]}, there are {len(lines)} lines")
    return found


async def _pages(case: Case, path: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await case.tenant.call("GET", f"{path}{cursor}")
        if answer.status != 200:
            return lines
        page = orjson.loads(answer.body)
        lines += page["results"]
        if page["next"] is None:
            return lines
        cursor = f"&cursor={page['next']}"


def counted_right(case: Case) -> Found:
    """I5: facts and roll-ups equal a recomputation from the truth."""
    return _about(case, "reports")


async def totals_right(case: Case) -> Found:
    """I5, through the routes: totals by state equal those counted from the truth; parts add up to the whole."""
    span = "/api/reports/volume?from=2026-01-01&to=2031-12-31&granularity=month"
    grouped, whole = [await case.tenant.call("GET", f"{span}{more}") for more in ("&group_by=state", "")]
    if (grouped.status, whole.status) != (200, 200):
        return [f"reports answer {grouped.status}, {whole.status}"]
    told: Counter[str] = Counter()
    for cell in orjson.loads(grouped.body)["series"]:
        told[cell["group"]["state"]] += cell["count"]
    right: Counter[str] = Counter()
    for event in case.events.values():
        fact = fact_of(event.activity)
        if fact.counted:
            right[{"due": "scheduled", "undated": "scheduled"}.get(fact.state, fact.state)] += 1
    found = [] if told == right else [f"reports: totals by state are {dict(told)}, the truth has {dict(right)}"]
    total = orjson.loads(whole.body)["total"]
    return found if total == sum(told.values()) else [*found, f"reports: the parts are {told}, the whole is {total}"]


def told_to_all(case: Case) -> Found:
    """I6: whoever was to hear of a logged activity has answered 2xx, or the delivery's end is visible."""
    found = [text for text in _about(case, "webhooks") if text.endswith("but is not")]
    found += [text for invariant, text in case.notes if invariant == "I6"]
    answered = {
        (each.endpoint, each.activity_id, each.event_type, each.version) for each in case.ledger if each.answered
    }
    names = {id_: name for name, id_ in case.endpoints.items()}
    for row in case.deliveries:
        place = (names.get(row["endpoint_id"], "?"), str(row["activity_id"]), row["event_type"], row["version"])
        if row["status"] not in FINAL:
            found.append(f"the delivery {row['id']} to {place[0]} is still {row['status']}")
        elif row["status"] == "delivered" and place not in answered:
            found.append(f"{place} is said to be delivered; the receiver never answered 2xx")
    for each in case.ledger:
        if len(each.digests) > 1:
            found.append(
                f"{each.event_type} of {each.activity_id} came to {each.endpoint} with {len(each.digests)} bodies"
            )
    ids = Counter((each.endpoint, each.activity_id, each.event_type, each.version) for each in case.ledger)
    found += [f"{place} came under {count} webhook-ids" for place, count in ids.items() if count > 1]
    return found


def nothing_forbidden(case: Case) -> Found:
    """I7: no webhook for a scheduled activity, for a wrong or deleted endpoint, or for what is not in the truth."""
    found = [text for text in _about(case, "webhooks") if not text.endswith("but is not")]
    found += [text for invariant, text in case.notes if invariant == "I7"]
    for each in case.ledger:
        what = f"{each.event_type} of {each.activity_id} version {each.version} at {each.endpoint}"
        versions = case.histories.get(UUID(each.activity_id), [])
        then = next((row.event.activity for row in versions if row.version == each.version), None)
        if then is None:
            found.append(f"{what}: the truth has no such version")
        elif then.logged_at is None or not each.logged:
            found.append(f"{what}: it was only scheduled")
        elif each.endpoint == "phone" and (then.source != "phone" or each.event_type != "activity.logged"):
            found.append(f"{what}: the endpoint did not ask for it ({then.source})")
        deleted = case.told.endpoints.get(each.endpoint)
        if deleted is not None and each.last_at > deleted + DELETED_GRACE_S:
            found.append(f"{what}: came {each.last_at - deleted:.1f} s after the endpoint was deleted")
    return found


def everything_handled(case: Case) -> Found:
    """I8: what was published was applied, or known already, or set aside; and only poison is set aside."""
    aside = {dict(letter.headers).get("ce_id", b"").decode() for _, letter in case.published.letters}
    found = [
        f"the report {receipt_id} was published, and neither admitted nor set aside"
        for receipt_id in case.published.received.get(case.business, set())
        if receipt_id not in case.admissions and str(receipt_id) not in aside
    ]
    found += [
        f"{package} has set aside {letter.topic} {letter.key!r}, which is not poison: {letter.reason}"
        for package, letter in case.published.letters
        if POISON not in dict(letter.headers) and (letter.key or b"").startswith(case.business.encode())
    ]
    return found + _poison_gone(case)


def _poison_gone(case: Case) -> Found:
    aside = {
        f"{package}:{dict(letter.headers).get(POISON, b'').decode()}" for package, letter in case.published.letters
    }
    return [
        f"{place.partition(':')[0]} has heard poison on {topic} and has not set it aside"
        for place, topic in case.injected.items()
        if place not in aside
    ]


def apart(case: Case) -> Found:
    """I9: no answer, event, webhook, row or log line of one business holds another's canary."""
    seen = [text for invariant, text in [*case.told.seen, *case.notes] if invariant == "I9"]
    foreign = [text for business, text in case.published.foreign if business == case.business]
    return [*seen, *foreign, *case.strays]


def one_entry_each(case: Case) -> Found:
    """I10: one history entry, and one event, for each change of state."""
    found = []
    kept = {(str(id_), each.version) for id_, versions in case.histories.items() for each in versions}
    published = case.published.versions.get(case.business, set())
    unpublished = set() if case.published.shortened else kept - published
    found += [f"activity {id_} version {n} is in the history and was never published" for id_, n in unpublished]
    found += [f"activity {id_} version {n} was published and is in no history" for id_, n in published - kept]
    for activity_id, versions in case.histories.items():
        completed = [each.version for each in versions if each.type == "activity.completed"]
        if len(completed) > 1:
            found.append(f"activity {activity_id} was completed in versions {completed}")
        created = [each.version for each in versions if each.type == "activity.created"]
        if created not in ([], [1]):
            found.append(f"activity {activity_id} was created in versions {created}")
    missing = set(case.told.endpoints) - set(case.endpoints)
    return found + [f"the endpoint {name} was made and is not there" for name in missing]


def read_what_was_written(case: Case) -> Found:
    """I12: who wrote reads it where that is promised; reads never go backwards."""
    return [text for invariant, text in case.told.seen if invariant == "I12"]


FROM_STORES: dict[str, Callable[[Case], Found]] = {
    "I1": accepted_once,
    "I2": nothing_else,
    "I3": lives_in_order,
    "I4": shown_exactly,
    "I5": counted_right,
    "I6": told_to_all,
    "I7": nothing_forbidden,
    "I8": everything_handled,
    "I9": apart,
    "I10": one_entry_each,
    "I12": read_what_was_written,
}
THROUGH_ROUTES = {"I4": shown_in_order, "I5": totals_right}


async def judge(case: Case) -> dict[str, Found]:
    """Judge a business: what breaks each invariant (I11 is judged by the plan, which measures recovery)."""
    found = {name: check(case) for name, check in FROM_STORES.items()}
    for name, ask in THROUGH_ROUTES.items():
        found[name] += await ask(case)
    return {name: _said(texts) for name, texts in found.items() if texts}


def _said(texts: Found) -> Found:
    more = len(texts) - SAID_MAX
    return [*texts[:SAID_MAX], f"… and {more} more"] if more > 0 else texts


def _about(case: Case, subject: str) -> Found:
    """Take from the reconciler's differences those about a subject: the sentence begins with it."""
    return [text for text in case.differences if text.startswith(subject)]
