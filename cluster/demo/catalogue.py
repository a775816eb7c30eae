"""What the demo factory makes and buys, read from catalogue.toml: kinds of parts and how they fit together."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Stem:
    """A group of like items in several sizes.

    `cost` is the range of purchase prices over the sizes; `per` how much of it goes into one parent, in `unit`; `uses`
    the stems it is made of, none for a purchased one; `route` pairs of work centre and minutes a piece; `lead` the
    range of lead times in working days.
    """

    key: str
    noun: str
    category: str
    sizes: tuple[str, ...]
    lead: tuple[int, int]
    unit: str = "pcs"
    cost: tuple[float, float] = (0.0, 0.0)
    per: tuple[float, float] = (1.0, 1.0)
    uses: tuple[str, ...] = ()
    route: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A product family: model names, the stems one product is made of, and how its market moves.

    `season` is the strength k of exp(k cos(days from the peak)), `peak` a day of the year; `growth` a year's trend.
    """

    noun: str
    category: str
    series: tuple[str, ...]
    sizes: tuple[str, ...]
    uses: tuple[str, ...]
    season: float
    peak: int
    growth: float


@dataclass(frozen=True, slots=True)
class WorkCentre:
    """A work centre; `efficiency` 1.0 = 100 %."""

    code: str
    name: str
    efficiency: float


@dataclass(frozen=True, slots=True)
class Vendor:
    """A supplier, the local part of its mail domain, and the category it sells."""

    name: str
    mail: str
    category: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The whole of catalogue.toml."""

    families: tuple[Family, ...]
    semi_finished: tuple[Stem, ...]
    components: tuple[Stem, ...]
    raw_materials: tuple[Stem, ...]
    packaging: tuple[Stem, ...]
    work_centres: tuple[WorkCentre, ...]
    suppliers: tuple[Vendor, ...]
    customers: tuple[str, ...]


@cache
def catalogue() -> Catalogue:
    """The catalogue beside this module."""
    text = files("cluster.demo").joinpath("catalogue.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    return Catalogue(
        families=tuple(Family(**_lists_split(family)) for family in raw["families"]),
        semi_finished=_stems(raw["semi_finished"]),
        components=_stems(raw["components"]),
        raw_materials=_stems(raw["raw_materials"]),
        packaging=_stems(raw["packaging"]),
        work_centres=tuple(WorkCentre(**centre) for centre in raw["work_centres"]),
        suppliers=tuple(Vendor(**vendor) for vendor in raw["suppliers"]),
        customers=tuple(raw["customers"]),
    )


def _stems(tables: list[dict[str, Any]]) -> tuple[Stem, ...]:
    return tuple(Stem(**_lists_split(table)) for table in tables)


def _lists_split(table: dict[str, Any]) -> dict[str, Any]:
    """A table with its lists as tuples; sizes are written 'a|b', uses 'a b'."""
    fields = {name: _frozen(value) for name, value in table.items()}
    fields["sizes"] = tuple(table["sizes"].split("|"))
    fields["uses"] = tuple(table.get("uses", "").split())
    return fields


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value
