"""What a member is told of who does not see everything, without looking at all that is there.

The roll-ups count whole kinds (planned, logged) and types that the member sees. What is not among these and still told,
because it is assigned to the member, to one of its roles, or its own, is found by indexes, each row once. The arguments
of both are those of `libs.access.sight.seen`, and behind them the names of the types that are not shared.
"""

from libs.access.sight import SIGHT_ARGUMENTS, admitted, seen

ARGUMENTS = SIGHT_ARGUMENTS + 1
VALUES = "at, type, state, source, source_kind, direction, agent"
FACT = f"'activity' as kind, activity_id as id, interaction_id, version, {VALUES}"
TALK = f"'interaction' as kind, interaction_id as id, interaction_id, version, {VALUES}"
_OWN_INDEXED = 3
"""Members whose own an activity is that have an index each; more there are only where several reports are one event."""


def kinds(first: int) -> str:
    """Write the condition that a row is of a kind that the member sees as a whole."""
    scheduled, logged = f"${first + 2}::text", f"${first + 3}::text"
    level = f"case when state in ('completed', 'logged') then {logged} else {scheduled} end"
    return f"('all' in ({scheduled}, {logged}) and {level} = 'all')"


def rolled_up(first: int) -> str:
    """Write the condition that a cell of the roll-ups is of a kind and a type that the member sees as a whole."""
    return f"({kinds(first)} and type <> all(${first + SIGHT_ARGUMENTS}::text[]))"


def whole(first: int) -> str:
    """Write the same of a fact."""
    return f"({kinds(first)} and type_id <> all(${first + 4}::uuid[]))"


def less(first: int) -> str:
    """Select, each with count -1, what roll-ups count and the member is not told of: what is private, and what came
    before it was known who may see it.
    """
    return f"""
        select {VALUES}, -1 from fact as facts
        where business_id = $1 and counted and readers is not null and type_id is not null and at >= $2 and at < $3
            and {whole(first)} and not {admitted("facts", first)}
        union all
        select {VALUES}, -1 from fact
        where business_id = $1 and counted and type_id is null and at >= $2 and at < $3 and {rolled_up(first)}
        union all
        select {VALUES}, -1 from interaction_fact
        where business_id = $1 and counted and type_id is null and at >= $2 and at < $3 and {rolled_up(first)}
    """  # noqa: S608 - constants of ours


def found(first: int) -> list[str]:
    """Select the facts that the member is told of and that are of no kind and type seen as a whole, each in one of
    these selections.
    """
    others = f"not {whole(first)}"
    return [
        *(_fact(f"{way} and {others}", first) for way in _ways(first)),
        _talk(f"agent_id = ${first} and {others}", first),
    ]


def all_of(first: int) -> list[str]:
    """Select the facts of the kinds and types that the member sees as a whole, and is told of."""
    return [_fact(whole(first), first), _talk(whole(first), first)]


def _ways(first: int) -> list[str]:
    user, roles = f"${first}::uuid", f"${first + 1}::uuid[]"
    apart = f"assignee_member_id is distinct from {user}"
    from_roles = f"{apart} and (assignee_role_id is null or assignee_role_id <> all({roles}))"
    behind = _OWN_INDEXED + 1
    return [
        f"assignee_member_id = {user}",
        f"assignee_role_id = any({roles}) and {apart}",
        *(f"own[{place}] = {user} and {from_roles}" for place in range(1, behind)),
        f"own[{behind}] is not null and {user} = any(own[{behind}:]) and {from_roles}",
    ]


def _fact(which: str, first: int) -> str:
    return f"""
        select {FACT} from (
            select *, case when state in ('completed', 'logged') then at end as logged_at from fact) as facts
        where business_id = $1 and counted and at >= $2 and at < $3 and {which} and type_id is not null
            and {seen("facts", first)} and {admitted("facts", first)}
    """  # noqa: S608


def _talk(which: str, first: int) -> str:
    return f"""
        select {TALK} from (
            select *, null::uuid as assignee_member_id, null::uuid as assignee_role_id,
                array_remove(array[agent_id], null) as own, at as logged_at from interaction_fact) as facts
        where business_id = $1 and counted and at >= $2 and at < $3 and {which} and type_id is not null
            and {seen("facts", first)}
    """  # noqa: S608
