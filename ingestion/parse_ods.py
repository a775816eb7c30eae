"""OpenDocument spreadsheets (ODS), as LibreOffice saves them.

A cell or row that says it is repeated a million times costs nothing in the file and much in the grid. calamine stops at
the sizes LibreOffice itself knows; what is larger than the confined reader's memory ends there.
"""

from ingestion.archive import entries, refuse_claims, unpack
from ingestion.decode import refuse_bomb
from ingestion.errors import UnreadableFile
from ingestion.limits import Deadline, Limits
from ingestion.sheets import parse_sheets
from ingestion.table import Parsed, ParseOptions

_OVERLAP = 64


def parse_ods(content: bytes, limits: Limits, options: ParseOptions, deadline: Deadline) -> Parsed:
    """Reads an ODS file. See `parse_sheets`."""
    directory = entries(content)
    refuse_claims(directory, content, limits)
    total, durations = 0, False
    for entry in directory:
        deadline.check(f"'{entry.filename}' in the workbook")
        tail = b""
        for part in unpack(content, entry):
            total += len(part)
            refuse_bomb(total, len(content), limits)
            text, tail = tail + part, part[-_OVERLAP:]
            if entry.filename == "META-INF/manifest.xml" and b"encryption-data" in text:
                raise UnreadableFile("the workbook is protected by a password", expected="one saved without it")
            durations = durations or (entry.filename == "content.xml" and b"time-value=" in text)
    return parse_sheets(content, "ods", limits, options, deadline, durations=durations)
