"""./activities sample: three businesses full of realistic data, through the public interface.

The same seed may be sent again: every report is a duplicate then, and nothing changes.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli import output, status
from cli.place import Place, Trouble
from cli.sample.client import Client
from cli.sample.generate import RECORDS, generate
from cli.sample.memory import Memory
from cli.sample.sending import Sender
from cli.sample.showcase import Showcase
from libs.embedded.processes import locked

LOCK_S = 1.0
STATES = ("scheduled", "overdue", "completed", "logged", "cancelled")


def sample(activities: int, seed: int, data_dir: Path) -> None:
    """Fill three businesses. Raises Trouble when nothing runs or something is refused."""
    if not 1 <= activities <= 1_000_000:
        raise Trouble(f"--activities is {activities}; 1 to 1000000 can be made")
    place = Place(data_dir)
    found = status.credentials(place)
    with locked(data_dir / "samples.lock", LOCK_S):
        memory = Memory.read(data_dir / "samples.json", seed, datetime.now(UTC).date())
        client = Client(found["url"])
        try:
            made = generate(seed, activities, memory.base)
            senders = [Sender(client, memory, found["operator_key"], each) for each in made]
            states = _send(senders)
        finally:
            client.close()
    _show(senders, states)
    output.say(f"The keys are in {memory.path}.")


def _send(senders: Sequence[Sender]) -> list[dict[str, int]]:
    """Send everything with a progress bar; return the counts by state of each business."""
    with _bar(output.progress) as progress:
        for sender in senders:
            total = sender.sample.size
            task = progress.add_task(sender.sample.industry.key, total=total)
            sender.make_business()
            sender.make_fields()
            ids = sender.send_records()
            sender.send_reports(lambda count, task=task: progress.advance(task, count))  # type: ignore[misc]
            sender.send_conversations(lambda count, task=task: progress.advance(task, count))  # type: ignore[misc]
            sender.enter_by_hand(ids["contact"], lambda count, task=task: progress.advance(task, count))  # type: ignore[misc]
            Showcase(sender.client, sender.memory, sender.sample.industry, ids).enter()
        task = progress.add_task("answered and counted", total=len(senders))
        states = []
        for sender in senders:
            sender.await_answers()
            states.append(sender.await_report())
            progress.advance(task)
    return states


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )  # fmt: skip


def _show(senders: Sequence[Sender], states: Sequence[dict[str, int]]) -> None:
    table = Table(title="Sample data")
    table.add_column("")
    for sender in senders:
        table.add_column(sender.sample.industry.name, justify="right")
    table.add_row("zone", *(sender.sample.industry.zone for sender in senders))
    for name in RECORDS:
        table.add_row(f"{name}s", *(str(len(sender.sample.records[name])) for sender in senders))
    table.add_row("conversations", *(str(len(sender.sample.conversations)) for sender in senders))
    for state in STATES:
        table.add_row(f"activities, {state}", *(str(counts.get(state, 0)) for counts in states))
    table.add_row("sent now for the first time", *(str(sender.said["accepted"]) for sender in senders))
    table.add_row("known from an earlier run", *(str(sender.said["duplicate"]) for sender in senders))
    output.result.print(table)
