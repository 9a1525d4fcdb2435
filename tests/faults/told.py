"""I6 and I7: whoever was to hear of something has heard of it, and nobody of anything else."""

from collections import Counter
from uuid import UUID

from tests.faults.evidence import Case, Found

DELETED_GRACE_S = 6.0
"""A webhook that was under way when its endpoint was deleted may arrive so much later: its timeout and a claim."""
FINAL = {"delivered", "exhausted", "cancelled", "parked"}


def told_to_all(case: Case) -> Found:
    """I6: whoever was to hear of a logged activity has answered 2xx, or the delivery's end is visible."""
    found = [text for text in case.about("webhooks") if text.endswith("but is not")]
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
    found = [text for text in case.about("webhooks") if not text.endswith("but is not")]
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
