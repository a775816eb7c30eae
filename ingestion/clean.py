"""Rows that say the same thing twice, and the counting of invoice lines."""

import polars as pl

from ingestion.convert import LINE
from ingestion.mapping import Mapping
from ingestion.targets import TARGETS, Target
from ingestion.validate import KnownCodes


def one_row_per_key(frame: pl.DataFrame, target: Target) -> tuple[pl.DataFrame, int]:
    """(one row for each natural key, how many were merged into it): the later row of a file replaces the earlier.

    Invoice lines without a number are never merged, equal ones may be real repeats: they are counted within their
    document instead.
    """
    if target.name == "sales_lines" and frame["line"].null_count() == frame.height:
        occurrence = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("document", "item")
        return frame.sort(LINE).with_columns(line=occurrence), 0
    keys = frame.select(target.key)
    # Only keys whose hashes meet are compared: in time and memory that is half of comparing all.
    suspects = keys.with_row_index("@at").filter(keys.hash_rows().is_duplicated())
    last = suspects.group_by(target.key).agg(pl.col("@at").max())
    replaced = suspects.join(last, on="@at", how="anti")["@at"]
    if replaced.is_empty():
        return frame, 0
    return frame.filter(~pl.int_range(pl.len()).is_in(replaced.cast(pl.Int64).implode())), replaced.len()


def items_to_create(frame: pl.DataFrame, mapping: Mapping, known: KnownCodes) -> pl.DataFrame:
    """Items the rows name and the database does not know, in the columns of table items, by code."""
    items = TARGETS["items"]
    target = TARGETS[mapping.target]
    references = [name for name, spec in target.fields.items() if spec.refers_to == "items"]
    if mapping.unknown_items != "create" or not references:
        return pl.DataFrame(schema=items.schema())
    made = mapping.created_item
    # Where a row names several items (parent and component), its name and price are nobody's in particular.
    alone = len(references) == 1
    name = pl.col(made.name_from) if made.name_from and alone else pl.lit(None, dtype=pl.String)
    price = pl.col(made.price_from) if made.price_from and alone else pl.lit(None, dtype=pl.Float64)
    named = pl.concat(
        frame.select(code=pl.col(field), name=name.cast(pl.String), price=price.cast(pl.Float64))
        for field in references
    )
    new = named.filter(~pl.col("code").is_in(known.of("items").implode()))
    best_name = (
        new.drop_nulls("name")
        .group_by("code", "name")
        .len()
        .sort(["code", "len", "name"], descending=[False, True, False])
        .unique("code", keep="first", maintain_order=True)
        .select("code", "name")
    )
    found = (
        new.group_by("code")
        .agg(pl.col("price").filter(pl.col("price") > 0).median())
        .join(best_name, on="code", how="left")
        .sort("code")
        .with_columns(
            pl.coalesce("name", "code").alias("name"),
            kind=pl.lit(made.kind),
            unit=pl.lit(made.unit),
            category=pl.lit(made.category, dtype=pl.String),
            lead_time_days=pl.lit(made.lead_time_days, dtype=pl.Int64),
            active=pl.lit(value=True),
        )
    )
    empty = [pl.lit(None, dtype=dtype).alias(n) for n, dtype in items.schema().items() if n not in found.columns]
    return found.with_columns(empty).select(pl.col(n).cast(dtype) for n, dtype in items.schema().items())
