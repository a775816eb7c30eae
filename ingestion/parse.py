"""From the bytes of a file to a frame of strings with true line numbers. What a file is, its content decides."""

from dataclasses import replace

from ingestion.archive import ZIP_MAGICS, document_kind, entries
from ingestion.confined import Format, StillWanted, read_confined
from ingestion.decode import GZIP_MAGIC, decode, gunzip
from ingestion.errors import EmptyFile, IngestionError, TooLarge, UnreadableFile
from ingestion.limits import Deadline, Limits
from ingestion.parse_csv import parse_csv
from ingestion.parse_json import looks_like_json
from ingestion.parse_xls import OLE_MAGIC
from ingestion.table import WHITE_SPACE, Parsed, ParseOptions, looks_like_markup

_FORMATS = "CSV, JSON, XLSX, XLSB, XLS, ODS, Parquet or a PDF with a table"
_PDF_WITHIN = 1_024  # where readers of PDF look for its mark: some programs write before it
_MAGICS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"\x7fELF": "a program",
    b"MZ\x90": "a program",
    b"SQLite format 3\0": "a database",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"{\\rtf": "a text document (RTF)",
    b"ARROW1": "an Arrow file",
    b"Obj\x01": "an Avro file",
}


def parse(
    content: bytes,
    file_name: str,
    limits: Limits,
    options: ParseOptions | None = None,
    still_wanted: StillWanted | None = None,
) -> Parsed:
    """Reads one table out of a file of any format in docs/importing.md. Raises an IngestionError naming `file_name`.

    A ZIP archive of files is refused: `archive.members` gives them, each to be parsed by itself. `still_wanted` is
    asked now and then while a reader works that cannot be interrupted; what it raises ends the reading.
    """
    options, deadline = options or ParseOptions(), Deadline(limits.max_seconds)
    try:
        if not content:
            raise EmptyFile("the file is empty (0 bytes)", expected="the whole file: send it again")
        if len(content) > limits.max_bytes:
            raise TooLarge(
                f"the file has {len(content):,} bytes",
                expected=f"at most {limits.max_bytes:,} bytes: split it, or pack it with gzip",
            )
        kind = _binary_format(content)
        if kind is not None:
            return read_confined(kind, content, limits, options, deadline, still_wanted)
        _refuse_other_kinds(content)
        if file_name.lower().endswith((".xlsx", ".xlsm", ".xlsb", ".ods")):
            raise UnreadableFile(
                f"named as a workbook, but the content is {_kind_of(content)}",
                expected="a real workbook; a text file is to be named .csv or .txt",
            )
        return _parse_text(content, limits, options, deadline, still_wanted)
    except IngestionError as error:
        raise error.in_file(file_name) from error.__cause__


def _binary_format(content: bytes) -> Format | None:
    """Which of the formats that are no text this is, if any. Raises for a ZIP that is no workbook."""
    if content.startswith(ZIP_MAGICS):
        kind = document_kind(content, entries(content))
        if kind in ("xlsx", "xlsb", "ods"):
            return kind  # type: ignore[return-value]
        raise UnreadableFile(
            f"the content is {kind}" if kind else "a ZIP archive that holds no workbook",
            expected=f"one table ({_FORMATS}); archives of files are taken from sources and as uploads",
        )
    if content.startswith(OLE_MAGIC):
        return "xls"
    if content.startswith(b"PAR1"):
        return "parquet"
    if content.startswith(b"PARE"):
        raise UnreadableFile("an encrypted Parquet file", expected="a Parquet file without encryption")
    return "pdf" if b"%PDF-" in content[:_PDF_WITHIN] else None


def _parse_text(
    content: bytes, limits: Limits, options: ParseOptions, deadline: Deadline, still_wanted: StillWanted | None
) -> Parsed:
    """CSV or JSON, plain or in gzip."""
    packed = content.startswith(GZIP_MAGIC)
    if packed:
        content = gunzip(content, limits)
        deadline.check("the unpacked text")
        if content.startswith(ZIP_MAGICS) or _binary_format(content) is not None:
            raise UnreadableFile("gzip around a file that is no text", expected="the file as it is, without gzip")
        _refuse_other_kinds(content)
    text, encoding = decode(content, options.encoding)
    del content
    deadline.check("the text")
    _refuse_no_text(text)
    if looks_like_json(text):
        parsed = read_confined("json", text.encode(), limits, options, deadline, still_wanted)
    else:
        parsed = parse_csv(text, limits, options, deadline)
    return replace(parsed, encoding=encoding, file_format=parsed.file_format + (".gz" if packed else ""))


def _refuse_no_text(text: str) -> None:
    if not text.strip(WHITE_SPACE):
        raise EmptyFile("the file holds nothing but blanks", expected="a header and rows below it")
    place = text.find("\0")
    if place >= 0:
        raise UnreadableFile(
            f"a NUL character at position {place}: this is binary data, or UTF-16 without a byte order mark",
            line=text.count("\n", 0, place) + 1,
            expected="a text file; for UTF-16, a mapping with encoding utf-16-le, utf-16-be or auto",
        )
    if looks_like_markup(text[:500]):
        raise UnreadableFile(
            "the content is a web page (HTML) or XML, not a table",
            line=1,
            expected=f"{_FORMATS}. Open it in a browser: it may be a log-in page in place of the export",
        )


def _refuse_other_kinds(content: bytes) -> None:
    """Raises UnreadableFile for content that is certainly no table."""
    for magic, kind in _MAGICS.items():
        if content.startswith(magic):
            raise UnreadableFile(f"the content is {kind}", expected=_FORMATS)


def _kind_of(content: bytes) -> str:
    if content.startswith(GZIP_MAGIC):
        return "gzip"
    if looks_like_markup(content[:200].decode("utf-8", errors="replace")):
        return "a web page (HTML)"
    return "text" if b"\0" not in content[:4096] else "binary data"
