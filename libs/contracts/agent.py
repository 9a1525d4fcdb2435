"""Who an activity is put down to, in one word: the same on timelines and in reports."""

from libs.contracts.activity import Activity, Assignee, Person


def agent_of(activity: Activity) -> str | None:
    """Name who did it, else who logged it, else who is to do it: the name, without one the member's id, or None."""
    for person in (activity.actor, activity.logged_by, activity.assignee):
        if person is not None and (word := _word_of(person)):
            return word
    return None


def _word_of(person: Person | Assignee) -> str | None:
    if person.name:
        return person.name
    return None if person.member_id is None else str(person.member_id)
