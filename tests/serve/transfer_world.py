"""Rows of every table, and files as people hand them in."""

from __future__ import annotations

import csv
import io
from typing import Any

import fastexcel
import httpx
import polars as pl
import xlsxwriter
from serve_world import API

PATHS = (
    *("items", "item-categories", "units", "unit-conversions", "suppliers", "supplier-terms", "bom-lines"),
    *("warehouses", "stock", "work-centres", "routings", "shifts", "planned-stops", "capacity-events"),
    *("calendar-days", "open-orders", "firm-orders"),
)
# What the plant does not hold already.
ROWS: dict[str, list[dict[str, Any]]] = {
    "units": [{"code": "box", "name": "Box", "dimension": "count"}],
    "item-categories": [{"code": "pumps-small", "name": "Small pumps", "parent": "pumps"}],
    "items": [{"code": "B-110", "kind": "component", "note": 'two\nlines, "quoted"; =1+1'}],
    "unit-conversions": [{"item": "A-100", "unit": "box", "factor": 12.5}],
    "suppliers": [{"code": "S-2", "name": "@Home", "email": "a@b.example", "reliability": 0.95, "country": "GB"}],
    "routings": [{"item": "A-100", "sequence": 10, "work_centre": "W-1", "name": "-1 turn", "unit_hours": 0.1}],
    "shifts": [{"work_centre": "W-1", "weekday": 1, "starts_at": "06:00", "ends_at": "14:00", "name": "'=early"}],
    "planned-stops": [{"work_centre": "W-1", "name": "Clean", "starts_on": "2026-12-01", "hours": 2}],
    "capacity-events": [
        {
            "work_centre": "W-1",
            "kind": "overtime",
            "starts_on": "2026-12-01",
            "ends_on": "2026-12-04",
            "hours_per_day": -8,
        }
    ],
    "calendar-days": [{"day": "2026-12-25", "name": "Christmas Day"}],
    "open-orders": [
        {"number": "PO-1", "kind": "purchase", "item": "B-110", "quantity": 1e-6, "due_date": "2026-12-01"}
    ],
    "firm-orders": [
        {"number": "+SO", "line": line, "item": "A-100", "quantity": line / 3, "due_date": "2026-12-01"}
        for line in (1, 2)
    ],
}


async def fill(client: httpx.AsyncClient) -> None:
    """Put ROWS in."""
    for path, rows in ROWS.items():
        answer = await client.post(f"{API}/{path}/bulk", json={"rows": rows})
        assert answer.status_code == 200, answer.text
        assert answer.json()["rejected"] == 0, answer.text


async def hand_in(
    client: httpx.AsyncClient, path: str, content: bytes, name: str = "rows.csv", *, dry_run: bool = False
) -> httpx.Response:
    """Import a file."""
    return await client.post(f"{API}/{path}/import", files={"file": (name, content)}, params={"dry_run": dry_run})


async def report_of(*given: Any, **more: Any) -> dict[str, Any]:
    """Import a file that is taken; the report, whose sum is right."""
    answer = await hand_in(*given, **more)
    assert answer.status_code == 200, answer.text
    return checked(answer.json())


def checked(report: dict[str, Any]) -> dict[str, Any]:
    """A report every row of which is accounted for once."""
    parts = ("created", "updated", "unchanged", "merged", "rejected")
    assert report["read"] == sum(report[part] for part in parts), report
    assert len(report["errors"]) == min(report["rejected"], 1000)
    return report


def counts(report: dict[str, Any]) -> tuple[int, ...]:
    """(created, updated, unchanged, merged, rejected)."""
    return tuple(report[part] for part in ("created", "updated", "unchanged", "merged", "rejected"))


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """Rows as a CSV file with the columns of the first."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def as_xlsx(rows: list[dict[str, Any]]) -> bytes:
    """Rows as a workbook with the columns of the first, cells typed."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, list(rows[0]))
        for place, row in enumerate(rows, start=1):
            sheet.write_row(place, 0, list(row.values()))
    return buffer.getvalue()


def from_csv(content: bytes) -> list[dict[str, str]]:
    """A CSV file's rows."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def from_xlsx(content: bytes, sheet: int = 0) -> pl.DataFrame:
    """A workbook's sheet, typed as its cells are."""
    return fastexcel.read_excel(content).load_sheet(sheet).to_polars()
