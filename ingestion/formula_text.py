"""Texts a spreadsheet would run as a formula: marked with an apostrophe in files we write, unmarked in files we read.

A text that already has apostrophes before such a character gets one more, so that every text comes back as it was.
"""

from typing import Any

import polars as pl

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
MARK = "'"
_STARTS = r"[=+\-@\t\r]"


def marked(text: pl.Expr) -> pl.Expr:
    """The texts, harmless in a cell."""
    return pl.when(text.str.contains(f"^{MARK}*{_STARTS}")).then(pl.concat_str(pl.lit(MARK), text)).otherwise(text)


def unmarked(text: pl.Expr) -> pl.Expr:
    """The texts that `marked` was given."""
    return pl.when(text.str.contains(f"^{MARK}+{_STARTS}")).then(text.str.strip_prefix(MARK)).otherwise(text)


def safe_cell(value: Any) -> Any:
    """One value, harmless in a cell; what is no text stays as it is."""
    if isinstance(value, str) and value.lstrip(MARK).startswith(FORMULA_STARTS):
        return f"{MARK}{value}"
    return value
