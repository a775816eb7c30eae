"""Binary workbooks (XLSB): an archive like XLSX, with records in place of XML."""

from ingestion.archive import entries, refuse_claims, unpack
from ingestion.decode import refuse_bomb
from ingestion.limits import Deadline, Limits
from ingestion.sheets import parse_sheets
from ingestion.table import Parsed, ParseOptions


def parse_xlsb(content: bytes, limits: Limits, options: ParseOptions, deadline: Deadline) -> Parsed:
    """Reads an XLSB file. See `parse_sheets`."""
    directory = entries(content)
    refuse_claims(directory, content, limits)
    total = 0
    for entry in directory:
        deadline.check(f"'{entry.filename}' in the workbook")
        for part in unpack(content, entry):
            total += len(part)
            refuse_bomb(total, len(content), limits)
    return parse_sheets(content, "xlsb", limits, options, deadline)
