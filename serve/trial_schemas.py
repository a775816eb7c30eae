"""What the API says and takes where a mapping is suggested for a file, or tried out on it. Nothing is stored there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from serve.mapping_schemas import MappingIn, MappingName, Target
from serve.resources.transfer_routes import FileIn

LONGEST_DEFINITION = 200_000
# As other texts, but with the line breaks and tabs of JSON that was written to be read.
_JSON = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"
_DefinitionText = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=LONGEST_DEFINITION,
        pattern=_JSON,
        description="A mapping that is not saved: a MappingDefinition as JSON. A name in it is passed over.",
    ),
]


@dataclass
class SuggestIn(FileIn):
    """A file, and the table it is for, where that is known."""

    target: Target | None = None


@dataclass
class PreviewIn(FileIn):
    """A file, and the mapping to read it with: the name of one there is, or a definition."""

    mapping: MappingName | None = None
    definition: _DefinitionText | None = None


class SuggestedField(msgspec.Struct, frozen=True):
    """The column suggested for a field, how sure that is (0 to 1), and why."""

    field: str
    column: str
    score: float
    reasons: list[str]


class SuggestedTarget(msgspec.Struct, frozen=True):
    """A table, and how well the file would fill it (0 to 1)."""

    target: str
    score: float


class FileReading(msgspec.Struct, frozen=True):
    """How a file was read. `sheet`: of a workbook; `header_line`: the line with the names of the columns."""

    file_format: str
    encoding: str
    delimiter: str
    sheet: str
    header_line: int


class MappingSuggestion(msgspec.Struct, frozen=True):
    """A mapping that can be saved as it is, and how it was come to.

    `missing`: fields the table needs and no column was found for; `unused`: columns that fill nothing.
    """

    mapping: MappingIn
    score: float
    targets: list[SuggestedTarget]
    fields: list[SuggestedField]
    missing: list[str]
    unused: list[str]
    warnings: list[str]
    reading: FileReading


class PreviewedRejection(msgspec.Struct, frozen=True):
    """A row that would not be taken and why; `parked`: it would be taken by itself once what it names is there."""

    line: int
    field: str
    reason: str
    raw: str
    parked: bool


class MappingPreview(msgspec.Struct, frozen=True):
    """What would become of a file: the counts of all its rows, and the first of those taken and rejected.

    `lines`: where in the file each of `rows` stands. `new_items`: how many items would be made; `first_new_items`: the
    first of them. `unused`: columns that no field has.
    """

    target: str
    read: int
    taken: int
    merged: int
    rejected: int
    parked: int
    rows: list[dict[str, Any]]
    lines: list[int]
    rejected_rows: list[PreviewedRejection]
    new_items: int
    first_new_items: list[dict[str, Any]]
    unused: list[str]
    warnings: list[str]
