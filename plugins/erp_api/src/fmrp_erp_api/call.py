"""One request, as it is before the log-in is put on it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import httpx


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """One request. `body` is sent as JSON, `form` as a form. Shown without what may be secret."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    form: Mapping[str, str] | None = None
    with_auth: bool = True

    @property
    def asked(self) -> str:
        """The request for people: without parameters, which may hold secrets."""
        return f"{self.method} {self.url.copy_with(query=None, fragment=None)}"

    def __repr__(self) -> str:
        return self.asked

    def with_parameters(self, parameters: Mapping[str, Any], in_body: bool) -> Self:
        """With these in the query, or in the body, where 'page.size' is size within page."""
        if not in_body:
            return replace(
                self, url=self.url.copy_merge_params({name: _told(each) for name, each in parameters.items()})
            )
        body = copy.deepcopy(self.body) if self.body is not None else {}
        for name, value in parameters.items():
            *parents, last = name.split(".")
            place = body
            for parent in parents:
                if not isinstance(place.get(parent), dict):
                    place[parent] = {}
                place = place[parent]
            place[last] = value
        return replace(self, body=body)


def _told(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
