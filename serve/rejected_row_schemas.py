"""What the API says and takes about rejected rows."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from db.models import IngestRun, RejectedRow
from serve.mapping_schemas import MappingName
from serve.parameters import NO_CONTROL
from serve.schemas import RejectedRowOut

RejectedState = Literal["open", "taken", "dismissed"]
MOST_AT_ONCE = 500
_Header = Annotated[str, Meta(max_length=500, pattern=NO_CONTROL)]
_Cell = Annotated[str, Meta(max_length=5_000, pattern=r"^[^\x00]*\Z")]
_Values = Annotated[dict[_Header, _Cell | None], Meta(min_length=1, max_length=200)]


class RejectedRowDetail(RejectedRowOut, frozen=True, kw_only=True):
    """A rejected row, where it came from, and what has become of it. `corrected` holds its values as somebody has
    corrected them; `judged_by` is the run that last looked at it."""

    id: uuid.UUID
    run_id: uuid.UUID
    source: str
    file: str
    mapping: str
    state: RejectedState
    parked: bool
    corrected: dict[str, Any] | None
    corrected_by: str | None
    judged_by: uuid.UUID | None
    revision: int


class RejectedRowChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to change. `corrected`: values other than they stood, by the file's headers, written as there; null
    forgets what was corrected. `state`: dismissed lets the row be, open takes that back."""

    corrected: _Values | UnsetType | None = UNSET
    state: Literal["open", "dismissed"] | UnsetType = UNSET


class RejectedRowIds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rejected rows to let be."""

    ids: Annotated[list[uuid.UUID], Meta(min_length=1, max_length=MOST_AT_ONCE)]


class DismissedOut(msgspec.Struct, frozen=True):
    """Which of the rows were open and are dismissed now; the others stay as they are, or are not there."""

    dismissed: list[uuid.UUID]
    unchanged: list[uuid.UUID]


class RerunIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to read again: nothing for the mapping of the first time, or another one for a file that was refused."""

    mapping: MappingName | None = None


def rejected_row_out(row: RejectedRow, run: IngestRun) -> RejectedRowDetail:
    """A stored rejected row."""
    own = {name: getattr(row, name) for name in RejectedRowDetail.__struct_fields__ if hasattr(row, name)}
    return RejectedRowDetail(**own, source=run.source, file=run.file, mapping=run.mapping)
