"""Sound files of every format with the same kind of rows, made as the programs make them that people use."""

import datetime as dt
import gzip
import io
import json
import struct
import zipfile
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

import polars as pl
import xlsxwriter
import xlwt
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table

Rows = Sequence[Sequence[Any]]

HEADER = ["item", "day", "quantity"]
DEMAND = [HEADER, ["A", "2024-01-02", 3], ["B", "2024-01-03", 4]]
CONTENT_TYPES = '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'

_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_ODF = "urn:oasis:names:tc:opendocument:xmlns"


def demand_rows(count: int) -> list[list[Any]]:
    """A header and daily sales."""
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=n % 300) for n in range(count)]
    return [["item", "day", "quantity"], *([f"I{n % 40:03}", day, n % 17 + 0.5] for n, day in enumerate(days))]


def archive(members: dict[str, bytes | str]) -> bytes:
    """A deflated ZIP file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return out.getvalue()


def csv_text(rows: Rows, delimiter: str = ",") -> str:
    """Rows as delimited text."""
    return "".join(delimiter.join("" if cell is None else str(cell) for cell in row) + "\n" for row in rows)


def workbook(rows: Rows, sheet: str = "Data") -> bytes:
    """An XLSX file with one sheet; None leaves a cell out."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"default_date_format": "yyyy-mm-dd"})
    page = book.add_worksheet(sheet)
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            if value is not None:
                page.write(r, c, value)
    book.close()
    return out.getvalue()


def xls(rows: Rows, sheet: str = "Data") -> bytes:
    """An XLS file with one sheet."""
    book = xlwt.Workbook()
    page = book.add_sheet(sheet)
    plain, date = xlwt.easyxf(), xlwt.easyxf(num_format_str="YYYY-MM-DD")
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            if value is not None:
                page.write(r, c, value, date if isinstance(value, dt.date) else plain)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def ods(rows: Rows, sheet: str = "Data") -> bytes:
    """An ODS file with one sheet."""
    body = "".join(f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows)
    return raw_ods(f'<table:table table:name="{sheet}">{body}</table:table>')


def raw_ods(tables: str) -> bytes:
    """An ODS file of the given tables."""
    names = " ".join(f'xmlns:{name}="{_ODF}:{name}:1.0"' for name in ("office", "table", "text"))
    return archive(
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="{_ODF}:manifest:1.0"/>',
            "content.xml": f"<office:document-content {names}><office:body><office:spreadsheet>{tables}"
            "</office:spreadsheet></office:body></office:document-content>",
        }
    )


def _ods_cell(value: Any) -> str:
    if value is None:
        return "<table:table-cell/>"
    if isinstance(value, dt.timedelta):
        hours, rest = divmod(int(value.total_seconds()), 3600)
        kind = f'office:value-type="time" office:time-value="PT{hours:02}H{rest // 60:02}M{rest % 60:02}S"'
    elif isinstance(value, bool):
        kind = f'office:value-type="boolean" office:boolean-value="{str(value).lower()}"'
    elif isinstance(value, dt.date):
        kind = f'office:value-type="date" office:date-value="{value.isoformat()}"'
    elif isinstance(value, int | float):
        kind = f'office:value-type="float" office:value="{value}"'
    else:
        kind = 'office:value-type="string"'
    return f"<table:table-cell {kind}><text:p>{escape(str(value))}</text:p></table:table-cell>"


def xlsb(rows: Rows, sheet: str = "Data") -> bytes:
    """An XLSB file with one sheet of texts, numbers and dates."""
    cells = b"".join(
        _record(0, struct.pack("<IIHHBI", r, 0, 300, 0, 0, 0))
        + b"".join(_xlsb_cell(c, value) for c, value in enumerate(row) if value is not None)
        for r, row in enumerate(rows)
    )
    extent = struct.pack("<IIII", 0, len(rows) - 1, 0, max(map(len, rows)) - 1)
    page = _record(0x94, extent) + _record(0x91) + cells + _record(0x92)
    formats = b"".join(_record(0x2F, struct.pack("<HH12x", 0, number)) for number in (0, 14))
    book = _record(0x9C, struct.pack("<II", 0, 1) + _wide("rId1") + _wide(sheet)) + _record(0x90)
    return archive(
        {
            "[Content_Types].xml": CONTENT_TYPES,
            "xl/workbook.bin": _record(0x83) + _record(0x8F) + book + _record(0x84),
            "xl/_rels/workbook.bin.rels": f'<Relationships><Relationship Id="rId1" Target="worksheets/sheet1.bin" '
            f'Type="{_RELATIONS}/worksheet"/></Relationships>',
            "xl/styles.bin": _record(0x269, struct.pack("<I", 2)) + formats + _record(0x26A),
            "xl/worksheets/sheet1.bin": page,
        }
    )


def _xlsb_cell(column: int, value: Any) -> bytes:
    style = 1 if isinstance(value, dt.date) else 0
    place = struct.pack("<II", column, style)
    if isinstance(value, dt.date):
        value = (value - dt.date(1899, 12, 30)).days
    if isinstance(value, int | float):
        return _record(0x05, place + struct.pack("<d", value))
    return _record(0x06, place + _wide(str(value)))


def _wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def _record(kind: int, data: bytes = b"") -> bytes:
    head = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size, rest = b"", len(data)
    while rest > 0x7F:
        size, rest = size + bytes([rest & 0x7F | 0x80]), rest >> 7
    return head + size + bytes([rest]) + data


def parquet(rows: Rows) -> bytes:
    """A Parquet file, each column of the type of its values."""
    out = io.BytesIO()
    pl.DataFrame(rows[1:], schema=list(rows[0]), orient="row", strict=False).write_parquet(out)
    return out.getvalue()


def json_lines(rows: Rows) -> bytes:
    """A JSON object a line."""
    records = (dict(zip(rows[0], row, strict=True)) for row in rows[1:])
    return "".join(json.dumps(record, default=str) + "\n" for record in records).encode()


def json_array(rows: Rows, indent: int | None = None) -> bytes:
    """One JSON array of objects."""
    return json.dumps([dict(zip(rows[0], row, strict=True)) for row in rows[1:]], default=str, indent=indent).encode()


def pdf(rows: Rows, *, ruled: bool = True, repeat: bool = True, style: Sequence[Any] = (), **options: Any) -> bytes:
    """A PDF with a title, the table over as many pages as it needs, and page numbers."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    rules = [("GRID", (0, 0), (-1, -1), 0.5, "black")] if ruled else []
    table = Table(texts, repeatRows=int(repeat), style=[*rules, *style], **options)
    return pdf_of([table])


def pdf_of(parts: Sequence[Flowable]) -> bytes:
    """A PDF with a title and these parts."""
    styles = getSampleStyleSheet()
    title = [Paragraph("Weekly sales", styles["Title"]), Paragraph("Quantities are in pieces.", styles["Normal"])]

    def number(canvas: Any, document: Any) -> None:
        canvas.drawString(280, 20, f"Page {document.page}")

    out = io.BytesIO()
    document = SimpleDocTemplate(out, pagesize=A4, invariant=1, pageCompression=0)
    document.build([*title, Spacer(1, 20), *parts], onFirstPage=number, onLaterPages=number)
    return out.getvalue()


def raw_pdf(*objects: bytes) -> bytes:
    """A PDF of the given objects, numbered from 1; the first is the catalogue."""
    out = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R>>\n" % (size, table, size)
    return out + b"startxref\n%d\n%%%%EOF\n" % out.index(b"xref\n0 ")


def pdf_page(content: bytes, extra: bytes = b"", resources: bytes = b"", head: bytes = b"") -> bytes:
    """A PDF of one page with this content stream (`head`: further entries of its dictionary) and `extra` object 6."""
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    return raw_pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>%s>>>>"
        % resources,
        b"<</Length %d%s>>stream\n%s\nendstream" % (len(content), head, content),
        font,
        extra or b"null",
    )


def sound_files(count: int) -> dict[str, bytes]:
    """The same rows in every format, by file name."""
    rows = demand_rows(count)
    text = csv_text(rows).encode()
    return {
        "a.csv": text,
        "semicolon.csv": csv_text(rows, ";").encode("utf-16"),
        "a.csv.gz": gzip.compress(text, mtime=0),
        "a.xlsx": workbook(rows),
        "a.xlsb": xlsb(rows),
        "a.xls": xls(rows),
        "a.ods": ods(rows),
        "a.parquet": parquet(rows),
        "a.jsonl": json_lines(rows),
        "a.json": json_array(rows, indent=1),
        "a.pdf": pdf(rows),
        "plain.pdf": pdf(rows, ruled=False),
    }


# -- files changed by hand ---------------------------------------------------------------------------------------------


def raw_workbook(sheet_xml: str | bytes, **parts: str | bytes) -> bytes:
    """A workbook whose one sheet is the given XML; `parts` (strings, workbook, rels) in place of its own."""
    paths = {"strings": "xl/sharedStrings.xml", "workbook": "xl/workbook.xml", "rels": "xl/_rels/workbook.xml.rels"}
    members = unpacked(workbook(DEMAND)) | {paths[name]: part for name, part in parts.items()}
    return archive(members | {"xl/worksheets/sheet1.xml": sheet_xml})


def unpacked(content: bytes) -> dict[str, bytes | str]:
    """The members of an archive, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def lying_about_size(content: bytes, name: str, claimed: int) -> bytes:
    """The archive with another unpacked size in the directory entry of `name`."""
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        real = made.getinfo(name).file_size
    directory = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
    at = directory + 24
    assert int.from_bytes(content[at : at + 4], "little") == real
    return content[:at] + claimed.to_bytes(4, "little") + content[at + 4 :]
