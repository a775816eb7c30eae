"""Orders in hand, and what was sold."""

from ingestion.targets.fields import DAY, MONEY, OPEN_QUANTITY, SOME_DAY, Field, Kind, Target, choice, code

_LINE = Field(Kind.WHOLE, required=True, default=1, at_least=0, at_most=1_000_000_000, about="Line", example=1)
_CUSTOMER = Field(Kind.TEXT, about="Who ordered", example="Hydro Ltd")

OPEN_ORDERS = Target(
    "open_orders",
    {
        "number": code(example="PO-4711"),
        "kind": choice("purchase", "production").told("Bought or made"),
        "item": code("items", example="B-110"),
        "supplier": Field(Kind.CODE, refers_to="suppliers", about="Of a purchase", example="S-1"),
        "quantity": OPEN_QUANTITY.in_unit_of("item"),
        "due_date": DAY.told("Day of receipt"),
        "status": choice("firm", "released", default="released").told("Planned firmly, or already with the supplier"),
        "ordered_on": SOME_DAY.told("Day it was placed", "2026-11-02"),
    },
    key=("number", "item"),
    about="Purchase and production orders already placed: scheduled receipts",
)
FIRM_ORDERS = Target(
    "firm_orders",
    {
        "number": code(example="SO-1001"),
        "line": _LINE,
        "item": code("items", example="A-100"),
        "customer": _CUSTOMER,
        "quantity": OPEN_QUANTITY.in_unit_of("item"),
        "due_date": DAY.told("Day it is promised for"),
        "price": MONEY.per_unit_of("item"),
    },
    key=("number", "line"),
    about="Lines of customers' orders still open",
)
DEMAND = Target(
    "demand",
    {
        "item": code("items", example="A-100"),
        "day": DAY,
        "quantity": Field(
            Kind.NUMBER, required=True, at_least=0, unit_of="item", about="In the item's unit", example=12.0
        ),
        "revenue": Field(Kind.NUMBER, about="Money of the day", example=238.8),
    },
    key=("item", "day"),
    grain="daily",
    about="Demand by day",
)
# Unless a mapping reads `line`, it is counted: the occurrence of the item within the document.
SALES_LINES = Target(
    "sales_lines",
    {
        "document": code(example="INV-77"),
        "item": code("items", example="A-100"),
        "line": Field(Kind.WHOLE, at_least=0, at_most=1_000_000_000, about="Counted, unless it is read", example=1),
        "day": DAY,
        "customer": _CUSTOMER,
        "quantity": Field(Kind.NUMBER, required=True, unit_of="item", example=3.0),
        "price": MONEY.per_unit_of("item"),
    },
    key=("document", "item", "line"),
    grain="line",
    about="Invoice lines; daily demand is derived from them",
)
