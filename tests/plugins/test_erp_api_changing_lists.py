"""Lists of a REST API that change at random between any two requests, read by readings that stop at random."""

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from erp_api_source import BY_PAGE, Plant, Request, config, incremental, read, rows, shared_server

from fmrp_sdk import RecordsBatch, RetriableError
from fmrp_sdk.testing.readings import Given

DATA = {"records": "$.data[*]"}
BY_OFFSET = {"kind": "offset", "size_param": "limit", "size": 3}
TOTAL = {"total_path": "$.total"}
# Without an overlap, which would hide much.
SORTED = {"params": {"sort": "changed"}, "cursor": {"ordered": True, "overlap": 0}}
UNSORTED = {"cursor": {"overlap": 0}}
STREAMS = {
    "page, sorted": incremental("orders", "page/orders", BY_PAGE, **DATA, **SORTED),
    "offset, sorted": incremental("orders", "offset/orders", BY_OFFSET, **DATA, **SORTED),
    "page, to a total": incremental("orders", "page/orders", BY_PAGE | TOTAL, **DATA, **UNSORTED),
    "one answer": incremental("orders", "plain/orders", {"kind": "none"}, **UNSORTED),
    "whole": {"name": "orders", "path": "page/orders", "paging": BY_PAGE, "key": ["id"], **DATA},
    "whole, to a total": {"name": "orders", "path": "page/orders", "paging": BY_PAGE | TOTAL, "key": ["id"], **DATA},
}


class ChangingOrders:
    """Orders of long ago, of which one is added, changed or deleted before every third answer or so."""

    def __init__(self, chance: random.Random) -> None:
        self.plant = Plant(shared_server())
        self._chance = chance
        self._count = 0
        days = sorted(chance.randint(1, 28) for _ in range(chance.randint(4, 16)))
        self.orders = [{**self._new(), "changed": f"2026-02-{day:02}T00:00:00Z"} for day in days]
        self.plant.lists["orders"] = self.orders
        self.plant.prepared = _Always(self._change)

    def rest(self) -> None:
        """Nothing changes any more."""
        self.plant.prepared.clear()

    def _new(self) -> dict[str, Any]:
        self._count += 1
        return {"id": self._count, "quantity": 1, "changed": datetime.now(UTC).isoformat(timespec="microseconds")}

    def _change(self, _: Request) -> None:
        what = self._chance.randint(0, 8)
        if what == 0 or not self.orders:
            self.orders.insert(self._chance.choice([0, len(self.orders)]), self._new())
        elif what == 1:
            changed = self._chance.choice(self.orders)
            changed |= {"quantity": changed["quantity"] + 1, "changed": self._new()["changed"]}
        elif what == 2:
            self.orders.remove(self._chance.choice(self.orders))


class _Always:
    """A reply prepared for each request, until it is cleared."""

    def __init__(self, prepared: Callable[[Request], None]) -> None:
        self._prepared: Callable[[Request], None] | None = prepared

    def __bool__(self) -> bool:
        return self._prepared is not None

    def popleft(self) -> Callable[[Request], None] | None:
        return self._prepared

    def clear(self) -> None:
        self._prepared = None


class Stored:
    """What a runner has stored: rows by their key, and the state."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.state: dict[str, Any] | None = None
        self._snapshot: dict[str, dict[str, Any]] = {}

    def take(self, batches: list[Given]) -> None:
        """Rows and state together; those of a snapshot once it is whole."""
        self._snapshot = {}
        for each in batches:
            content = each.batch.content
            is_snapshot = isinstance(content, RecordsBatch) and content.is_snapshot
            (self._snapshot if is_snapshot else self.rows).update({row["id"]: row for row in rows([each])})
            if not is_snapshot:
                self.state = each.state
            elif content.is_last:  # type: ignore[union-attr]
                self.rows, self._snapshot, self.state = self._snapshot, {}, each.state


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_in_the_end_what_is_stored_is_what_the_source_holds(stream: dict[str, Any]) -> None:
    seed = int(os.environ.get("FMRP_LIST_SEED", random.randint(0, 999_999)))
    print(f"FMRP_LIST_SEED={seed}")  # shown when it fails
    chance = random.Random(seed)
    for _ in range(3):
        source, stored = ChangingOrders(chance), Stored()
        given = config(source.plant, stream, batch_rows=chance.choice([1, 2, 5, 100]))
        for _ in range(chance.randint(2, 4)):
            try:
                stored.take(read(given, stored.state, at_most=chance.choice([1, 2, None])))
            except RetriableError:
                continue  # it is read again, as a runner would
        source.rest()
        stored.take(read(given, stored.state))
        held = {str(order["id"]): {name: str(value) for name, value in order.items()} for order in source.orders}
        # Only a list read whole tells what is gone.
        found = stored.rows if "cursor" not in stream else {key: stored.rows.get(key) for key in held}
        assert found == held
