"""A real shop's invoice lines through the shipped mapping, against independently made daily demand."""

import gzip
import random
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hostile import SEED, damaged

from ingestion.errors import IngestionError
from ingestion.ingest import Ingested, ingest
from ingestion.mapping import Mapping, load_mappings
from ingestion.net_cancellations import net_cancellations

DATA = Path(__file__).parents[3] / "shared" / "data"
SAMPLE, DAILY = DATA / "online_retail_raw_sample.csv.gz", DATA / "online_retail_daily.parquet"
ITEMS = DATA / "man_items.parquet"
CUT = date(2010, 12, 9)  # the sample ends in the middle of this day

pytestmark = pytest.mark.skipif(not SAMPLE.exists(), reason="the shared data set is not beside this checkout")


@pytest.fixture(scope="module")
def shop() -> Ingested:
    return ingest(SAMPLE.read_bytes(), SAMPLE.name, load_mappings()["online_retail"])


def test_every_row_is_accounted_for(shop: Ingested) -> None:
    assert (shop.read, shop.taken, shop.merged, shop.rejected_count) == (20_000, 19_774, 0, 226)
    reasons = shop.rejected["reason"].str.replace(r"^(not a product code).*", "$1").value_counts()
    assert dict(reasons.iter_rows()) == {
        "not a product code": 89,
        "stock adjustment: no price": 89,
        "stock adjustment: negative quantity without a cancellation": 48,
    }
    first = shop.rejected.row(0, named=True)
    assert (first["line"], first["field"], first["reason"]) == (47, "item", "not a product code: POST")
    assert (shop.target, shop.grain) == ("sales_lines", "line")


def test_damaged_copies_of_real_files_are_refused_or_accounted_for() -> None:
    chance = random.Random(SEED)
    head = b"\n".join(gzip.decompress(SAMPLE.read_bytes()).split(b"\n")[:300]) + b"\n"
    files = {"shop.csv": head, "shop.csv.gz": gzip.compress(head, mtime=0), "items.parquet": ITEMS.read_bytes()}
    shop = load_mappings()["online_retail"].model_copy(update={"encoding": "auto"})
    made_up = {name: {"constant": "trading_good"} for name in ("name", "kind")}
    columns = {"code": {"names": ["sku"]}, **made_up}
    items = Mapping.model_validate({"name": "items", "target": "items", "columns": columns})
    ends: Counter[str] = Counter()
    for name, content in files.items():
        for _ in range(40):
            try:
                result = ingest(damaged(content, chance), name, items if name.startswith("items") else shop)
            except IngestionError:
                ends["refused"] += 1
            else:
                assert result.read == result.taken + result.merged + result.rejected_count
                ends["read"] += 1
    assert min(ends["refused"], ends["read"]) > 20


def test_sums_equal_those_of_the_raw_file(shop: Ingested) -> None:
    raw = pl.read_csv(SAMPLE, infer_schema=False).with_columns(
        item=pl.col("StockCode").str.strip_chars().str.to_uppercase(),
        quantity=pl.col("Quantity").cast(pl.Float64),
        price=pl.col("UnitPrice").cast(pl.Float64),
        cancelled=pl.col("InvoiceNo").str.starts_with("C"),
    )
    kept = raw.filter(
        pl.col("item").str.contains(r"^\d{5}[A-Z]{0,2}$")
        & (pl.col("cancelled") | ((pl.col("quantity") > 0) & (pl.col("price") > 0)))
    )
    assert kept.height == shop.taken
    assert kept["quantity"].sum() == shop.rows["quantity"].sum()
    value = (kept["quantity"] * kept["price"]).sum()
    assert (shop.rows["quantity"] * shop.rows["price"]).sum() == pytest.approx(value, abs=1e-6)
    assert kept["item"].n_unique() == shop.new_items.height == shop.rows["item"].n_unique()
    assert kept.filter("cancelled").height == shop.rows.filter(pl.col("quantity") < 0).height
    assert not shop.rows.select("document", "item", "line").is_duplicated().any()


def test_daily_demand_equals_the_reference_where_the_sample_can_know(shop: Ingested) -> None:
    """The sample is cut, so cancellations booked from the cut on are missing: there our demand may only be higher.

    Where an item has no return from the cut until 30 days after the last compared day, it must be equal.
    """
    reference = pl.read_parquet(DAILY).rename({"sku": "item", "date": "day"})
    booked_later = pl.col("day").is_between(CUT, CUT + timedelta(days=30)) & (pl.col("return_lines") > 0)
    unknown = reference.filter(booked_later)["item"].unique()
    ours = net_cancellations(shop.rows).filter(pl.col("day") < CUT)
    theirs = reference.filter((pl.col("day") < CUT) & (pl.col("gross_quantity") > 0))
    both = ours.join(theirs, on=["item", "day"], how="full", suffix="_ref")
    assert both.height == ours.height == theirs.height > 8_000

    gross = shop.rows.filter((pl.col("quantity") > 0) & (pl.col("day") < CUT)).group_by("item", "day")
    same_gross = gross.agg(pl.col("quantity").sum()).join(theirs, on=["item", "day"])
    assert (same_gross["quantity"] == same_gross["gross_quantity"]).all()

    known = both.filter(~pl.col("item").is_in(unknown.implode()))
    assert known.height > 5_000
    assert known["cancelled_quantity"].sum() > 0
    assert (known["quantity"] == known["quantity_ref"]).all()
    assert ((known["revenue"] - known["revenue_ref"]).abs() < 1e-6).all()
    assert (both["quantity"] >= both["quantity_ref"]).all()
