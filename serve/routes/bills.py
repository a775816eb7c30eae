"""Bills of material: as a tree, exploded with costs, and where an item is used; trees and units of items."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
from litestar import Response, Router, get
from litestar.datastructures import State
from litestar.params import Parameter
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories import bills
from ingestion.targets.fields import MAX_CODE_CHARS
from planning.bills import Bill, TooLarge, exploded, occurrences, used_in
from planning.bom import CycleError
from serve.bill_schemas import (
    BillNode,
    CategoryTree,
    Converted,
    Explosion,
    Use,
    WhereUsed,
    category_tree,
    explosion_of,
    tree_of,
)
from serve.parameters import LARGEST, text_parameter
from serve.problems import ERRORS, Conflict, FieldError, NotFound, RuleBroken
from serve.resources.schemas import LEAST
from serve.security import VIEWER

MOST_LEVELS = 100
MOST_PLACES = 20_000
"""Of a tree: an assembly used in many places is shown in each of them, and so is everything below it."""

Key = Annotated[str, text_parameter("Id or code of the item.")]
Quantity = Annotated[float, Parameter(ge=LEAST, le=LARGEST, description="Of the item, in its own unit.")]
On = Annotated[date | None, Parameter(query="on", description="Day whose lines and prices count; today without it.")]
UnitCode = Annotated[str, text_parameter("Code of a unit.", MAX_CODE_CHARS)]
Version = Annotated[str | None, text_parameter("Of the item's bill; the one in use without.", MAX_CODE_CHARS)]
Levels = Annotated[Literal["all", "direct"], Parameter(description="Up to the top, or only what it stands in.")]
Depth = Annotated[int, Parameter(ge=1, le=MOST_LEVELS, description="Levels below the item.")]


@get(
    "/items/{key:str}/bill-of-material",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getBillOfMaterial",
    summary="An item's bill of material as a tree",
    description=f"Costs are rolled up as in the explosion. 409 beyond {MOST_PLACES:,} places: ask for less depth.",
)
async def get_bill(
    session: AsyncSession,
    state: State,
    key: Key,
    version: Version = None,
    on: On = None,
    depth: Depth = 20,
    quantity: Quantity = 1.0,
) -> Response[BillNode]:
    """The item with its components, and theirs."""
    item = await _item(session, key)
    day = on or _today(state)

    async def compute() -> bytes:
        bill = await _bill_below(session, item, day, version)

        def work() -> bytes:
            costed = _finite(exploded(bill, item["code"], quantity))
            places = occurrences(bill, item["code"], quantity, depth, MOST_PLACES)
            return msgspec.json.encode(tree_of(places, costed))

        return await asyncio.to_thread(work)

    return await _kept(state, "bill_tree", (*_identity(item), day, version, depth, quantity), compute)


@get(
    "/items/{key:str}/explosion",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="explodeBill",
    summary="What a quantity of an item takes, and costs",
    description=(
        "Every component once, with the total of all its places. Bought items cost their standard cost, else the price"
        " of their first active supplier; made ones their components and operations, a set-up spread over what is"
        " needed and at least over the item's lot size. What has no price counts as 0 and is named."
    ),
)
async def get_explosion(
    session: AsyncSession, state: State, key: Key, quantity: Quantity = 1.0, on: On = None
) -> Response[Explosion]:
    """The flat list with the total cost."""
    item = await _item(session, key)
    day = on or _today(state)

    async def compute() -> bytes:
        bill = await _bill_below(session, item, day, None)

        def work() -> bytes:
            costed = _finite(exploded(bill, item["code"], quantity))
            return msgspec.json.encode(explosion_of(item["code"], quantity, day, costed))

        return await asyncio.to_thread(work)

    return await _kept(state, "explosion", (*_identity(item), day, quantity), compute)


@get(
    "/items/{key:str}/where-used",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getWhereUsed",
    summary="What an item goes into",
)
async def get_where_used(
    session: AsyncSession, state: State, key: Key, levels: Levels = "all", on: On = None
) -> WhereUsed:
    """Everything up to the items at the top, or (`direct`) what it stands in the bill of."""
    item = await _item(session, key)
    day = on or _today(state)
    await bills.begin_snapshot(session)
    lines = await bills.lines_above(session, item["id"], day)
    used = set(lines["component"])
    if levels == "direct":
        lines = lines.filter(lines["component"] == item["code"])
    bill = await _with_items(session, lines, item["code"], day)
    with _refused_as_conflict():
        above = _finite(await asyncio.to_thread(used_in, bill, item["code"]))
    names = ("item", "name", "kind", "unit", "level", "quantity")
    uses = [Use(**{name: row[name] for name in names}, is_top=row["item"] not in used) for row in above.to_dicts()]
    return WhereUsed(item=item["code"], on=day, uses=uses)


@get(
    "/items/{key:str}/convert",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="convertUnits",
    summary="A quantity of an item in another unit",
    description="By the item's unit conversions; its own unit is one of the units. 409 names what is missing.",
)
async def convert(
    session: AsyncSession, key: Key, quantity: Quantity, from_unit: UnitCode, to_unit: UnitCode
) -> Converted:
    """Through the item's own unit."""
    item = await _item(session, key)
    factors = {**await bills.conversions(session, item["id"]), item["unit"]: 1.0}
    errors = [
        FieldError(field, f"item {item['code']!r} has no conversion from {unit!r} to {item['unit']!r}")
        for field, unit in (("from_unit", from_unit), ("to_unit", to_unit))
        if unit not in factors
    ]
    if errors:
        raise RuleBroken(errors)
    converted = quantity * factors[from_unit] / factors[to_unit]
    return Converted(item=item["code"], quantity=quantity, from_unit=from_unit, to_unit=to_unit, converted=converted)


@get(
    "/item-categories/tree",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getItemCategoryTree",
    summary="The tree of item categories",
)
async def get_category_tree(session: AsyncSession) -> CategoryTree:
    """All categories under those they are part of."""
    return category_tree(await bills.categories(session))


async def _item(session: AsyncSession, key: str) -> Any:
    item = await bills.find_item(session, key)
    if item is None:
        raise NotFound(f"there is no item {key!r}")
    return item


def _identity(item: Any) -> tuple[uuid.UUID, str, str]:
    return item["id"], item["code"], item["version"]


async def _bill_below(session: AsyncSession, item: Any, day: date, version: str | None) -> Bill:
    """The item's bill as it is on a day; a version that is asked for must have lines."""
    await bills.begin_snapshot(session)
    lines = await bills.lines_below(session, item["id"], day, version)
    if version is not None and item["code"] not in set(lines["parent"]):
        message = f"item {item['code']!r} has no lines of version {version!r} on {day}"
        raise RuleBroken([FieldError("version", message)])
    return await _with_items(session, lines, item["code"], day)


async def _with_items(session: AsyncSession, lines: pl.DataFrame, top: str, day: date) -> Bill:
    codes = {top, *lines["parent"], *lines["component"]}
    return Bill(lines, await bills.items(session, sorted(codes), day))


@contextmanager
def _refused_as_conflict() -> Iterator[None]:
    """What a bill of material is refused for is the state it is in, no fault of the request."""
    try:
        yield
    except (CycleError, TooLarge) as error:
        raise Conflict(str(error)) from error


def _finite(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, as long as their quantities and costs are numbers that JSON can hold."""
    sums = rows.select(pl.col("quantity", "^cost$").sum()).row(0)
    if not all(math.isfinite(value) for value in sums):
        raise Conflict("the quantities of this bill of material multiply to numbers too large to work with")
    return rows


async def _kept(
    state: State, cache: str, key: tuple[object, ...], compute: Callable[[], Awaitable[bytes]]
) -> Response[Any]:
    """The answer from the cache, else computed; already encoded, as it is kept."""
    with _refused_as_conflict():
        content = await state.cache.answer(cache, key, compute)
    return Response(content, media_type="application/json")


def _today(state: State) -> date:
    return datetime.now(ZoneInfo(state.settings.time_zone)).date()


router = Router(
    "/",
    route_handlers=[get_bill, get_explosion, get_where_used, convert, get_category_tree],
    tags=["Bills of material"],
)
