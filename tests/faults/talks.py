"""The same about conversations (I1, I2, I3, I10): each acknowledged is there once, as it was first, and was told of."""

from uuid import UUID

from tests.faults.evidence import Case, Found


def talks_accepted(case: Case) -> Found:
    """I1: every acknowledged conversation is in the truth, under the id that was answered."""
    found = [
        f"conversation {ref} was acknowledged under {len(talk.ids)} ids"
        for ref, talk in case.told.talks.items()
        if len(talk.ids) > 1
    ]
    for ref, talk in case.told.talks.items():
        held = case.talks.get(ref)
        if talk.acknowledged and (held is None or str(held[0]) not in talk.ids):
            found.append(f"conversation {ref} ({', '.join(talk.ids)}) was acknowledged and is not there")
    return found


def no_other_talks(case: Case) -> Found:
    """I2: there is no conversation that nobody reported."""
    known = {ref for ref, talk in case.told.talks.items() if talk.acknowledged or talk.unknown}
    return [f"conversation {id_} ({ref}) is there, and nobody reported it" for ref, (id_, _) in case.talks.items()
            if ref not in known]  # fmt: skip


def talks_as_first(case: Case) -> Found:
    """I3: another body under a name that is taken was not taken."""
    return [
        f"conversation {ref}: another body was taken" for ref, talk in case.told.talks.items() if talk.taken_wrongly
    ]


def talks_told_of(case: Case) -> Found:
    """I10: each conversation was published at its version, and none that is not there."""
    kept = {(str(id_), version) for id_, version in case.talks.values()}
    published = case.published.talks.get(case.business, set())
    unpublished = set() if case.published.shortened else kept - published
    strays = {each for each in published if UUID(each[0]) not in {id_ for id_, _ in case.talks.values()}}
    return [
        *(f"conversation {id_} version {n} is there and was never published" for id_, n in unpublished),
        *(f"conversation {id_} version {n} was published and is not there" for id_, n in strays),
    ]
