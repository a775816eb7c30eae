"""Where the secrets of a connector's configuration are, by the types of its model: however deep, in lists and unions.

A configuration is plain JSON. What its model does not know counts as secret: it may be one under a misspelt name.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel, RootModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

SET = "(set)"
"""Stands for a secret that is stored; given back, it keeps what is stored."""
SEALED = "$sealed"
"""The only name in the object that stands for an encrypted secret."""

Path = tuple[str | int, ...]
Visit = Callable[[Path, Any], Any]

_MISSING = object()


class Ambiguous(ValueError):
    """`SET` stands where it does not say which of several secrets is meant; `path` is where."""

    message = f'"{SET}" does not say which secret of the list is meant: give it anew'

    def __init__(self, path: Path) -> None:
        super().__init__(f"{told(path)}: {self.message}")
        self.path = path


def told(path: Path) -> str:
    """The path as people write it."""
    return ".".join(map(str, path))


def is_sealed(value: Any) -> bool:
    """Whether the value stands for an encrypted secret."""
    return isinstance(value, Mapping) and value.keys() == {SEALED} and isinstance(value[SEALED], str)


def map_secrets(model: type[BaseModel] | None, config: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    """The configuration with every secret replaced by what `visit(path, value)` makes of it; nulls stay.

    Without a model (the connector is not there) all of it counts as secret.
    """
    top = _Place(model) if model is not None else _Place()
    return {name: _mapped(top.at(name), value, visit, (name,)) for name, value in config.items()}


def map_sealed(config: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    """The configuration with every encrypted secret replaced by what `visit(path, value)` makes of it."""
    return {name: _mapped(_Place(Any), value, visit, (name,)) for name, value in config.items()}


def secret_fields(model: type[BaseModel]) -> set[str]:
    """Fields that hold a secret, or a structure with one in it."""
    return {name for name, field in model.model_fields.items() if _Place(field.annotation).holds_secret()}


def filled_in(
    model: type[BaseModel], stored: Mapping[str, Any], given: Mapping[str, Any], opened: Visit
) -> dict[str, Any]:
    """What is given, and of what is stored the secrets that are left out or given as `SET`; null clears one.

    Only a whole field can be left out: within one, a secret is given as `SET` to stay. An element of a list is known
    again by what is shown of it. `opened(path, value)` is called with each stored secret that stays.

    Raises:
        Ambiguous: elements of a list look alike, or more than one of them was changed.
    """
    top = _Place(model)
    config: dict[str, Any] = {}
    for name in {**stored, **given}:
        place, old = top.at(name), stored.get(name, _MISSING)
        is_secret = place.is_known and place.holds_secret()
        value = given.get(name, SET if is_secret else _MISSING)
        if value is None and is_secret:
            continue
        if (filled := _filled(place, old, value, opened, (name,), (name,))) is not _MISSING:
            config[name] = filled
    return config


def secret_values(value: Any) -> set[str]:
    """The secrets within a validated configuration, as text."""
    if isinstance(value, SecretStr | SecretBytes | Secret):
        found = value.get_secret_value()
        return {found.decode(errors="replace") if isinstance(found, bytes) else str(found)} - {""}
    if isinstance(value, BaseModel):
        return secret_values({**value.__dict__, **(value.__pydantic_extra__ or {})})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return secret_values(vars(value))
    if isinstance(value, Mapping):
        return set().union(*map(secret_values, value.values()))
    if isinstance(value, Sequence | Set) and not isinstance(value, str | bytes):
        return set().union(*map(secret_values, value))
    return set()


class _Place:
    """One place in a configuration: the types of which what stands there is one. No types: nobody knows."""

    def __init__(self, *annotations: Any) -> None:
        self._types = tuple(each for annotation in annotations for each in _alternatives(annotation))

    @property
    def is_known(self) -> bool:
        """Whether the model says anything of it."""
        return bool(self._types)

    def at(self, part: str | int) -> _Place:
        """The place within, by name or position."""
        return _Place(*(each for kind in self._types for each in _within(kind, part)))

    def is_secret(self, value: Any) -> bool:
        """Whether that value is a secret as a whole here."""
        if isinstance(value, Mapping):
            return not any(_takes_names(kind) for kind in self._types)
        if isinstance(value, list):
            return not any(_takes_positions(kind) for kind in self._types)
        if any(_is_secret(kind) for kind in self._types):
            return True
        # Where only structures are known, a plain value is what a validator makes one of.
        is_plain = any(kind is Any or not (_takes_names(kind) or _takes_positions(kind)) for kind in self._types)
        return not is_plain and self.holds_secret()

    def holds_secret(self, seen: frozenset[Any] = frozenset()) -> bool:
        """Whether a secret is, or may be, here or anywhere within."""
        if not self._types:
            return True
        return any(_is_secret(kind) or _holds_secret(kind, seen) for kind in self._types)


def _mapped(place: _Place, value: Any, visit: Visit, path: Path) -> Any:
    if value is None:
        return None
    if is_sealed(value) or place.is_secret(value):
        return visit(path, value)
    if isinstance(value, Mapping):
        return {name: _mapped(place.at(name), each, visit, (*path, name)) for name, each in value.items()}
    if isinstance(value, list):
        return [_mapped(place.at(at), each, visit, (*path, at)) for at, each in enumerate(value)]
    return value


def _filled(place: _Place, stored: Any, given: Any, opened: Visit, path: Path, was_at: Path) -> Any:
    """What is given with each `SET` in it filled in from what is stored, which was at `was_at`."""
    if isinstance(given, str) and given == SET:
        return stored if stored is _MISSING else _mapped(place, stored, opened, was_at)
    if isinstance(given, Mapping):
        old = stored if isinstance(stored, Mapping) and not is_sealed(stored) else {}
        pairs = {
            name: _filled(place.at(name), old.get(name, _MISSING), each, opened, (*path, name), (*was_at, name))
            for name, each in given.items()
        }
        return {name: each for name, each in pairs.items() if each is not _MISSING}
    if isinstance(given, list) and any(map(_has_set, given)):
        before = stored if isinstance(stored, list) else []
        found = []
        for at, (each, was) in enumerate(zip(given, _partners(place, before, given, path), strict=True)):
            old_each = _MISSING if was is None else before[was]
            found.append(_filled(place.at(at), old_each, each, opened, (*path, at), (*was_at, was or 0)))
        return [each for each in found if each is not _MISSING]
    return given


def _partners(place: _Place, stored: list[Any], given: list[Any], path: Path) -> list[int | None]:
    """For each element given, the position of the stored one that it was. Those that look as stored ones do are these;
    of the others, one that was changed in its place is known by that."""
    looks = [_mapped(place.at(at), each, lambda _, __: SET, ()) for at, each in enumerate(stored)]
    partners: list[int | None] = [None] * len(given)
    for at, each in enumerate(given):
        alike = [was for was, look in enumerate(looks) if look == each]
        if alike and len(alike) != sum(other == each for other in given) and _has_set(each):
            raise Ambiguous((*path, at))
        partners[at] = next((was for was in alike if was not in partners), None)
    changed = [at for at, was in enumerate(partners) if was is None]
    if any(_has_set(given[at]) for at in changed) and stored:
        if len(changed) > 1 or len(given) != len(stored) or changed[0] in partners:
            raise Ambiguous((*path, changed[0]))
        partners[changed[0]] = changed[0]
    return partners


def _has_set(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_set, value.values()))
    return any(map(_has_set, value)) if isinstance(value, list) else value == SET


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types a type stands for: members of unions, what aliases and root models name. None for what nobody knows,
    such as a name that could not be resolved."""
    origin = get_origin(annotation)
    known = origin or annotation
    if annotation is Any or annotation is object or isinstance(annotation, TypeVar):
        yield Any
    elif (named := getattr(known, "__value__", None)) is not None:  # `type X = ...`
        for each in (named, *get_args(annotation)):
            yield from _alternatives(each)
    elif (named := getattr(annotation, "__supertype__", None)) is not None:
        yield from _alternatives(named)
    elif origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif isinstance(known, type) and issubclass(known, RootModel) and known.model_fields:
        yield from _alternatives(known.model_fields["root"].annotation)
    elif origin is Literal or (isinstance(known, type) and known not in (types.UnionType, types.NoneType)):
        yield annotation
    else:  # a union, or a mark such as Required
        for each in get_args(annotation):
            yield from _alternatives(each)


def _is_secret(kind: Any) -> bool:
    known = get_origin(kind) or kind
    return isinstance(known, type) and issubclass(known, SecretStr | SecretBytes | Secret)


def _is_of(kind: Any, base: type) -> bool:
    known = get_origin(kind) or kind
    return isinstance(known, type) and issubclass(known, base)


def _fields(kind: Any) -> Mapping[str, Any] | None:
    """Types of a structure's fields by all their names; None: it is none."""
    if not isinstance(kind, type):
        return None
    if issubclass(kind, BaseModel):
        kind.model_rebuild(raise_errors=False)
        return {name: field.annotation for own, field in kind.model_fields.items() for name in _names(own, field)}
    is_typed_dict = issubclass(kind, dict) and hasattr(kind, "__total__")
    if dataclasses.is_dataclass(kind) or is_typed_dict or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        try:
            return get_type_hints(kind, include_extras=True)
        except NameError:
            return {}
    return None


def _names(own: str, field: FieldInfo) -> Iterator[str]:
    yield own
    for alias in (field.alias, field.validation_alias):
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        yield from (each for each in choices if isinstance(each, str))


def _takes_names(kind: Any) -> bool:
    return kind is Any or _is_of(kind, Mapping) or _fields(kind) is not None


def _takes_positions(kind: Any) -> bool:
    is_text = _is_of(kind, str) or _is_of(kind, bytes)
    return kind is Any or ((_is_of(kind, Sequence) or _is_of(kind, Set)) and not is_text)


def _within(kind: Any, part: str | int) -> Iterator[Any]:
    if kind is Any:
        yield Any
    elif (fields := _fields(kind)) is not None:
        yield from fields.values() if isinstance(part, int) else [fields[part]] if part in fields else []
    elif isinstance(part, str) and _is_of(kind, Mapping):
        yield get_args(kind)[-1] if get_args(kind) else Any
    elif isinstance(part, int) and _takes_positions(kind):
        yield from [each for each in get_args(kind) if each is not Ellipsis] or [Any]


def _holds_secret(kind: Any, seen: frozenset[Any]) -> bool:
    fields = _fields(kind)
    if kind is Any or get_origin(kind) is Literal:
        return False
    if fields is None:
        return any(_Place(each).holds_secret(seen) for each in get_args(kind) if each is not ...)
    if kind in seen:
        return False
    return any(_Place(each).holds_secret(seen | {kind}) for each in fields.values())
