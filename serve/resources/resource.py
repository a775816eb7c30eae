"""What the API knows of a table: its name in paths and texts, who may do what, and the rules beyond its fields'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from db.records import RecordTable
from ingestion.targets import FIRST_DATE, LAST_DATE, Kind, Target
from serve.problems import FieldError, RuleBroken
from serve.security import Role

AfterWrite = Callable[[AsyncSession, Sequence[Mapping[str, Any]]], Awaitable[Sequence[FieldError]]]
"""Looks at rows just written, in their transaction; what it finds wrong undoes the write."""


@dataclass(frozen=True, eq=False)
class Resource:
    """A table as the API offers it. Without a target it can only be read.

    Rows `within` a run (whose table that is) are listed below it: the path then has the run's id as `{key:str}`. Pages
    of a run never change but by what they show of the tables `kept_under`; given these, they are kept in the cache.
    `choices` are the values of fields that no target declares.
    """

    path: str
    one: str
    many: str
    table: RecordTable
    target: Target | None = None
    about: str = ""
    tag: str = "Master data"
    read: Role = "viewer"
    write: Role = "manager"
    after_write: AfterWrite | None = None
    within: RecordTable | None = None
    kept_under: tuple[str, ...] = ()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name_one(self) -> str:
        """In operation ids and schema names: SupplierTerm."""
        return "".join(word.title() for word in self.one.split())

    @property
    def name_many(self) -> str:
        """In operation ids: SupplierTerms."""
        return "".join(word.title() for word in self.many.split())

    def check_rules(self, values: Mapping[str, Any]) -> None:
        """Hold values against the target's rules between fields and its span of dates.

        Raises:
            RuleBroken: naming each field at fault.
        """
        if self.target is None:
            return
        errors = [
            FieldError(name, f"must be between {FIRST_DATE} and {LAST_DATE}, is {values[name]}")
            for name, spec in self.target.fields.items()
            if spec.kind is Kind.DATE and values.get(name) and not FIRST_DATE <= values[name] <= LAST_DATE
        ]
        for one, other in self.target.must_differ:
            if values.get(one) is not None and values.get(one) == values.get(other):
                errors.append(FieldError(other, f"must differ from {one}, is {values[other]}"))
        for early, late in self.target.in_order:
            first, last = values.get(early), values.get(late)
            if first is not None and last is not None and last < first:
                errors.append(FieldError(late, f"must not be below {early} ({first}), is {last}"))
        if errors:
            raise RuleBroken(errors)
