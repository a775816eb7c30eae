"""Query parameters of a resource's list, made from its fields: one of some values, or a span."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Annotated, Any

from litestar.params import Parameter
from sqlalchemy import Boolean, Date, DateTime, Float, Integer, Text, Uuid, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.paging import Rows
from db.records import LATEST, Condition, Operator, RecordTable
from ingestion.targets import Kind
from serve.parameters import LARGEST, MOST_VALUES, Search, Values, several, text_parameter
from serve.problems import NotFound
from serve.resources.resource import Resource
from serve.resources.schemas import one_of

# Numbers people look for by span; a parameter for each number of each table would bury the others.
RANGED = frozenset(
    {
        *("cost", "price", "on_hand", "quantity", "lead_time_days", "priority", "weekday", "rating", "reliability"),
        *("hours", "value", "rank", "past_due_days", "load_share", "coverage_days", "turnover", "available"),
    }
)
# Sentences: searched, not matched whole.
_SENTENCES = frozenset({"message", "subject", "reason", "cause", "verdict"})
RunKey = Annotated[str, text_parameter(f"Id of the run, or `{LATEST}`.")]


@dataclass(frozen=True)
class Filter:
    """A query parameter and the condition it stands for."""

    parameter: str
    field: str
    operator: Operator
    annotation: Any

    def condition(self, given: Any) -> Condition:
        """The condition for what was given."""
        return Condition(self.field, self.operator, tuple(given) if isinstance(given, list) else (given,))


@cache
def filters_of(resource: Resource) -> tuple[Filter, ...]:
    """The filters of a resource's list."""
    found: list[Filter] = []
    for name in (*resource.table.fields, *resource.table.extras):
        found += _filters_of_field(resource, name)
    return tuple(found)


def _filters_of_field(resource: Resource, name: str) -> list[Filter]:
    spec = resource.target.fields.get(name) if resource.target is not None else None
    kind = resource.table.shown_as(name).type
    about = (spec.about if spec else "") or name
    if isinstance(kind, Boolean):
        return [_filter(name, name, "is", bool | None, Parameter(query=name, description=f"{about}."))]
    if isinstance(kind, Date | DateTime):
        return [_span(name, "from", date, f"{about}: first."), _span(name, "to", date, f"{about}: last.")]
    if name in RANGED and isinstance(kind, Float | Integer):
        return [_span(name, "from", float, f"{about}: at least."), _span(name, "to", float, f"{about}: at most.")]
    return _matching(resource, name, kind, about)


def _matching(resource: Resource, name: str, kind: Any, about: str) -> list[Filter]:
    """Filters by the value itself: an id, one of some choices, a code."""
    spec = resource.target.fields.get(name) if resource.target is not None else None
    choices = spec.choices if spec is not None else resource.choices.get(name, ())
    if name in _SENTENCES or (name == "run_id" and resource.within is not None):
        return []
    if isinstance(kind, Uuid):
        short = name.removesuffix("_id")
        return [_filter(short, name, "is", uuid.UUID | None, Parameter(query=short, description=f"Id of the {short}."))]
    if choices:
        return [_filter(name, name, "is", list[one_of(choices)] | None, _several(name, about))]  # type: ignore[misc]
    if isinstance(kind, Text) and (spec is None or spec.kind is Kind.CODE):
        found = [_filter(name, name, "is", Values | None, several(f"{about}: one of these.", query=name))]
        return [*found, _under(name, about)] if resource.table.is_tree(name) else found
    return []


def _under(name: str, about: str) -> Filter:
    parameter = f"{name}_tree"
    declared = several(f"{about}: one of these or below them.", query=parameter)
    return _filter(parameter, name, "under", Values | None, declared)


def _span(name: str, end: Operator, kind: Any, about: str) -> Filter:
    parameter = f"{name}_{end}"
    if kind is float:
        return _filter(
            parameter, name, end, float | None, Parameter(query=parameter, description=about, ge=-LARGEST, le=LARGEST)
        )
    return _filter(parameter, name, end, kind | None, Parameter(query=parameter, description=about))


def _several(name: str, about: str) -> Any:
    return Parameter(query=name, max_items=MOST_VALUES, description=f"{about}: one of these.")


def _filter(parameter: str, field: str, operator: Operator, kind: Any, declared: Any) -> Filter:
    return Filter(parameter, field, operator, Annotated[kind, declared])


def with_parameters(handler: Callable[..., Any], parameters: Mapping[str, tuple[Any, Any]], answer: Any) -> Any:
    """Give a handler that takes `**given` the parameters (annotation, default) it is called and documented with."""
    own = [each for each in inspect.signature(handler).parameters.values() if each.kind is not each.VAR_KEYWORD]
    made = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in parameters.items()
    ]
    kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    handler.__signature__ = inspect.Signature([*kept, *made], return_annotation=answer)  # type: ignore[attr-defined]
    handler.__annotations__ = {each.name: each.annotation for each in (*kept, *made)} | {"return": answer}
    return handler


def filter_parameters(filters: tuple[Filter, ...]) -> dict[str, tuple[Any, Any]]:
    """Parameters of a handler for these filters; its names keep clear of Litestar's own."""
    return {f"by_{each.parameter}": (each.annotation, None) for each in filters}


def list_parameters(resource: Resource) -> dict[str, tuple[Any, Any]]:
    """Parameters that narrow a list of the resource: its filters, free text, and deleted or not."""
    parameters = filter_parameters(filters_of(resource))
    if resource.within is not None:
        parameters["key"] = (RunKey, inspect.Parameter.empty)
    if resource.table.is_searchable:
        parameters["search"] = (Search, None)
    if resource.table.is_retired_by_delete:
        about = Parameter(description="The deleted ones instead.")
        parameters["deleted"] = (Annotated[bool, about], False)
    return parameters


async def narrowed(session: AsyncSession, resource: Resource, query: Rows, given: Mapping[str, Any]) -> Rows:
    """The rows a request asks for with `list_parameters`; NotFound if they are within a run that is not there."""
    wanted = conditions(filters_of(resource), given)
    query = resource.table.matching(query, wanted, given.get("search"), deleted=given.get("deleted", False))
    if resource.within is not None:
        query = query.where(resource.table.table.c.run_id == await run_id_of(session, resource.within, given["key"]))
    return query


async def run_id_of(session: AsyncSession, runs: RecordTable, key: str) -> Any:
    """The id of the run with that id, or of the newest."""
    found = (await session.execute(runs.named(select(runs.table.c.id), key))).scalar_one_or_none()
    if found is None:
        raise NotFound(f"there is no {runs.table.name.replace('_', ' ')} {key!r}")
    return found


def conditions(filters: tuple[Filter, ...], given: Mapping[str, Any]) -> list[Condition]:
    """The conditions of what a request gave."""
    return [each.condition(value) for each in filters if (value := given.get(f"by_{each.parameter}")) is not None]
