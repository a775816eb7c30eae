"""Dashboards, rules and the guide speak of the metrics the code has, all of them and no others."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.metrics_table import all_metrics, table

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "cluster" / "monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
NAME = re.compile(r"\bfmrp_[a-z0-9_]+")


def series() -> dict[str, set[str]]:
    """Names a query may use, each with its labels."""
    found = {}
    for each in all_metrics():
        labels = {*each.labels, "process", "instance"}
        for suffix in ("_bucket", "_sum", "_count") if each.type == "histogram" else ("",):
            found[each.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def rules() -> list[dict[str, Any]]:
    """All alert rules."""
    content = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


def queries() -> list[tuple[str, str]]:
    """Every query with where it stands."""
    found = [(rule["alert"], rule["expr"]) for rule in rules()]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            found += [(f"{path.name}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    return found


@pytest.mark.parametrize(("where", "query"), queries())
def test_a_query_asks_for_metrics_and_labels_that_exist(where: str, query: str) -> None:
    known = series()
    names = NAME.findall(query)
    assert names or "up{" in query
    assert set(names) <= known.keys(), where
    for name, matchers in re.findall(r"\b(fmrp_[a-z0-9_]+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= known[name], where
    labels = {label.strip() for each in re.findall(r"by \(([^)]*)\)", query) for label in each.split(",")}
    assert labels <= set().union(*(known[name] for name in names)), where


def test_every_metric_is_shown_on_a_dashboard() -> None:
    shown = {name for path in DASHBOARDS for name in NAME.findall(path.read_text())}
    for each in all_metrics():
        assert any(name.startswith(each.name) for name in shown), f"{each.name} is on no dashboard"


def test_the_guide_holds_the_table_of_the_code() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    assert table() in guide, "run `python -m cluster.metrics_table` and put its table into docs/operations.md"


def test_names_say_the_unit_and_every_metric_says_what_it_is() -> None:
    for each in all_metrics():
        assert each.name.startswith("fmrp_")
        assert len(each.text) > 10, each.name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|percent)(_|$)", each.name), each.name
        if each.type == "histogram":
            assert each.name.endswith("_seconds"), each.name


def test_a_rule_says_what_it_means_and_how_urgent_it_is() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "look")
        assert rule["annotations"].keys() == {"summary", "description"}
    assert set(re.findall(r"\bFmrp[A-Z]\w+", guide)) <= set(names)


def test_every_rule_is_tested_when_it_fires_and_when_it_does_not() -> None:
    content = yaml.safe_load((MONITORING / "rules_test.yaml").read_text())
    cases = [case for test in content["tests"] for case in test["alert_rule_test"]]
    for rule in rules():
        of_rule = [case for case in cases if case["alertname"] == rule["alert"]]
        assert any(case.get("exp_alerts") for case in of_rule), f"{rule['alert']}: no test in which it fires"
        assert any(not case.get("exp_alerts") for case in of_rule), f"{rule['alert']}: no test in which it is quiet"


def test_dashboards_are_whole() -> None:
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len(boards) == 3
    for board in boards:
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            assert panel["description"], panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"


@pytest.fixture
def promtool() -> str:
    """Prometheus' own checker."""
    found = os.environ.get("FMRP_PROMTOOL") or shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool: install Debian's package prometheus, or set FMRP_PROMTOOL to its path")
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "prometheus.yaml"],
        ["check", "rules", "rules.yaml"],
        ["test", "rules", "rules_test.yaml"],
    ],
    ids=" ".join,
)
def test_prometheus_takes_the_files_and_the_rules_pass_their_tests(promtool: str, arguments: list[str]) -> None:
    command = [promtool, *arguments]
    done = subprocess.run(command, check=False, cwd=MONITORING, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_page_itself(promtool: str) -> None:
    from prometheus_client import CollectorRegistry, generate_latest

    from actors.metrics_exchange import merged, snapshot
    from db.repositories.monitoring import Readings
    from serve.scrape import _Families, scraped

    registry = CollectorRegistry()
    readings = Readings(waiting={"plan": 1}, newest={"day": 1.0})
    registry.register(_Families([*merged([snapshot()]), *scraped(readings, [snapshot()], {"database": True})]))
    command = [promtool, "check", "metrics"]
    done = subprocess.run(command, check=False, input=generate_latest(registry), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
