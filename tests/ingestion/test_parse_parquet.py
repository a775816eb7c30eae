"""Parquet: every plain type as exact text, nested columns refused by name, nothing believed about sizes."""

import datetime as dt
import decimal
import io
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.errors import (
    DecompressionBomb,
    EmptyFile,
    IngestionError,
    TooManyCells,
    TooManyRows,
    UnreadableFile,
    WrongColumns,
)
from ingestion.ingest import ingest
from ingestion.limits import MIB, Limits
from ingestion.mapping import Mapping
from ingestion.parse import parse
from ingestion.parse_records import parse_records
from ingestion.table import Parsed, ParseOptions

MOMENT = dt.datetime(2024, 1, 2, 23, 30, 5, 600)
TYPES: dict[str, tuple[pa.Array, list[str | None]]] = {
    "text": (pa.array(["a", None]), ["a", None]),
    "packed text": (pa.array(["a", "a"]).dictionary_encode(), ["a", "a"]),
    "text as bytes": (pa.array(["ä".encode(), None]), ["ä", None]),
    "float": (pa.array([3.0, 0.1 + 0.2]), ["3", "0.30000000000000004"]),
    "small float": (pa.array([0.1, 2.5], pa.float32()), ["0.1", "2.5"]),
    "large": (pa.array([2**63 - 1, -5]), ["9223372036854775807", "-5"]),
    "larger": (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
    "decimal": (pa.array([decimal.Decimal("12.50"), None], pa.decimal128(38, 2)), ["12.50", None]),
    "date": (pa.array([dt.date(2024, 1, 2), None]), ["2024-01-02", None]),
    "moment": (pa.array([MOMENT, dt.datetime(2024, 1, 2)]), ["2024-01-02 23:30:05.000600", "2024-01-02 00:00:00"]),
    "zoned": (
        pa.array([MOMENT.replace(tzinfo=dt.UTC), None], pa.timestamp("s", "Europe/Berlin")),
        ["2024-01-03 00:30:05", None],
    ),
    "time": (pa.array([dt.time(3, 4, 5), None]), ["03:04:05", None]),
    "truth": (pa.array([True, False]), ["true", "false"]),
}


def written(columns: dict[str, Any], **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def read(content: bytes, limits: Limits | None = None) -> Parsed:
    return parse(content, "a.parquet", limits or Limits(), ParseOptions(fields=(frozenset({"item"}),)))


def test_every_type_as_text() -> None:
    parsed = read(written({"item": ["A", "B"]} | {name: values for name, (values, _) in TYPES.items()}))
    assert parsed.columns == ("item", *TYPES)
    for place, (name, (_, texts)) in enumerate(TYPES.items(), start=1):
        assert parsed.frame[f"c{place}"].to_list() == texts, name
    assert parsed.frame["line"].to_list() == [1, 2]
    assert (parsed.file_format, parsed.numbers_are_plain) == ("parquet", True)


def test_lines_count_blank_rows_and_run_over_row_groups() -> None:
    items = [f"I{n}" if n % 3 else None for n in range(50_000)]
    parsed = read(written({"item": items}, row_group_size=7_000))
    assert parsed.frame.rows() == [(n + 1, item) for n, item in enumerate(items) if item]


REFUSED = {
    "nested": (written({"item": [["A"]]}), UnreadableFile, r"column 'item' holds List\(String\).*flatten it"),
    "bytes": (written({"item": [b"\xff"]}), UnreadableFile, "column 'item' holds bytes that are no text"),
    "spans": (written({"item": pa.array([1], pa.duration("s"))}), UnreadableFile, "column 'item' holds Duration"),
    "other names": (written({"foo": [1]}), WrongColumns, "in the file's schema; the first row is 'foo'"),
    "no rows": (written({"item": pa.array([], pa.string())}), EmptyFile, "not one data row"),
    "blank rows": (written({"item": ["", None]}), EmptyFile, "not one data row"),
    "cut off": (written({"item": ["A"]})[:-9], UnreadableFile, "the Parquet file is damaged.*write|save it anew"),
    "encrypted": (b"PARE....PARE", UnreadableFile, "an encrypted Parquet file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    content, kind, told = REFUSED[case]
    with pytest.raises(kind, match=told):
        read(content)


def test_columns_that_nobody_wants_may_hold_anything() -> None:
    other = {
        "lines": [[1], []],
        "who": [{"a": 1}, None],
        "photo": [b"\xff", None],
        "took": pa.array([1, 2], pa.duration("s")),
    }
    parsed = read(written({"item": ["A", "B"]} | other))
    assert parsed.columns == ("item", *other)
    assert parsed.frame.rows() == [(1, "A", *[None] * 4), (2, "B", *[None] * 4)]


def test_records_of_a_connector_come_out_as_the_same_rows_in_a_file_do() -> None:
    values = {"item": ["A", "B"]} | {name: values for name, (values, _) in TYPES.items()}
    records: Any = pl.from_arrow(pa.table(values))
    records = pl.concat([records, pl.DataFrame({"item": [None, " ", "x" * 40_000]})], how="diagonal")
    as_file = io.BytesIO()
    records.write_parquet(as_file)
    parsed, again = parse_records(records, Limits()), read(as_file.getvalue())
    assert parsed.frame.equals(again.frame)
    assert parsed.malformed.equals(again.malformed)
    assert (parsed.read, parsed.malformed["line"].to_list()) == (3, [5])
    assert (parsed.columns, parsed.numbers_are_plain) == (again.columns, True)
    assert parse_records(records.clear(), Limits()).read == parse_records(pl.DataFrame(), Limits()).read == 0
    with pytest.raises(TooManyRows):
        parse_records(records, Limits(max_rows=4))
    with pytest.raises(UnreadableFile, match="column 'item' holds List"):
        parse_records(pl.DataFrame({"item": [["A"]]}), Limits())


def test_sizes_are_counted_not_believed() -> None:
    rows = written({"item": ["A"] * 1_000})
    with pytest.raises(TooManyRows):
        read(rows, Limits(max_rows=999))
    with pytest.raises(TooManyCells):
        read(rows, Limits(max_cells=999))
    # A text of 30,000 characters that is stored once and meant 60,000 times.
    packed = pa.DictionaryArray.from_arrays(pa.array([0] * 60_000, pa.int32()), pa.array(["x" * 30_000]))
    content = written({"item": packed})
    assert len(content) < 50_000
    with pytest.raises(IngestionError, match="needs more than"):
        read(content, Limits(max_memory=400 * MIB))
    plain = written({"item": ["x" * 10_000] * 3_000}, use_dictionary=False, compression="zstd")
    with pytest.raises(DecompressionBomb):
        read(plain, Limits(max_uncompressed=20 * MIB))


def test_a_needed_column_that_is_missing_is_told_without_a_line() -> None:
    mapping = Mapping.model_validate(
        {
            "name": "m",
            "target": "demand",
            "columns": {name: {"names": [name]} for name in ("item", "day", "quantity")},
        }
    )
    with pytest.raises(WrongColumns, match=r"^a\.parquet: the header lacks 'quantity'"):
        ingest(written({"item": ["A"], "day": [dt.date(2024, 1, 2)]}), "a.parquet", mapping)
