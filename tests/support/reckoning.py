"""What the activities of a business ought to be after any calls and reports: reckoned in plain words, without the
product's code.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

PLAN, COMPLETE, LOG = 1, 2, 3
RANKS = {"schedule": PLAN, "complete": COMPLETE, "log": LOG}
BY_REQUEST = "request"
PAST = "2026"


@dataclass(frozen=True)
class Report:
    """What an upstream system says of an activity. `number`: in which order it was received; it is its name as well.

    `known_only`: the activity has to be there; `typed`: it says of which type the activity is, as it has to where it
    may be the first to speak of it.
    """

    number: int
    activity_id: str
    action: str
    content: tuple[tuple[str, Any], ...] = ()
    known_only: bool = False
    typed: bool = False
    kind: str | None = None


@dataclass
class Reckoned:
    """An activity; at version 0 it is not there yet. `given`: what was said of it, and with which rank, by name.

    `words`: by which words it was logged.
    """

    id: str
    version: int = 0
    given: dict[str, tuple[int, Any]] = field(default_factory=dict)
    planned: bool = False
    logged: bool = False
    cancelled: bool = False
    retracted: bool = False
    additions: int = 0
    words: frozenset[str] = frozenset()
    follows: str | None = None

    def value(self, name: str) -> Any:
        """Say what holds."""
        return self.given.get(name, (0, None))[1]

    @property
    def is_open(self) -> bool:
        """Tell whether it is planned and still to be done."""
        return self.planned and not self.logged and not self.cancelled

    @property
    def keeps_too_many(self) -> bool:
        """Tell whether it cannot be logged with the records it is planned with: at most one, as all are contacts."""
        return not self.logged and len(self.value("links") or ()) > 1

    @property
    def completed(self) -> bool:
        """Tell whether it was planned and then logged; who says `complete` says that as well."""
        return self.logged and (self.planned or "complete" in self.words)

    @property
    def state(self) -> str:
        """Name its state."""
        if self.logged:
            return "completed" if self.completed else "logged"
        if self.cancelled:
            return "cancelled"
        due = self.value("due")
        return "overdue" if due is not None and due < PAST else "scheduled"

    @property
    def seen(self) -> tuple[Any, ...]:
        """What makes two versions differ."""
        values = {name: value for name, (_, value) in self.given.items() if value}
        return values, self.planned, self.logged, self.completed, self.cancelled, self.retracted, self.additions

    def become(self, rank: int = PLAN, content: Iterable[tuple[str, Any]] = (), **changes: Any) -> bool:
        """Become the next version, unless nothing differs in it; what was said with a higher rank stays."""
        later = replace(self, given=dict(self.given), **changes)
        for name, value in content:
            if later.given.get(name, (0, None))[0] <= rank:
                later.given[name] = (rank, value)
        if later.seen == self.seen:
            return False
        vars(self).update(vars(later) | {"version": self.version + 1})
        return True

    def log(self, rank: int, content: Iterable[tuple[str, Any]], word: str) -> bool:
        """Become logged, or take in a second word about what was logged; each word is taken once."""
        if self.words & {word, BY_REQUEST}:
            return False
        return self.become(rank, content, logged=True, cancelled=False, words=self.words | {word})


class Reckoning:
    """A business: its activities, what became of reports (outcome and version by number), and its merged records."""

    def __init__(self, records: Iterable[str]) -> None:
        self.activities: dict[str, Reckoned] = {}
        self.outcomes: dict[int, tuple[str, int | None]] = {}
        self.parents: dict[str, str | None] = dict.fromkeys(records)
        self._waiting: dict[str, list[Report]] = {}

    def of(self, identity: str) -> Reckoned:
        """Find an activity, or make room for it."""
        return self.activities.setdefault(identity, Reckoned(identity))

    def hear(self, batch: Iterable[Report]) -> None:
        """Admit reports in their order, each once; those that wait are looked at again, the oldest first."""
        for waiting in self._waiting.values():
            waiting.sort(key=lambda report: report.number)
        for report in dict.fromkeys(batch):
            if report.number in self.outcomes:
                continue
            outcome = self._decide(report)
            if outcome == "applied":
                self.look_again(report.activity_id)
            elif outcome == "waiting":
                self._waiting.setdefault(report.activity_id, []).append(report)

    def look_again(self, identity: str) -> None:
        """Admit what waited for an activity, as long as something moves."""
        moved = True
        while moved:
            outcomes = {report: self._decide(report) for report in self._waiting.get(identity, ())}
            self._waiting[identity] = [report for report, outcome in outcomes.items() if outcome == "waiting"]
            moved = "applied" in outcomes.values()

    def undo(self, identity: str, following: str | None) -> None:
        """Retract what was logged; `following` is planned again as it was."""
        undone = self.of(identity)
        undone.become(additions=undone.additions + 1, retracted=True)
        if following is not None:
            content = [(name, value) for name, (_, value) in undone.given.items() if name != "logged_at"]
            self.activities[following] = Reckoned(following, follows=identity)
            self.activities[following].become(PLAN, content, planned=True)

    def root(self, record: str) -> str:
        """Name the record that stands for another one."""
        parent = self.parents[record]
        return record if parent is None else self.root(parent)

    def merge(self, record: str, into: str) -> bool:
        """Let one record stand for another one, where both stand for themselves."""
        allowed = record != into and self.parents[record] is None and self.parents[into] is None
        if allowed:
            self.parents[record] = into
        return allowed

    def unmerge(self, record: str) -> bool:
        """Let a record stand for itself again."""
        merged = self.parents[record] is not None
        self.parents[record] = None
        return merged

    def about(self, record: str) -> list[Reckoned]:
        """List the activities on a record's timeline."""
        root = self.root(record)
        return [
            each
            for each in self.activities.values()
            if each.version and any(self.root(link) == root for link in each.value("links") or ())
        ]

    def _decide(self, report: Report) -> str:
        activity = self.of(report.activity_id)
        outcome = self._outcome(report, activity)
        if isinstance(outcome, bool):
            outcome = "applied" if outcome else "unchanged"
        version = activity.version if outcome in ("applied", "unchanged") else None
        self.outcomes[report.number] = (outcome, version)
        return outcome

    def _outcome(self, report: Report, activity: Reckoned) -> str | bool:
        about = dict(report.content).get("links") or ()
        if report.action in RANKS and len(about) > 1 and (activity.version or not report.known_only):
            return "refused"
        if not activity.version and (report.known_only or not report.typed):
            return "waiting"
        if report.action == "cancel":
            return not activity.logged and activity.become(cancelled=True)
        if report.action == "append":
            retracted = activity.retracted or report.kind == "retraction"
            more = activity.additions + 1
            return activity.become(additions=more, retracted=retracted) if activity.logged else "waiting"
        if report.action == "schedule":
            settled = activity.planned and (activity.logged or activity.cancelled)
            return not settled and activity.become(PLAN, report.content, planned=True)
        if not about and activity.keeps_too_many:
            return "waiting"
        content = [*report.content, ("logged_at", report.number)]
        return activity.log(RANKS[report.action], content, report.action)
