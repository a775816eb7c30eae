"""What a plant's planners set for the whole plant: typed, with defaults, and the rules between fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

Weekday = Literal[1, 2, 3, 4, 5, 6, 7]


class PlantSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plant; what nobody has set has its default."""

    working_weekdays: Annotated[
        list[Weekday], Meta(min_length=1, max_length=7, description="Weekdays that are worked, 1 is Monday.")
    ] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    firm_horizon_weeks: Annotated[
        int, Meta(ge=0, le=52, description="Weeks in which customers' orders count instead of the forecast.")
    ] = 3
    planning_horizon_weeks: Annotated[int, Meta(ge=1, le=104, description="Weeks a plan looks ahead.")] = 26
    forecast_horizon_weeks: Annotated[int, Meta(ge=1, le=52, description="Weeks a forecast looks ahead.")] = 13
    service_level_a: Annotated[
        float, Meta(ge=0.5, le=0.9999, description="Share of demand to be met from stock, class A.")
    ] = 0.97
    service_level_b: Annotated[float, Meta(ge=0.5, le=0.9999, description="The same for class B.")] = 0.93
    service_level_c: Annotated[float, Meta(ge=0.5, le=0.9999, description="The same for class C.")] = 0.85
    default_holding_rate: (
        Annotated[float, Meta(ge=0, le=10, description="Cost of holding stock, share of its value a year.")] | None
    ) = None
    default_order_cost: (
        Annotated[float, Meta(ge=0, le=1_000_000_000, description="Cost of one order or set-up.")] | None
    ) = None
    abc_a_share: Annotated[
        float, Meta(ge=0.01, le=1, description="Share of revenue up to which items are of class A.")
    ] = 0.80
    abc_b_share: Annotated[float, Meta(ge=0.01, le=1, description="The same for class B.")] = 0.95
    xyz_x_limit: Annotated[
        float, Meta(ge=0.01, le=10, description="Coefficient of variation below which items are of class X.")
    ] = 0.5
    xyz_y_limit: Annotated[float, Meta(ge=0.01, le=10, description="The same for class Y.")] = 1.0
    capacity_full: Annotated[
        float, Meta(ge=0.01, le=10, description="Load over capacity above which a work centre is overloaded.")
    ] = 1.0
    capacity_high: Annotated[
        float, Meta(ge=0.01, le=10, description="Load over capacity above which the overload is high.")
    ] = 1.1
    capacity_extreme: Annotated[
        float, Meta(ge=0.01, le=10, description="Load over capacity above which the overload is extreme.")
    ] = 1.3
    warehouse_warning_share: Annotated[
        float, Meta(ge=0.01, le=1, description="Share of a warehouse in use from which to warn.")
    ] = 0.90
    warehouse_critical_share: Annotated[
        float, Meta(ge=0.01, le=1, description="Share of a warehouse in use that is critical.")
    ] = 0.95
    # An end of `\Z`, as `$` would let a final newline through.
    currency: Annotated[
        str, Meta(max_length=3, pattern=r"^[A-Z]{3}\Z", description="Currency of all money, ISO 4217.")
    ] = "EUR"
    company_name: Annotated[
        str, Meta(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\Z", description="Name of the company.")
    ] = ""

    @property
    def service_levels(self) -> dict[str, float]:
        """By ABC class."""
        return {"A": self.service_level_a, "B": self.service_level_b, "C": self.service_level_c}

    @property
    def weekmask(self) -> str:
        """Monday to Sunday, 1 where it is worked."""
        return "".join("1" if day in self.working_weekdays else "0" for day in range(1, 8))

    def broken_rules(self) -> list[tuple[str, str]]:
        """Fields that do not go together, each with what was expected of it."""
        return [
            (high, f"must be above {low} ({getattr(self, low)}), is {getattr(self, high)}")
            for low, high in _ASCENDING
            if getattr(self, high) <= getattr(self, low)
        ]


_ASCENDING = (
    ("abc_a_share", "abc_b_share"),
    ("xyz_x_limit", "xyz_y_limit"),
    ("capacity_full", "capacity_high"),
    ("capacity_high", "capacity_extreme"),
    ("warehouse_warning_share", "warehouse_critical_share"),
)


def in_force(defaults: PlantSettings, stored: Mapping[str, Any]) -> PlantSettings:
    """The defaults with what was stored in their place; a field that is stored but no longer known is passed over.

    Raises:
        msgspec.ValidationError: a stored value is not of its field's type or range.
    """
    known = {name: value for name, value in stored.items() if name in PlantSettings.__struct_fields__}
    return msgspec.convert({**msgspec.structs.asdict(defaults), **known}, PlantSettings)
