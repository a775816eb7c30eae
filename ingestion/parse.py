"""From the bytes of a file to a frame of strings with true line numbers. What a file is, its content decides."""

from ingestion.errors import EmptyFile, IngestionError, TooLarge, UnreadableFile
from ingestion.limits import Limits
from ingestion.parse_csv import parse_csv
from ingestion.parse_xlsx import parse_xlsx
from ingestion.table import Parsed, ParseOptions, looks_like_markup

_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MAGICS = {
    b"%PDF-": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x7fELF": "a program",
    b"MZ\x90": "a program",
    b"PAR1": "a Parquet file",
    b"SQLite format 3\0": "a database",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
}


def parse(content: bytes, file_name: str, limits: Limits, options: ParseOptions | None = None) -> Parsed:
    """Reads a CSV file (plain or gzip) or a workbook (XLSX). Raises an IngestionError naming `file_name`."""

    options = options or ParseOptions()
    if not content:
        raise EmptyFile("the file is empty (0 bytes)", file=file_name)
    if len(content) > limits.max_bytes:
        raise TooLarge(
            f"the file has {len(content):,} bytes", file=file_name, expected=f"at most {limits.max_bytes:,} bytes"
        )
    _refuse_other_kinds(content, file_name)
    named_workbook = file_name.lower().endswith((".xlsx", ".xlsm"))
    try:
        if content.startswith(b"PK"):
            return parse_xlsx(content, file_name, limits, options)
        if named_workbook:
            raise UnreadableFile(
                f"named as a workbook, but the content is {_kind_of(content)}", expected="a real XLSX file"
            )
        return parse_csv(content, file_name, limits, options)
    except IngestionError as error:
        raise error.in_file(file_name) from error.__cause__


def _refuse_other_kinds(content: bytes, file_name: str) -> None:
    """Raises UnreadableFile for content that is certainly neither text, gzip nor a workbook."""
    if content.startswith(_OLE_MAGIC):
        raise UnreadableFile(
            "an old Excel file (.xls), or a workbook protected by a password",
            file=file_name,
            expected="an XLSX file without password, or CSV",
        )
    for magic, kind in _MAGICS.items():
        if content.startswith(magic):
            raise UnreadableFile(f"the content is {kind}", file=file_name, expected="CSV, CSV in gzip, or XLSX")


def _kind_of(content: bytes) -> str:
    if content.startswith(b"\x1f\x8b"):
        return "gzip"
    if looks_like_markup(content[:200].decode("utf-8", errors="replace")):
        return "a web page (HTML)"
    return "text" if b"\0" not in content[:4096] else "binary data"
