"""Items and what describes them: units, their conversion, the tree of categories."""

from ingestion.targets.fields import (
    ACTIVE,
    DAYS,
    MONEY,
    MULTIPLE,
    NAME,
    NOTE,
    SIZE,
    Field,
    Kind,
    Target,
    choice,
    code,
)

ITEM_KINDS = ("finished", "semi_finished", "component", "raw_material", "packaging", "trading_good")
LOT_SIZING_RULES = (
    "lot_for_lot",
    "fixed_quantity",
    "economic_order_quantity",
    "period_order_quantity",
    "silver_meal",
    "wagner_whitin",
)
SAFETY_STOCK_POLICIES = ("forecast", "formula", "manual", "none")
DIMENSIONS = ("count", "mass", "length", "area", "volume", "time", "other")

UNITS = Target(
    "units",
    {
        "code": code(example="pcs"),
        "name": NAME.told("Name people know it by", "Pieces"),
        "dimension": choice(*DIMENSIONS, default="other").told("What it measures"),
    },
    key=("code",),
    about="Units of measure",
)
UNIT_CONVERSIONS = Target(
    "unit_conversions",
    {
        "item": code("items", example="A-100"),
        "unit": code("units", example="box"),
        "factor": Field(
            Kind.NUMBER, required=True, above=0, about="How many of the item's own unit one such unit is", example=12.0
        ),
    },
    key=("item", "unit"),
    about="Other units of an item, as multiples of its own",
)
ITEM_CATEGORIES = Target(
    "item_categories",
    {
        "code": code(example="pumps"),
        "name": NAME.told("Name people know it by", "Pumps"),
        "parent": Field(
            Kind.CODE,
            refers_to="item_categories",
            creates=True,
            about="The category it is part of; empty: at the top",
            example="all",
        ),
    },
    key=("code",),
    must_differ=(("code", "parent"),),
    about="Tree of item categories",
)
ITEMS = Target(
    "items",
    {
        "code": code(example="A-100"),
        "name": NAME,
        "kind": choice(*ITEM_KINDS).told("What it is to the plant"),
        "unit": code("units", creates=True, default="pcs", example="pcs").told("Unit stock and demand are counted in"),
        "category": Field(Kind.CODE, refers_to="item_categories", creates=True, about="Its category", example="pumps"),
        "weight_kg": Field(Kind.NUMBER, at_least=0, about="Kilograms a unit", example=1.2),
        "volume_m3": Field(Kind.NUMBER, at_least=0, about="Cubic metres a unit", example=0.004),
        "cost": MONEY.told("Standard cost a unit"),
        "price": MONEY.told("List price a unit", 19.9),
        "holding_rate": Field(
            Kind.NUMBER, at_least=0, at_most=10, about="Cost of holding stock, share of its value a year", example=0.2
        ),
        "order_cost": MONEY.told("Fixed cost of one order or set-up", 45.0),
        "lead_time_days": DAYS.told("Working days from order to receipt"),
        "lot_sizing": choice(*LOT_SIZING_RULES, default="lot_for_lot").told("Rule that makes lots of net requirements"),
        "lot_size": Field(Kind.NUMBER, above=0, zero_is_empty=True, about="Quantity of fixed_quantity", example=500.0),
        "lot_periods": Field(
            Kind.WHOLE, at_least=1, at_most=104, zero_is_empty=True, about="Weeks of period_order_quantity", example=4
        ),
        "min_order_qty": SIZE.told("Least quantity of an order"),
        "order_multiple": MULTIPLE,
        "max_order_qty": Field(
            Kind.NUMBER, above=0, zero_is_empty=True, about="Larger orders are split", example=10_000.0
        ),
        "safety_stock_policy": choice(*SAFETY_STOCK_POLICIES, default="forecast").told("How safety stock is found"),
        "safety_stock": SIZE.told("Safety stock set by hand, in the item's unit"),
        "service_level": Field(
            Kind.NUMBER,
            above=0,
            below=1,
            zero_is_empty=True,
            about="Share of demand to be met from stock",
            example=0.97,
        ),
        "planning_fence_days": DAYS.told("Working days within which orders are not moved", 5),
        "forecast_model": Field(Kind.CODE, about="Model to forecast it with; empty: the best one", example="AutoETS"),
        "bom_version": code(default="1", example="1").told("Version of its bill of material in use"),
        "active": ACTIVE,
        "note": NOTE,
    },
    key=("code",),
    in_order=(("min_order_qty", "max_order_qty"),),
    about="Everything bought, made, stocked or sold",
)
