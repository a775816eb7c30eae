"""What only stored data can say of a row: the item behind a supplier's code, and a quantity in the item's own unit.

Done by joins over the whole file, before the rules are checked. What cannot be said leaves the value as it is and a
mark beside it, by which `validate` rejects the row: `@lookup:field` and `@unit:field` (Boolean, true: not known).
"""

import polars as pl

from ingestion.convert import text_of
from ingestion.known import ITEM_UNITS, KnownCodes
from ingestion.mapping import SUPPLIER_ITEM, Column, Mapping
from ingestion.targets import TARGETS, Field


def lookup_mark(field: str) -> str:
    """Name of the column that is true where a supplier's code could not be resolved."""
    return f"@lookup:{field}"


def unit_mark(field: str) -> str:
    """Name of the column that is true where an item that is there has no such unit."""
    return f"@unit:{field}"


def resolve(frame: pl.DataFrame, mapping: Mapping, known: KnownCodes) -> pl.DataFrame:
    """The fields of `convert.to_fields` with items named by suppliers' codes and numbers in other units resolved."""
    fields = TARGETS[mapping.target].fields
    for name, column in mapping.columns.items():
        if column.lookup == SUPPLIER_ITEM:
            frame = _items_of_suppliers(frame, name, mapping, known)
    # Second, as a conversion is that of the item.
    for name, column in mapping.columns.items():
        if column.unit is not None and column.factor is not None:
            frame = frame.with_columns(_converted(name, fields[name], pl.lit(column.factor)))
        elif column.unit is not None or column.unit_from is not None:
            frame = _in_own_unit(frame, name, column, mapping, known)
    return frame


def _items_of_suppliers(frame: pl.DataFrame, name: str, mapping: Mapping, known: KnownCodes) -> pl.DataFrame:
    """`name` from a supplier's code to the item's. Without a supplier in the row, a code of one item only will do."""
    by = ["supplier"] if "supplier" in mapping.columns else []
    items = (
        known.supplier_items.group_by(*by, "code").agg(pl.col("item").unique()).filter(pl.col("item").list.len() == 1)
    ).with_columns(pl.col("item").list.first().alias("@item"))
    joined = frame.join(
        items.select(*by, "code", "@item"),
        left_on=[*by, name],
        right_on=[*by, "code"],
        how="left",
        maintain_order="left",
    )
    unknown = pl.col(name).is_not_null() & pl.col("@item").is_null()
    return joined.with_columns(unknown.alias(lookup_mark(name)), pl.coalesce("@item", name).alias(name)).drop("@item")


def _in_own_unit(frame: pl.DataFrame, name: str, column: Column, mapping: Mapping, known: KnownCodes) -> pl.DataFrame:
    """`name` in the item's own unit by the conversions on record; an item to be created has that it is made with."""
    spec = TARGETS[mapping.target].fields[name]
    unit = pl.col(column.unit_from) if column.unit_from is not None else pl.lit(column.unit)
    frame = frame.with_columns(unit.cast(pl.String).alias("@of_unit"))
    factors = known.item_units.unique(["item", "unit"], keep="first").select(*ITEM_UNITS).rename({"factor": "@factor"})
    joined = frame.join(
        factors, left_on=[spec.unit_of, "@of_unit"], right_on=["item", "unit"], how="left", maintain_order="left"
    )
    is_there = pl.col(spec.unit_of).is_in(known.of("items").implode())
    has_unit = is_there
    if mapping.unknown_items == "create":
        made_with = pl.lit(mapping.created_item.unit)
        has_unit = is_there | (pl.col("@of_unit") != made_with)
    missing = pl.col(text_of(name)).is_not_null() & pl.col("@of_unit").is_not_null() & pl.col("@factor").is_null()
    return joined.with_columns(
        (missing & has_unit).alias(unit_mark(name)),
        _converted(name, spec, pl.col("@factor").fill_null(1.0)),
    ).drop("@of_unit", "@factor")


def _converted(name: str, spec: Field, factor: pl.Expr) -> pl.Expr:
    """The number in the item's own unit; what stands in for an empty text is in that already."""
    value = pl.col(name) / factor if spec.per_unit else pl.col(name) * factor
    return pl.when(pl.col(text_of(name)).is_not_null()).then(value).otherwise(pl.col(name)).alias(name)
