"""Where items come from and lie: suppliers and their terms, warehouses and stock."""

from ingestion.targets.fields import (
    ACTIVE,
    DAYS,
    MONEY,
    MULTIPLE,
    NAME,
    NOTE,
    QUANTITY,
    SHARE,
    SIZE,
    SOME_DAY,
    VALID_FROM,
    VALID_TO,
    Field,
    Kind,
    Target,
    code,
)

SUPPLIERS = Target(
    "suppliers",
    {
        "code": code(example="S-1"),
        "name": NAME.told("Name people know it by", "Smith & Sons"),
        "email": Field(Kind.TEXT, about="Where orders go", example="orders@smith.example"),
        "phone": Field(Kind.TEXT, about="Telephone", example="+44 20 7946 0000"),
        "country": Field(Kind.CODE, pattern="[A-Z]{2}", about="ISO 3166 code", example="GB"),
        "currency": Field(Kind.CODE, pattern="[A-Z]{3}", about="ISO 4217 code", example="EUR"),
        "lead_time_days": DAYS.told("Mean lead time in working days"),
        "lead_time_sd_days": Field(
            Kind.NUMBER, at_least=0, at_most=3_650, about="Its standard deviation, in working days", example=2.5
        ),
        "reliability": SHARE.told("Share of orders delivered in full and on time"),
        "rating": Field(Kind.NUMBER, at_least=0, at_most=5, about="Buyers' rating, 0 to 5", example=4.0),
        "active": ACTIVE,
        "note": NOTE,
    },
    key=("code",),
    about="Who sells to us",
)
SUPPLIER_TERMS = Target(
    "supplier_terms",
    {
        "item": code("items", example="B-110"),
        "supplier": code("suppliers", example="S-1"),
        "supplier_item_code": Field(Kind.CODE, about="The supplier's own code for it", example="4711"),
        "price": MONEY.per_unit_of("item"),
        "min_order_qty": SIZE.told("Least quantity of an order").in_unit_of("item"),
        "order_multiple": MULTIPLE.in_unit_of("item"),
        "lead_time_days": DAYS,
        "priority": Field(
            Kind.WHOLE, required=True, default=1, at_least=1, at_most=1_000, about="1 is asked first", example=1
        ),
        "valid_from": VALID_FROM,
        "valid_to": VALID_TO,
        "active": ACTIVE,
    },
    key=("item", "supplier"),
    in_order=(("valid_from", "valid_to"),),
    about="What a supplier asks for an item",
)
WAREHOUSES = Target(
    "warehouses",
    {
        "code": code(example="main"),
        "name": NAME.told("Name people know it by", "Main store"),
        "capacity_m3": Field(Kind.NUMBER, at_least=0, about="Volume it holds, cubic metres", example=1_200.0),
        "capacity_pallets": Field(
            Kind.WHOLE, at_least=0, at_most=10_000_000, about="Pallet places it has", example=800
        ),
        "active": ACTIVE,
    },
    key=("code",),
    about="Where stock lies",
)
STOCK = Target(
    "stock",
    {
        "item": code("items", example="A-100"),
        "warehouse": code("warehouses", creates=True, default="main", example="main"),
        "lot": code(default="-", example="L-2026-07").told("Lot; '-' where lots are not kept"),
        "on_hand": QUANTITY.told("There, in the item's unit").in_unit_of("item"),
        "reserved": Field(
            Kind.NUMBER, required=True, default=0.0, at_least=0, about="Of it promised to somebody", example=5.0
        ).in_unit_of("item"),
        "quarantined": Field(
            Kind.NUMBER, required=True, default=0.0, at_least=0, about="Of it not released for use", example=0.0
        ).in_unit_of("item"),
        "expires_on": SOME_DAY.told("Last day it may be used", "2027-06-30"),
    },
    key=("item", "warehouse", "lot"),
    about="Stock by item, warehouse and lot; available = on hand - reserved - quarantined",
)
