"""Which rows of a resource a request is about: its filters, free text, deleted or not, and the run they are of."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

from litestar.params import Parameter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.paging import Rows
from db.records import LATEST, RecordTable
from serve.parameters import Search, sorts
from serve.problems import NotFound
from serve.resources.filters import conditions, filter_parameters, filters_of
from serve.resources.resource import Resource

RunKey = Annotated[str, Parameter(max_length=200, description=f"Id of the run, or `{LATEST}`.")]


def narrowing_parameters(resource: Resource) -> dict[str, tuple[Any, Any]]:
    """Parameters of a list or an export, but for paging and fields."""
    parameters = filter_parameters(filters_of(resource))
    parameters["sort"] = (Annotated[str | None, sorts(resource.table.order)], None)
    if resource.table.is_searchable:
        parameters["search"] = (Search, None)
    if resource.within is not None:
        parameters["key"] = (RunKey, inspect.Parameter.empty)
    if resource.table.is_retired_by_delete:
        about = Parameter(description="The deleted ones instead.")
        parameters["deleted"] = (Annotated[bool, about], False)
    return parameters


async def narrowed(session: AsyncSession, resource: Resource, query: Rows, given: Mapping[str, Any]) -> Rows:
    """The rows that a request asks for with `narrowing_parameters`.

    Raises:
        NotFound: there is no such run.
    """
    wanted = conditions(filters_of(resource), given)
    query = resource.table.matching(query, wanted, given.get("search"), deleted=given.get("deleted", False))
    if resource.within is None:
        return query
    run_id = await run_id_of(session, resource.within, given["key"])
    return query.where(resource.table.table.c.run_id == run_id)


async def run_id_of(session: AsyncSession, runs: RecordTable, key: str) -> Any:
    """The id of the run with that id, or of the newest.

    Raises:
        NotFound: there is none.
    """
    found = (await session.execute(runs.named(select(runs.table.c.id), key))).scalar_one_or_none()
    if found is None:
        raise NotFound(f"there is no {runs.table.name.replace('_', ' ')} {key!r}")
    return found
