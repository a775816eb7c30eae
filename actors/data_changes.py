"""What an event tells of changed rows: which resource, some of the keys, how many changes, by whom."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

# Keys an event names at most: it says where to look, it does not carry the data.
MOST_KEYS = 50


class DataChange(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one resource that were changed by committed transactions.

    `keys` names at most `MOST_KEYS` of them; `complete` says whether it names all: if not, read the list anew. `count`:
    changes, so a row changed twice counts twice. `actor`: who did it; empty when several or nobody in particular did.
    """

    resource: str
    keys: list[str] = []
    count: int = 0
    complete: bool = True
    actor: str = ""

    @classmethod
    def of(cls, resource: str, keys: Iterable[str], actor: str = "", count: int | None = None) -> DataChange:
        """What one transaction has changed, however many rows; `count` where not all of them are named."""
        named = list(dict.fromkeys(keys))
        count = len(named) if count is None else count
        complete = count == len(named) <= MOST_KEYS
        return cls(resource=resource, keys=named[:MOST_KEYS], count=count, complete=complete, actor=actor)

    def after(self, older: DataChange) -> DataChange:
        """This change and an older one of the same resource, told together."""
        keys = list(dict.fromkeys((*older.keys, *self.keys)))
        return DataChange(
            resource=self.resource,
            keys=keys[:MOST_KEYS],
            count=older.count + self.count,
            complete=older.complete and self.complete and len(keys) <= MOST_KEYS,
            actor=self.actor if self.actor == older.actor else "",
        )
