"""The command line against the running stack: single steps, real input, broken files."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import text

from actors.owner import Connections
from cluster.demo.client import Client
from cluster.local.stack import Stack

pytestmark = pytest.mark.stack
TABLES = ("item", "stock", "demand", "sales_line", "open_order", "supplier", "rejected_row")


def fmrp(stack: Stack, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would; it finds the stack by its data folder."""
    return subprocess.run(
        [sys.executable, "-m", "fmrp", *args],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "FMRP_DATA_DIR": str(stack.settings.data_dir), "COLUMNS": "200", **environment},
        check=False,
    )


async def row_counts(connections: Connections) -> dict[str, int]:
    """Rows per table."""
    async with connections.sessions() as session:
        return {name: (await session.execute(text(f"SELECT count(*) FROM {name}"))).scalar_one() for name in TABLES}


async def test_the_real_shop_goes_in_and_every_row_is_accounted_for(
    stack: Stack, client: Client, shared_data: Path
) -> None:
    ran = fmrp(stack, "ingest", str(shared_data / "online_retail_raw_sample.csv.gz"), "--mapping", "online_retail")
    assert ran.returncode == 0, ran.stderr
    read, taken, merged, rejected = (
        int(number.replace(",", ""))
        for number in re.search(r"read ([\d,]+) = taken ([\d,]+) \+ merged ([\d,]+) \+ rejected ([\d,]+)", ran.stdout)
        .groups()
    )  # fmt: skip
    assert read == 20_000 == taken + merged + rejected
    assert "not a product code" in ran.stdout
    demand = await client.get("/demand/85123A", grain="day")
    assert demand["rows"][0]["date"] == "2010-12-01"
    assert demand["rows"][0]["quantity"] > 0


async def test_the_real_shop_is_forecast_from_where_its_feed_ends(
    stack: Stack, client: Client, shared_data: Path
) -> None:
    ran = fmrp(stack, "forecast")
    assert ran.returncode == 0, ran.stderr
    forecast = await client.get("/forecasts/latest/items/85123A")
    assert forecast["rows"][0]["week"] == "2010-12-13"


async def test_reading_the_same_file_again_changes_nothing(
    stack: Stack, connections: Connections, shared_data: Path, tmp_path: Path
) -> None:
    before = await row_counts(connections)
    again = tmp_path / "renamed.csv.gz"
    again.write_bytes((shared_data / "online_retail_raw_sample.csv.gz").read_bytes())
    ran = fmrp(stack, "ingest", str(again), "--mapping", "online_retail", "--show", "0")
    assert ran.returncode == 0, ran.stderr
    after = await row_counts(connections)
    del before["rejected_row"], after["rejected_row"]  # the new run keeps its own record of what it rejected
    assert after == before


async def test_the_plan_prints_the_most_urgent_orders(stack: Stack) -> None:
    ran = fmrp(stack, "plan", "--show", "3")
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"\d+ critical", ran.stdout)
    assert ran.stdout.count("FG-") + ran.stdout.count("RM-") + ran.stdout.count("SA-") + ran.stdout.count("CP-") >= 1


def _zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 300_000_000)
    return buffer.getvalue()


BROKEN = {
    "encoding.csv": ("code,name,kind\nA,Käse,finished\n".encode("cp1252"), "UTF-8|utf-8"),
    "columns.csv": (b"colour,size\nred,3\n", "code"),
    "empty.csv": (b"", "empty"),
    "bomb.xlsx": (_zip_bomb(), "unpack|decompress|larger"),
    "page.csv": (b"<!DOCTYPE html><html><body>log in</body></html>", "HTML|html|web page"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_file_is_named_and_changes_nothing(
    stack: Stack, connections: Connections, tmp_path: Path, name: str
) -> None:
    content, expected = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    before = await row_counts(connections)
    ran = fmrp(stack, "ingest", str(tmp_path / name), "--mapping", "erp_items")
    assert ran.returncode == 1
    assert name in ran.stderr
    assert re.search(expected, ran.stderr), ran.stderr
    assert "Traceback" not in ran.stderr
    assert await row_counts(connections) == before


async def test_a_file_far_too_large_is_refused_before_it_is_read(stack: Stack, tmp_path: Path) -> None:
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(10 * stack.settings.upload_max_bytes)
    ran = fmrp(stack, "ingest", str(tmp_path / "huge.csv"), "--mapping", "erp_items")
    assert ran.returncode == 1
    assert "at most" in ran.stderr


async def test_a_gzip_bomb_is_refused(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"0" * 600_000_000))
    ran = fmrp(stack, "ingest", str(tmp_path / "bomb.csv.gz"), "--mapping", "erp_items")
    assert ran.returncode == 1
    assert "bomb.csv.gz" in ran.stderr


def test_an_unknown_mapping_names_those_there_are(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("code\nA\n")
    ran = fmrp(stack, "ingest", str(tmp_path / "a.csv"), "--mapping", "nope")
    assert ran.returncode == 1
    assert "erp_items" in ran.stderr


def test_a_second_stack_on_the_same_data_says_who_is_there(stack: Stack) -> None:
    ran = fmrp(stack, "up")
    assert ran.returncode == 1
    assert "already runs" in ran.stderr


def test_a_taken_port_is_named_with_the_setting_that_changes_it(stack: Stack, tmp_path: Path) -> None:
    ran = fmrp(stack, "up", FMRP_DATA_DIR=str(tmp_path), FMRP_API_PORT=str(stack.settings.api_port))
    assert ran.returncode == 1
    assert f"port {stack.settings.api_port}" in ran.stderr
    assert "FMRP_API_PORT" in ran.stderr


def test_without_a_stack_the_command_says_how_to_start_one(stack: Stack, tmp_path: Path) -> None:
    ran = fmrp(stack, "plan", FMRP_DATA_DIR=str(tmp_path), FMRP_DATABASE_URL="", FMRP_REDIS_URL="")
    assert ran.returncode == 1
    assert "make up" in ran.stderr


@pytest.mark.parametrize("command", ["up", "demo", "ingest", "forecast", "plan", "day"])
def test_help_tells_what_each_command_does(stack: Stack, command: str) -> None:
    ran = fmrp(stack, command, "--help")
    assert ran.returncode == 0
    assert len(ran.stdout.splitlines()) > 5
