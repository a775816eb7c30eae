"""Workbooks of Excel 97 to 2003 (XLS), and what else comes in a compound file: it says so in its directory."""

import struct

from ingestion.errors import UnreadableFile
from ingestion.limits import Deadline, Limits
from ingestion.sheets import parse_sheets
from ingestion.table import Parsed, ParseOptions

OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BOF = struct.pack("<HHHH", 0x0809, 16, 0x0600, 5)  # the first record of a workbook of Excel 97 and later
_FILE_PASS = 0x002F
_RECORDS_LOOKED_AT = 5  # it comes first, or after WRITEPROTECT
_WORKBOOKS = ("Workbook", "Book")
_OTHERS = {
    "EncryptedPackage": ("a workbook or document protected by a password", "a workbook saved without a password"),
    "WordDocument": ("a Word document", "a workbook, CSV or a PDF with a table"),
    "PowerPoint Document": ("a presentation", "a workbook, CSV or a PDF with a table"),
    "__properties_version1.0": ("an e-mail saved by Outlook", "the file attached to it"),
}


def parse_xls(content: bytes, limits: Limits, options: ParseOptions, deadline: Deadline) -> Parsed:
    """Reads an XLS file. See `parse_sheets`.

    Nothing in it is packed, and a sheet of it has at most 65,536 rows and 256 columns; a cell that claims to be
    elsewhere runs into the limit on memory.
    """
    for stream, (kind, expected) in _OTHERS.items():
        if _names(content, stream) and not any(_names(content, name) for name in _WORKBOOKS):
            raise UnreadableFile(f"the content is {kind}", expected=expected)
    if _is_locked(content):
        raise UnreadableFile("the workbook is protected by a password", expected="a workbook saved without a password")
    return parse_sheets(content, "xls", limits, options, deadline)


def _is_locked(content: bytes) -> bool:
    """Whether FILEPASS is among the first records of a workbook's stream: all behind it is encrypted."""
    at = content.find(_BOF)
    for _ in range(_RECORDS_LOOKED_AT):
        if at < 0 or at + 4 > len(content):
            return False
        kind, size = struct.unpack_from("<HH", content, at)
        if kind == _FILE_PASS:
            return True
        at += 4 + size
    return False


def _names(content: bytes, stream: str) -> bool:
    """Whether the compound file's directory has a stream of this name (UTF-16, in a field of 64 bytes)."""
    name = (stream + "\0").encode("utf-16-le")
    return name in content
