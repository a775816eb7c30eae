"""Print the table of all metrics for docs/operations.md: `python -m cluster.metrics_table`."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from actors.metrics import REGISTRY
from serve.scrape import SCRAPED


class Described(NamedTuple):
    """One metric as a scrape shows it. `labels` without those of origin (process, instance)."""

    name: str
    type: str
    labels: tuple[str, ...]
    text: str


def all_metrics() -> list[Described]:
    """Every metric of the code, by name."""
    # The library tells a metric's labels only once it has a series.
    collectors: list[Any] = list(REGISTRY._collector_to_names)
    labels = {each._name: tuple(each._labelnames) for each in collectors if hasattr(each, "_labelnames")}
    counted = [
        Described(
            f"{family.name}_total" if family.type == "counter" else family.name,
            family.type,
            labels.get(family.name, ()),
            family.documentation.rstrip("."),
        )
        for family in REGISTRY.collect()
    ]
    return sorted([*counted, *(Described(name, "gauge", names, text) for name, (text, names) in SCRAPED.items())])


def table() -> str:
    """The table in Markdown."""
    rows = [f"| `{each.name}` | {each.type} | {', '.join(each.labels)} | {each.text} |" for each in all_metrics()]
    return "\n".join(["| metric | type | labels | what it says |", "| --- | --- | --- | --- |", *rows])


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
