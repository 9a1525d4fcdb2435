"""Activities that tell of the same real event: which are alike, which belong together, which of them stands. Pure.

When two are alike is a setting of their business. How they are put together follows from the set of them and from what
people said by hand, so that every order of their arrival ends the same: the pairs that lie nearest come first, and two
groups become one only if every two across them are alike. Two of one teller are never the same: a system that reports
two events means two. Nothing of an activity changes but `same` and `same_as`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec

from libs.contracts import activity as contract
from libs.contracts.report import Reason as ReasonShape
from services.lifecycle.domain.alike import Case, Match, Setting, alike, may_be_one
from services.lifecycle.domain.differing import names_of_differing
from services.lifecycle.domain.held import Decision, Held, Link, Reason, SameReport, next_version

GROUP_MAX = 20
"""Activities that are one event; each names all others in its events."""

Pair = tuple[UUID, UUID]
"""Two activities, the lower id first."""


class Verdict(NamedTuple):
    """What somebody said by hand of two activities: the newest word counts."""

    is_same: bool
    by: UUID | None


class Standing(NamedTuple):
    """What an activity says of the others that tell of its event."""

    same_as: UUID | None = None
    same: tuple[contract.SameReport, ...] = ()


def pair_of(one: UUID, other: UUID) -> Pair:
    """Name two activities in the order of their ids."""
    return (one, other) if one < other else (other, one)


def stands(activity: contract.Activity) -> bool:
    """Tell whether an activity says that something happened: logged, for everybody, not taken back, not deleted."""
    return (
        activity.logged_at is not None
        and activity.retracted_at is None
        and activity.deleted_at is None
        and activity.privacy == "public"
    )


def settle(
    cases: Mapping[UUID, Case], verdicts: Mapping[Pair, Verdict], setting: Setting | None, now: datetime
) -> dict[UUID, Standing]:
    """Say of each activity how it stands. Without a setting nothing is recognised, and what is linked stays so."""
    taking_part = {identity: case for identity, case in cases.items() if stands(case.activity)}
    matches = _matches(taking_part, setting)
    settled = dict.fromkeys(cases, Standing())
    for group in _groups(taking_part, verdicts, matches, kept=_kept(taking_part, setting)):
        if len(group) == 1:
            continue
        members = [taking_part[identity] for identity in sorted(group)]
        standing = min(members, key=lambda case: _rank(case, setting)).activity.activity_id
        for case in members:
            identity = case.activity.activity_id
            others = [_told(case, other, verdicts, matches, now) for other in members if other is not case]
            settled[identity] = Standing(None if identity == standing else standing, tuple(others))
    return settled


def differs(activity: contract.Activity, standing: Standing) -> bool:
    """Tell whether an activity says something else of its event so far."""
    return (activity.same_as, tuple(activity.same)) != standing


def put(activity: contract.Activity, standing: Standing) -> None:
    """Note how an activity stands, on a version that nobody else has yet."""
    given = cast(Any, activity)
    given.same_as, given.same = standing.same_as, list(standing.same)


def link(held: Held, standing: Standing, now: datetime, why: str | None = None) -> Decision:
    """Make the version that says how an activity stands now; all else of it stays as it is."""
    later = next_version(held, now, same_as=standing.same_as, same=list(standing.same))
    return Decision("applied", held._replace(activity=later), ("activity.updated",), why or _why(held, standing))


def reason_of(activity: contract.Activity) -> ReasonShape | None:
    """Say in a receipt that other reports are of the same event, and which one is shown."""
    if not activity.same:
        return None
    named = ", ".join(f"{each.activity_id} ({each.source})" for each in activity.same)
    shown = "this one is shown and counted" if activity.same_as is None else f"{activity.same_as} is shown and counted"
    return Reason(field="activity_id", code="same_event", message=f"is the same event as {named}; {shown}")


def _why(held: Held, standing: Standing) -> str:
    if standing.same_as is not None:
        return f"{standing.same_as} tells of the same event and stands for it"
    if not standing.same:
        return "no other report is of the same event any more"
    before = {each.activity_id for each in held.activity.same}
    new = [str(each.activity_id) for each in standing.same if each.activity_id not in before]
    return f"tells of the same event as {', '.join(new)}" if new else "what others say of the same event has changed"


def _matches(cases: Mapping[UUID, Case], setting: Setting | None) -> dict[Pair, Match]:
    """Find all alike pairs, by going through each place in the order of time."""
    if setting is None:
        return {}
    places: dict[UUID, list[Case]] = {}
    for case in sorted(cases.values(), key=lambda case: (case.starts_at, case.activity.activity_id)):
        for place in case.places:
            places.setdefault(place, []).append(case)
    reach = timedelta(seconds=setting.tolerance_s) if "time" in setting.agree else timedelta.max / 2
    found: dict[Pair, Match] = {}
    for one, other in (pair for together in places.values() for pair in _within(together, reach)):
        match = alike(one, other, setting)
        if match is not None:
            found[pair_of(one.activity.activity_id, other.activity.activity_id)] = match
    return found


def _within(together: Sequence[Case], reach: timedelta) -> Iterable[tuple[Case, Case]]:
    """Pair those of one place, in the order of their beginnings, that lie no more than that apart."""
    for number, one in enumerate(together):
        for other in together[number + 1 :]:
            if other.starts_at - one.ends_at > reach:
                break
            yield one, other


def _kept(cases: Mapping[UUID, Case], setting: Setting | None) -> set[Pair]:
    """Name the links that nothing is left of to judge by: without a setting, or since an erasure."""
    return {
        pair_of(identity, other.activity_id)
        for identity, case in cases.items()
        for other in case.activity.same
        if other.activity_id in cases
        and (setting is None or case.is_erased or cases[other.activity_id].is_erased)
    }  # fmt: skip


def _groups(
    cases: Mapping[UUID, Case], verdicts: Mapping[Pair, Verdict], matches: Mapping[Pair, Match], *, kept: set[Pair]
) -> Iterable[set[UUID]]:
    apart = {pair for pair, verdict in verdicts.items() if not verdict.is_same}
    by_hand = {pair for pair, verdict in verdicts.items() if verdict.is_same and pair[0] in cases and pair[1] in cases}
    bound = {identity for pair in by_hand for identity in pair}
    bound |= {identity for identity, case in cases.items() if case.is_erased}
    group_of = {identity: {identity} for identity in cases}

    def join(pair: Pair, *, recognised: bool) -> None:
        one, other = group_of[pair[0]], group_of[pair[1]]
        if one is other or len(one) + len(other) > GROUP_MAX:
            return
        across = [pair_of(left, right) for left in one for right in other]
        talks = [identity for identity in (*one, *other) if cases[identity].activity.interaction_id is not None]
        if not apart.isdisjoint(across) or len(talks) > 1:
            return
        if recognised and not all(_fit(each, cases, matches, bound) for each in across):
            return
        one |= other
        for identity in other:
            group_of[identity] = one

    for pair in [*sorted(by_hand), *sorted(kept)]:
        join(pair, recognised=False)
    for pair in sorted(matches, key=lambda pair: (matches[pair].distance, pair)):
        join(pair, recognised=True)
    return {id(group): group for group in group_of.values()}.values()


def _fit(pair: Pair, cases: Mapping[UUID, Case], matches: Mapping[Pair, Match], bound: Collection[UUID]) -> bool:
    """Tell whether two may be in one group; those who are there by hand, or erased, need not be alike."""
    if not may_be_one(cases[pair[0]], cases[pair[1]]):
        return False
    return pair in matches or pair[0] in bound or pair[1] in bound


def _rank(case: Case, setting: Setting | None) -> tuple[Any, ...]:
    """Say who stands for an event, the lowest: a conversation with its messages, then sources as the setting says."""
    activity = case.activity
    sources = setting.sources if setting is not None else ()
    place = sources.index(activity.source) if activity.source in sources else len(sources)
    made_of_talk = activity.interaction_id is None
    return made_of_talk, place, activity.planned_at is None, case.starts_at, activity.activity_id


def _told(
    case: Case, other: Case, verdicts: Mapping[Pair, Verdict], matches: Mapping[Pair, Match], now: datetime
) -> contract.SameReport:
    """Tell of another one in the event of the first: whose it is, since when and why they are linked."""
    activity, told = case.activity, other.activity
    pair = pair_of(activity.activity_id, told.activity_id)
    before = next((each for each in activity.same if each.activity_id == told.activity_id), None)
    if before is not None and (case.is_erased or other.is_erased):
        return before
    verdict, match = verdicts.get(pair), matches.get(pair)
    given: dict[str, Any] = {}
    if verdict is not None and verdict.is_same:
        given["linked_by"] = verdict.by
    elif match is not None:
        given |= {"agreed": list(match.agreed), "gap_s": match.gap_s}
    elif before is not None:
        given |= {"linked_by": before.linked_by, "agreed": before.agreed, "gap_s": before.gap_s}
    return SameReport(
        activity_id=told.activity_id,
        source=told.source,
        source_kind=told.source_kind,
        logged_at=cast(datetime, told.logged_at),
        occurred_at=told.occurred_at,
        links=[Link(object=each.object, record_id=each.record_id, all=each.all) for each in told.links],
        member_ids=_members_of(told),
        linked_at=before.linked_at if before is not None else now,
        differs=names_of_differing(activity, told),
        **given,
    )


def _members_of(activity: contract.Activity) -> list[UUID]:
    own = contract.own_of(cast(contract.Activity, msgspec.structs.replace(cast(Any, activity), same=[])))
    assignee = activity.assignee.member_id if activity.assignee is not None else None
    return own if assignee is None or assignee in own else [*own, assignee]
