"""I1 to I12 (design: what must hold), each a function of the evidence that says in sentences what breaks it."""

from collections.abc import Callable

from tests.faults.evidence import POISON, Case, Found
from tests.faults.shown import counted_right, shown_exactly, shown_in_order, totals_right
from tests.faults.talks import no_other_talks, talks_accepted, talks_as_first, talks_told_of
from tests.faults.told import nothing_forbidden, told_to_all
from tests.faults.truth import accepted_once, lives_in_order, nothing_else

SAID_MAX = 5
"""How many sentences an invariant says about a business; the rest is counted."""


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


FROM_STORES: dict[str, tuple[Callable[[Case], Found], ...]] = {
    "I1": (accepted_once, talks_accepted),
    "I2": (nothing_else, no_other_talks),
    "I3": (lives_in_order, talks_as_first),
    "I4": (shown_exactly,),
    "I5": (counted_right,),
    "I6": (told_to_all,),
    "I7": (nothing_forbidden,),
    "I8": (everything_handled,),
    "I9": (apart,),
    "I10": (one_entry_each, talks_told_of),
    "I12": (read_what_was_written,),
}
THROUGH_ROUTES = {"I4": shown_in_order, "I5": totals_right}


def look(case: Case) -> dict[str, Found]:
    """Look at what stores, ledger and history say about a business: what breaks each invariant."""
    found = {name: [text for check in checks for text in check(case)] for name, checks in FROM_STORES.items()}
    return {name: texts for name, texts in found.items() if texts}


async def judge(case: Case) -> dict[str, Found]:
    """Judge a business: what breaks each invariant (I11 is judged by the plan, which measures recovery)."""
    found = look(case)
    for name, ask in THROUGH_ROUTES.items():
        found[name] = found.get(name, []) + await ask(case)
    return {name: _said(texts) for name, texts in found.items() if texts}


def _said(texts: Found) -> Found:
    more = len(texts) - SAID_MAX
    return [*texts[:SAID_MAX], f"… and {more} more"] if more > 0 else texts
