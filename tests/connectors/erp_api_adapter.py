"""A REST API that is read by processes that die: demand in two lists, one sorted and paged by number, one by cursor."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from erp_api_source import BY_CURSOR, BY_PAGE, Plant, incremental, shared_server

KEY = "plant-key/of-the-killed"


class ErpApi:
    """Days of demand behind an HTTP server of this process; every other one goes to the other list."""

    connector = "erp_api"

    def __init__(self, path: Path) -> None:
        """`path` is not needed: the server keeps all in memory."""
        self._plant = Plant(shared_server())
        self._plant.lists = {"sales": [], "returns": []}
        self._plant.allows = lambda request: request.headers.get("x-api-key") == KEY

    def config(self) -> dict[str, Any]:
        """Every page holds three records, so a day of five lies on two or three."""
        data = {"records": "$.data[*]"}
        in_order = {"params": {"sort": "changed"}, "cursor": {"ordered": True}}
        return {
            "base_url": self._plant.url,
            "auth": {"kind": "api_key", "key": KEY},
            "batch_rows": 4,
            "streams": [
                incremental("sales", "page/sales", BY_PAGE, **data, **in_order),
                incremental("returns", "cursor/returns", BY_CURSOR, **data),
            ],
        }

    def put(self, number: int, rows: list[dict[str, Any]]) -> None:
        """Records are changed now, by the clock by which the server also dates its answers."""
        found = self._plant.lists["returns" if number % 2 else "sales"]
        for row in rows:
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            found.append({"id": f"{number}-{row['item']}", "changed": now, **row})
