"""Import and export of every table, CSV and XLSX: what goes out comes back the same, what is wrong is told by line."""

from __future__ import annotations

import asyncio
import csv
import io
import zipfile
from datetime import date
from typing import Any

import fastexcel
import httpx
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar
from serve_world import API, MONDAY, assert_problem
from sqlalchemy import text
from transfer_world import (
    PATHS,
    as_csv,
    as_xlsx,
    counts,
    fill,
    from_csv,
    from_xlsx,
    hand_in,
    report_of,
)

from ingestion.formula_text import FORMULA_STARTS, marked, safe_cell, unmarked
from serve.resources.catalogue import RESOURCES
from serve.resources.files import MEDIA_TYPES, write_csv
from serve.resources.results import RESULTS
from settings import Settings

pytestmark = pytest.mark.usefixtures("plant")
FORMATS = ("csv", "xlsx")


@pytest.fixture
def manager(by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    return by_role["manager"]


async def scalar(app: Litestar, query: str) -> Any:
    async with app.state.connections.sessions() as session:
        return (await session.execute(text(query))).scalar_one()


def test_every_table_is_tried_here() -> None:
    assert {each.path for each in RESOURCES if each.target is not None} == set(PATHS)


@pytest.mark.parametrize("file_format", FORMATS)
async def test_what_is_exported_comes_back_unchanged(manager: httpx.AsyncClient, file_format: str) -> None:
    await fill(manager)
    for path in PATHS:
        file = await manager.get(f"{API}/{path}/export", params={"format": file_format})
        assert file.status_code == 200, file.text
        assert file.headers["content-type"].split(";")[0] == MEDIA_TYPES[file_format]  # type: ignore[index]
        assert f"{path}-20" in file.headers["content-disposition"]
        total = (await manager.get(f"{API}/{path}", params={"limit": 1})).json()["total"]
        assert total > 0, path
        report = await report_of(manager, path, file.content, f"{path}.{file_format}")
        assert counts(report) == (0, 0, total, 0, 0), (path, report)
        assert report["ignored_columns"] == []


@pytest.mark.parametrize("file_format", FORMATS)
async def test_an_edited_export_changes_what_was_edited(
    app: Litestar, manager: httpx.AsyncClient, file_format: str
) -> None:
    export = {"format": file_format, "fields": ["code", "price", "name"], "kind": "finished"}
    file = (await manager.get(f"{API}/items/export", params=export)).content
    rows = from_csv(file) if file_format == "csv" else from_xlsx(file).to_dicts()
    assert [list(row) for row in rows] == [["code", "price", "name"]] * 2
    rows[0]["price"] = 101.5
    again = as_csv(rows) if file_format == "csv" else as_xlsx(rows)
    report = await report_of(manager, "items", again, f"edited.{file_format}")
    assert counts(report) == (0, 1, 1, 0, 0)
    item = (await manager.get(f"{API}/items/A-100")).json()
    assert (item["price"], item["cost"], item["name"], item["revision"]) == (101.5, 50.0, "Pump", 2)
    who = "SELECT string_agg(actor || ':' || action || ':' || entity, ',') FROM audit_entry"
    assert await scalar(app, who) == "manager@example.com:update:item"


@pytest.mark.parametrize("file_format", FORMATS)
async def test_a_wrong_row_is_told_by_its_line_and_the_good_ones_are_kept(
    manager: httpx.AsyncClient, file_format: str
) -> None:
    rows = [
        {"Code": "N-1", "NAME": "New", "kind": "component", "lead time days": "5", "colour": "red"},
        {"Code": "N-2", "NAME": "New", "kind": "gadget", "lead time days": "5", "colour": "red"},
        {"Code": "N-3", "NAME": "New", "kind": "component", "lead time days": "-5", "colour": "red"},
        {"Code": "", "NAME": "Nameless", "kind": "component", "lead time days": "5", "colour": "red"},
        {"Code": "N-5", "NAME": "", "kind": "component", "lead time days": "5", "colour": "red"},
        {"Code": "N-1", "NAME": "Newer", "kind": "component", "lead time days": "", "colour": ""},
        {"Code": "A-100", "NAME": "", "kind": "", "lead time days": "9", "colour": ""},
    ]
    content = as_csv(rows) if file_format == "csv" else as_xlsx(rows)
    report = await report_of(manager, "items", content, f"rows.{file_format}")
    assert counts(report) == (1, 1, 0, 1, 4)
    assert report["ignored_columns"] == ["colour"]
    assert [(each["line"], each["field"]) for each in report["errors"]] == [
        (3, "kind"),
        (4, "lead_time_days"),
        (5, "code"),
        (6, "name"),
    ]
    assert "gadget" in report["errors"][0]["message"]
    assert report["errors"][0]["row"]["Code"] == "N-2"
    assert "needed to create" in report["errors"][3]["message"]
    made = (await manager.get(f"{API}/items/N-1")).json()
    assert (made["name"], made["lead_time_days"], made["unit"], made["active"]) == ("Newer", None, "pcs", True)
    kept = (await manager.get(f"{API}/items/A-100")).json()
    assert (kept["name"], kept["kind"], kept["lead_time_days"]) == ("Pump", "finished", 9)


async def test_lines_are_those_of_the_file_after_quoted_line_breaks(manager: httpx.AsyncClient) -> None:
    content = b'code,note\r\nA-100,"one\ntwo"\r\n\r\nA-200,fine\r\nX-1,unknown\r\nA-100;short\r\n'
    report = await report_of(manager, "items", content)
    assert [(each["line"], each["field"]) for each in report["errors"]] == [(6, "name"), (7, "")]
    assert report["errors"][1]["row"] == {"text": "A-100;short"}


async def test_a_dry_run_tells_the_same_and_writes_nothing(app: Litestar, manager: httpx.AsyncClient) -> None:
    rows = [{"code": "N-1", "name": "New", "kind": "component", "unit": "crate"}, {"code": "A-100", "name": "Other"}]
    content = as_csv([{**rows[0]}, {"code": "A-100", "name": "Other", "kind": "", "unit": ""}])
    tried = await report_of(manager, "items", content, dry_run=True)
    assert tried["dry_run"] is True
    assert counts(tried) == (1, 1, 0, 0, 0)
    assert_problem(await manager.get(f"{API}/items/N-1"), 404)
    assert (await manager.get(f"{API}/items/A-100")).json()["revision"] == 1
    assert await scalar(app, "SELECT count(*) FROM unit WHERE code = 'crate'") == 0
    assert await scalar(app, "SELECT count(*) FROM audit_entry") == 0
    real = await report_of(manager, "items", content)
    assert real == tried | {"dry_run": False}


async def test_rows_that_do_not_go_with_what_is_stored(manager: httpx.AsyncClient) -> None:
    assert (await manager.delete(f"{API}/items/C%2550")).status_code == 204
    report = await report_of(manager, "items", as_csv([{"code": "C%50", "name": "Steel again"}]))
    assert counts(report) == (0, 0, 0, 0, 1)
    assert "deleted" in report["errors"][0]["message"]
    terms = {"item": "B-110", "supplier": "S-1"}
    first = await report_of(manager, "supplier-terms", as_csv([{**terms, "valid_to": "2026-06-30"}]))
    assert counts(first) == (0, 1, 0, 0, 0)
    late = await report_of(manager, "supplier-terms", as_csv([{**terms, "valid_from": "2026-07-01"}]))
    assert [(each["line"], each["field"]) for each in late["errors"]] == [(2, "valid_to")]
    unknown = await report_of(manager, "supplier-terms", as_csv([{**terms, "item": "C%50"}]))
    assert [each["field"] for each in unknown["errors"]] == ["item"]


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("xl/workbook.xml", "<x/>")
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 32 * 1024 * 1024)
    return buffer.getvalue()


NO_TABLES = {
    "empty.csv": b"",
    "header.csv": b"code,name\n",
    "blank.csv": b" \n \n",
    "none.csv": b"colour,shape\nred,round\n",
    "twice.csv": b"code,code\n1,2\n",
    "picture.csv": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "binary.csv": bytes(range(256)) * 20,
    "page.csv": b"<!doctype html><html></html>",
    "text.xlsx": b"code,name\nA,B\n",
    "broken.xlsx": as_xlsx([{"code": "A"}])[:-200],
    "bomb.xlsx": bomb(),
    "old.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
}


async def test_a_file_that_is_none_is_refused_whole(app: Litestar, manager: httpx.AsyncClient) -> None:
    for name, content in NO_TABLES.items():
        problem = assert_problem(await hand_in(manager, "items", content, name), 409)
        assert [each["field"] for each in problem["errors"]] == ["file"], name
    assert await scalar(app, "SELECT count(*) FROM item") == 6


async def test_a_file_too_large_is_refused(app: Litestar, manager: httpx.AsyncClient) -> None:
    limit = app.state.connections.settings.upload_max_bytes
    problem = assert_problem(await hand_in(manager, "items", b"code,name\n" + b"x" * limit), 409)
    assert problem["errors"][0]["field"] == "file"
    assert_problem(await hand_in(manager, "items", b"x" * (limit + 1024 * 1024)), 413)


class TestFewRows:
    """With a limit of two rows."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"file_max_rows": 2})

    async def test_imports_and_previews_keep_to_the_limits_of_the_settings(self, manager: httpx.AsyncClient) -> None:
        content = b"code,name,kind\n" + b"X,Pump,component\n" * 3
        problem = assert_problem(await hand_in(manager, "items", content), 409)
        assert "3 rows. Expected: at most 2" in problem["errors"][0]["message"]
        files, form = {"file": ("items.csv", content)}, {"mapping": "erp_items"}
        answer = await manager.post(f"{API}/mappings/preview", files=files, data=form)
        assert "3 rows. Expected: at most 2" in assert_problem(answer, 409)["errors"][0]["message"]


async def test_what_spreadsheets_save_is_read(manager: httpx.AsyncClient) -> None:
    content = "Code;Name;Price\nA-100;Pümpe, groß;12.5\n"
    for place, encoding in enumerate(("utf-8-sig", "utf-16", "cp1252")):
        changed = content.replace("12.5", f"{place}.5").encode(encoding)
        report = await report_of(manager, "items", changed)
        assert counts(report) == (0, 1, 0, 0, 0), encoding
        assert (await manager.get(f"{API}/items/A-100")).json()["name"] == "Pümpe, groß"
    dates = as_xlsx([{"day": "2026-12-24", "working": "yes"}, {"day": "2026-12-31", "working": True}])
    assert counts(await report_of(manager, "calendar-days", dates, "days.xlsx")) == (2, 0, 0, 0, 0)


async def test_nothing_in_an_export_runs_as_a_formula(manager: httpx.AsyncClient) -> None:
    await fill(manager)
    for path in PATHS:
        rows = from_csv((await manager.get(f"{API}/{path}/export")).content)
        numbers = {"cost", "price", "hours_per_day", "quantity"}
        cells = [cell for row in rows for name, cell in row.items() if name not in numbers]
        assert cells
        assert not any(cell.startswith(FORMULA_STARTS) for cell in cells), path
        book = (await manager.get(f"{API}/{path}/export", params={"format": "xlsx"})).content
        with zipfile.ZipFile(io.BytesIO(book)) as archive:
            xml = b"".join(archive.read(name) for name in archive.namelist() if "worksheets" in name)
        assert b"<f>" not in xml
        assert b"hyperlink" not in xml.lower().replace(b"=hyperlink(1)", b"")
    assert "'=1+1" in [row["code"] for row in from_csv((await manager.get(f"{API}/items/export")).content)]


@given(st.text(alphabet=st.one_of(st.sampled_from("'=+-@\t\r\n,;\"a "), st.characters(codec="utf-8"))))
def test_a_marked_text_is_harmless_and_comes_back(value: str) -> None:
    frame = pl.DataFrame({"text": [value]}).with_columns(safe=marked(pl.col("text")))
    safe = frame["safe"][0]
    assert safe == safe_cell(value)
    assert not safe.startswith(FORMULA_STARTS)
    assert frame.select(unmarked(pl.col("safe"))).item() == value
    (_, written) = csv.reader(io.StringIO(write_csv(frame.select("text")).decode("utf-8-sig"), newline=""))
    assert (written or [""]) == [safe]


async def test_a_workbook_has_typed_cells_under_a_fixed_header(manager: httpx.AsyncClient) -> None:
    await fill(manager)
    book = (await manager.get(f"{API}/open-orders/export", params={"format": "xlsx"})).content
    frame = from_xlsx(book)
    assert frame.schema["due_date"] in (pl.Date, pl.Datetime("ms"))
    assert frame["quantity"].to_list() == [1e-6]
    assert from_xlsx((await manager.get(f"{API}/items/export?format=xlsx")).content).schema["active"] == pl.Boolean
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert "autoFilter" in sheet
    assert 'state="frozen"' in sheet
    assert "<cols>" in sheet


async def test_an_export_has_the_rows_of_the_list_in_its_order(manager: httpx.AsyncClient) -> None:
    for asked in (
        {"sort": "-price", "search": "pump"},
        {"kind": ["component", "raw_material"], "cost_to": 5, "sort": "code"},
        {"search": "=1+1' -- $1"},
        {"search": "=1+"},
        {"category": "pumps", "active": True, "created_at_from": "2026-01-01"},
        {"deleted": True},
    ):
        listed = (await manager.get(f"{API}/items", params=asked)).json()["items"]
        exported = await manager.get(f"{API}/items/export", params=asked)
        assert exported.status_code == 200, exported.text
        assert [row["id"] for row in from_csv(exported.content)] == [row["id"] for row in listed], asked
    assert_problem(await manager.get(f"{API}/items/export?format=pdf"), 400)
    assert_problem(await manager.get(f"{API}/items/export?sort=colour"), 400)
    assert_problem(await manager.get(f"{API}/items/export?category=a&category=b%0Bc"), 400)


async def test_a_template_names_and_explains_every_field(viewer: httpx.AsyncClient) -> None:
    for resource in RESOURCES:
        if (target := resource.target) is None:
            continue
        plain = await viewer.get(f"{API}/{resource.path}/template")
        assert plain.content.decode("utf-8-sig").strip().split(",") == list(target.fields)
        answer = await viewer.get(f"{API}/{resource.path}/template?format=xlsx")
        book = fastexcel.read_excel(answer.content)
        assert len(book.sheet_names) == 2
        assert book.load_sheet(0).to_polars().columns == list(target.fields)
        told = book.load_sheet("Fields").to_polars()
        assert told["field"].to_list() == list(target.fields)
        assert told["meaning"].null_count() < told.height
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            sheet = archive.read("xl/worksheets/sheet1.xml").decode()
        for spec in target.fields.values():
            assert not spec.choices or ",".join(spec.choices) in sheet


async def test_a_filled_template_is_taken(manager: httpx.AsyncClient) -> None:
    book = (await manager.get(f"{API}/suppliers/template?format=xlsx")).content
    columns = fastexcel.read_excel(book).load_sheet(0).to_polars().columns
    row = dict.fromkeys(columns) | {"code": "S-9", "name": "Nine", "lead_time_days": 3}
    assert counts(await report_of(manager, "suppliers", as_xlsx([row]), "filled.xlsx")) == (1, 0, 0, 0, 0)
    assert_problem(await hand_in(manager, "suppliers", book, "empty.xlsx"), 409)


async def test_who_may_export_and_who_may_import(by_role: dict[str, httpx.AsyncClient]) -> None:
    content = as_csv([{"code": "A-100", "name": "Pump"}])
    for role, status in (("viewer", 403), ("operator", 403), ("manager", 200), ("admin", 200)):
        assert (await by_role[role].get(f"{API}/items/export")).status_code == 200
        assert (await by_role[role].get(f"{API}/items/template")).status_code == 200
        assert (await hand_in(by_role[role], "items", content)).status_code == status
    stock = as_csv([{"item": "A-100", "on_hand": "5"}])
    assert (await hand_in(by_role["viewer"], "stock", stock)).status_code == 403
    assert counts(await report_of(by_role["operator"], "stock", stock)) == (0, 1, 0, 0, 0)


async def test_two_imports_at_once_lose_and_double_nothing(app: Litestar, manager: httpx.AsyncClient) -> None:
    def rows(price: int) -> bytes:
        return as_csv([{"code": f"N-{n}", "name": "New", "kind": "component", "price": price} for n in range(500)])

    reports = await asyncio.gather(*(report_of(manager, "items", rows(price)) for price in (1, 2, 3)))
    assert sum(report["created"] for report in reports) == 500
    assert sum(report["updated"] for report in reports) == 1000
    assert await scalar(app, "SELECT count(*) FROM item WHERE code LIKE 'N-%'") == 500
    assert await scalar(app, "SELECT count(DISTINCT price) FROM item WHERE code LIKE 'N-%'") == 1


async def test_rows_of_a_feed_stay_in_it(app: Litestar, manager: httpx.AsyncClient) -> None:
    rows = [{"item": "A-100", "warehouse": "main", "on_hand": 8}, {"item": "A-200", "warehouse": "main", "on_hand": 1}]
    assert counts(await report_of(manager, "stock", as_csv(rows))) == (1, 1, 0, 0, 0)
    feeds = "SELECT string_agg(feed, ',' ORDER BY on_hand) FROM stock"
    assert await scalar(app, feeds) == "api,test,test"


async def test_planned_orders_as_a_workbook(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.get(f"{API}/plans/latest/orders.xlsx")
    assert answer.headers["content-type"] == MEDIA_TYPES["xlsx"]
    assert f"planned-orders-{MONDAY}.xlsx" in answer.headers["content-disposition"]
    frame = from_xlsx(answer.content)
    assert frame["item"].to_list() == ["B-110", "A-100", "'=1+1", "C%50"]
    assert frame["quantity"].to_list() == [40, 10, 3, 2]
    assert frame["release_date"].cast(pl.Date)[0] == date(2026, 11, 20)


async def test_what_runs_found_is_exported_as_it_is_listed(viewer: httpx.AsyncClient) -> None:
    for resource in RESULTS:
        path = resource.path.replace("{key:str}", "latest")
        listed = await viewer.get(f"{API}/{path}")
        assert listed.status_code == 200, listed.text
        for file_format in FORMATS:
            file = await viewer.get(f"{API}/{path}/export", params={"format": file_format})
            assert file.status_code == 200, (path, file.text)
            assert f'"{path.rsplit("/", 1)[-1]}-20' in file.headers["content-disposition"]
            rows = from_csv(file.content) if file_format == "csv" else from_xlsx(file.content).to_dicts()
            assert len(rows) == listed.json()["total"], path
            if rows:
                assert set(rows[0]) == set(listed.json()["items"][0]), path
        if resource.within is not None:
            assert_problem(await viewer.get(f"{API}/{path.replace('latest', 'nothing')}/export"), 404)
