"""Every metric says what it means, and alerts and dashboard ask for metrics that there are."""

import importlib
import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
METRICS = sorted(
    path for root in ("libs", "services") for path in Path(__file__).parents[2].glob(f"{root}/*/metrics.py")
)
OURS = ("activities_", "consumer_", "outbox_", "webhook_", "ingest_", "lifecycle_")
GIVEN_BY_PROMETHEUS = {"up"}
WORDS = re.compile(r"[a-z_][a-z0-9_]*")
FUNCTIONS = {"min", "max", "sum", "rate", "increase", "histogram_quantile", "by"}


def _exposed() -> set[str]:
    for path in METRICS:
        importlib.import_module(".".join(path.with_suffix("").parts[-3:]))
    names: set[str] = set()
    for family in REGISTRY.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        names |= {family.name + ending for ending in endings}
    return names


def _asked(expression: str) -> set[str]:
    """The names of metrics in a PromQL expression: what is left without labels, ranges, groupings and functions."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby\s*\([^)]*\)|\b[0-9][0-9.e]*\b", " ", expression)
    return set(WORDS.findall(bare)) - FUNCTIONS


def _rules() -> list[dict[str, str]]:
    return [
        rule for group in yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"] for rule in group["rules"]
    ]


def test_every_metric_says_in_a_sentence_what_it_means() -> None:
    _exposed()
    for family in REGISTRY.collect():
        if family.name.startswith(OURS):
            assert len(family.documentation) > 20, family.name
            assert family.documentation.endswith("."), family.name


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: str(rule["alert"]))
def test_alerts_ask_for_metrics_that_there_are(rule: dict[str, str]) -> None:
    asked = _asked(rule["expr"])
    assert asked
    assert asked - GIVEN_BY_PROMETHEUS <= _exposed()


def test_dashboard_asks_for_metrics_that_there_are() -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    for panel in panels:
        for target in panel["targets"]:
            asked = _asked(target["expr"])
            assert asked, panel["title"]
            assert asked <= _exposed(), panel["title"]
