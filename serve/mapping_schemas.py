"""What the API says and takes about mappings: the fields of `ingestion.mapping.Mapping`, each within bounds."""

from __future__ import annotations

import uuid
from datetime import date
from typing import Annotated, Literal, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingestion.mapping import ENCODINGS, Delimiter, Mapping
from ingestion.targets import TARGETS, Kind
from serve.parameters import LARGEST, NO_CONTROL
from serve.resources.schemas import one_of

MAPPING_NAME = r"^[a-z][a-z0-9_]{0,62}\Z"
MappingName = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=MAPPING_NAME, description="Name of a mapping, shipped or saved.")
]
FieldName = Annotated[str, Meta(min_length=1, max_length=63, pattern=MAPPING_NAME)]
_Words = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_CONTROL)]
_Value = Annotated[str, Meta(max_length=200, pattern=NO_CONTROL)]
_Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
_Whole = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
_Fixed = _Value | _Whole | _Number | bool | None
_DateFormat = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=60,
        pattern=r"^([ -$&-~]|%[YymdeHIMSjbBpTF])*%[YymdeHIMSjbBpTF]([ -$&-~]|%[YymdeHIMSjbBpTF])*\Z",
    ),
]
_DateFormats = Annotated[list[_DateFormat], Meta(max_length=10)]
_Lookup = Annotated[dict[_Words, _Value], Meta(min_length=1, max_length=2000)]
Target = one_of(sorted(TARGETS))
ColumnType = one_of([kind.value for kind in Kind])
ItemKind = one_of(TARGETS["items"].fields["kind"].choices)
Encoding = one_of(ENCODINGS)


class MappingColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a field comes from, and what is done to its text, in this order: strip, unmark, upper, values, lookup,
    default.

    `names`: headers it goes by; case, blanks and punctuation do not matter. `constant`: the same for every row.
    `values` replaces whole texts. `lookup`: a table of the mapping that must know the text, or `supplier_item`, by
    which a supplier's own code becomes the item's. `unit`, or by another column `unit_from`: the unit of the numbers,
    where it is not the item's own. `factor`: how many of the item's own unit one such unit is, in place of the
    conversion on record; without a unit, what the number is multiplied by. `required`: null leaves it to the table.
    `type`: only for columns the table lacks.
    """

    names: Annotated[list[_Words], Meta(max_length=50)] = []
    required: bool | None = None
    constant: _Fixed = None
    default: _Fixed = None
    type: ColumnType | None = None  # type: ignore[valid-type]
    date_formats: _DateFormats = []
    values: Annotated[dict[_Words, _Value], Meta(max_length=200)] = {}
    lookup: FieldName | None = None
    unit: _Words | None = None
    unit_from: FieldName | None = None
    factor: Annotated[float, Meta(gt=0, le=LARGEST)] | None = None
    strip: bool = True
    unmark: bool = False
    upper: bool = False
    whole: bool = False


class MappingCondition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Tests of a field's value; all that are given must hold. An empty field fails all but `empty`."""

    field: FieldName
    matches: _Words | None = None
    not_matches: _Words | None = None
    is_one_of: Annotated[list[_Value], Meta(max_length=200)] | None = None
    not_one_of: Annotated[list[_Value], Meta(max_length=200)] | None = None
    below: _Number | None = None
    at_most: _Number | None = None
    above: _Number | None = None
    at_least: _Number | None = None
    before: date | None = None
    after: date | None = None
    empty: bool | None = None


class MappingFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows for which all conditions hold are rejected. `{field}` in the reason shows that field's value."""

    reason: _Words
    when: Annotated[list[MappingCondition], Meta(min_length=1, max_length=20)]


class MappingCreatedItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How an item first seen in a file is created: fixed values, and the fields its name and price are taken from."""

    kind: ItemKind = "finished"  # type: ignore[valid-type]
    unit: _Words = "pcs"
    category: _Words | None = None
    lead_time_days: Annotated[int, Meta(ge=0, le=3650)] | None = None
    name_from: FieldName | None = None
    price_from: FieldName | None = None


class MappingDefinition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the columns of one kind of file become the fields of a table.

    `partial`: rows only change what they name, by their key. `lookups`: tables of texts for columns to share.
    `unknown_items`: a row with an item that is not there makes it, is parked until it is there, or is rejected for
    good; `unknown_references`: the same of whatever else it names, but for making it.
    """

    description: _Value = ""
    target: Target  # type: ignore[valid-type]
    grain: Literal["", "daily", "line"] = ""
    encoding: Encoding = "utf-8"  # type: ignore[valid-type]
    delimiter: Delimiter = "auto"
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    date_formats: Annotated[_DateFormats, Meta(min_length=1)] = msgspec.field(default_factory=lambda: ["%Y-%m-%d"])
    sheet: _Value = ""
    partial: bool = False
    columns: Annotated[dict[FieldName, MappingColumn], Meta(max_length=100)]
    lookups: Annotated[dict[FieldName, _Lookup], Meta(max_length=20)] = {}
    filters: Annotated[list[MappingFilter], Meta(max_length=50)] = []
    unknown_items: Literal["create", "park", "refuse"] = "refuse"
    unknown_references: Literal["park", "refuse"] = "refuse"
    created_item: MappingCreatedItem = MappingCreatedItem()


class MappingIn(MappingDefinition, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A mapping of the plant's own."""

    name: MappingName


_REQUIRED = ("target", "columns")
MappingChange = msgspec.defstruct(
    "MappingChange",
    [
        (name, kind | UnsetType if name in _REQUIRED else kind | None | UnsetType, UNSET)
        for name, kind in get_type_hints(MappingDefinition, include_extras=True).items()
    ],
    kw_only=True,
    forbid_unknown_fields=True,
    module=__name__,
    namespace={"__doc__": "What is to change; what is left out stays, null sets back to the default."},
)


class MappingOut(msgspec.Struct, frozen=True):
    """A mapping a file can be read with. `own`: saved here, not shipped."""

    name: str
    description: str
    target: str
    own: bool


class MappingDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping with its definition. What is shipped has no id and no revision, and cannot be changed."""

    name: str
    own: bool
    id: uuid.UUID | None
    revision: int | None
    definition: MappingDefinition


def definition_of(mapping: Mapping) -> MappingDefinition:
    """A mapping as the API shows it."""
    values = mapping.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
    return msgspec.convert(values, MappingDefinition)
