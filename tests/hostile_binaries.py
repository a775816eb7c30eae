"""Binary files made by hand to do harm: archives, workbooks, Parquet and PDF."""

import gzip
import io
import random
import struct
import zipfile
import zlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from reportlab.pdfgen.canvas import Canvas
from samples import (
    CONTENT_TYPES,
    DEMAND,
    HEADER,
    archive,
    lying_about_size,
    parquet,
    pdf_page,
    raw_ods,
    raw_pdf,
    raw_workbook,
    unpacked,
    workbook,
    xls,
)

SEED = 20_241_129


def _cells(*references: str) -> str:
    cells = "".join(f'<c r="{name}" t="inlineStr"><is><t>item</t></is></c>' for name in references)
    return f"<worksheet><sheetData><row>{cells}</row></sheetData></worksheet>"


def hostile_workbooks() -> dict[str, bytes]:
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    laughs = f'<!DOCTYPE x [<!ENTITY l0 "lol">{lol}]>'
    outside = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    entity = '<c r="A1" t="inlineStr"><is><t>&{};</t></is></c>'
    row = "<worksheet><sheetData><row>{}</row></sheetData></worksheet>"
    shared = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(1, 100_000))
    return {
        "one far cell": raw_workbook(_cells("A1", "XFD1048576")),
        "one far row": raw_workbook(_cells("A1", "A9999999")),
        "row zero": raw_workbook(_cells("A0", "A1")),
        "no letters": raw_workbook(_cells("1", "A", "AAAA1", "-A1", "")),
        "far cell without references": raw_workbook(
            '<worksheet><sheetData><row r="1048576"><c><v>1</v></c></row></sheetData></worksheet>'
        ),
        "laughs": raw_workbook(laughs + row.format(entity.format("l9"))),
        "laughs in shared texts": raw_workbook(
            row.format('<c r="A1" t="s"><v>0</v></c>'), strings=f"{laughs}<sst><si><t>&l9;</t></si></sst>"
        ),
        "file from outside": raw_workbook(outside + row.format(entity.format("f"))),
        "long shared text": raw_workbook(
            f"<worksheet><sheetData>{shared}</sheetData></worksheet>",
            strings=f"<sst><si><t>{'x' * 32_000}</t></si></sst>",
        ),
        "shared texts by the billion": raw_workbook(
            row.format('<c r="A1" t="s"><v>0</v></c>'),
            strings='<sst count="4294967295" uniqueCount="4294967295"><si><t>item</t></si></sst>',
        ),
        "extent that lies": raw_workbook(
            '<worksheet><dimension ref="A1:XFD1048576"/><sheetData><row r="1"><c r="A1"><v>1</v></c></row></sheetData>'
            '<mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells></worksheet>'
        ),
        "utf-16": raw_workbook(row.format("").encode("utf-16")),
        "shared text that is not there": raw_workbook(
            '<worksheet><sheetData><row r="1"><c r="A1" t="s"><v>99999999999</v></c></row></sheetData></worksheet>'
        ),
        "open tags": raw_workbook("<a>" * 200_000),
        "sheet elsewhere": raw_workbook(
            _cells("A1"), rels='<Relationships><Relationship Id="rId1" Target="/../../x"/>'
        ),
        "no sheets": raw_workbook(_cells("A1"), workbook="<workbook/>"),
        "thousand sheets": raw_workbook(
            _cells("A1"),
            workbook='<workbook xmlns:r="r"><sheets>'
            + "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="rId1"/>' for n in range(1_000))
            + "</sheets></workbook>",
        ),
        "hidden sheets only": raw_workbook(
            _cells("A1"),
            workbook='<workbook xmlns:r="r"><sheets>'
            '<sheet name="S" sheetId="1" state="veryHidden" r:id="rId1"/></sheets>'
            "</workbook>",
        ),
        "formula and error cells": workbook([HEADER, ["=1+1", "=NOW()", "=A1"], ["A", "#N/A", "=1/0"]]),
        "dates beyond reason": workbook([HEADER, ["A", 1e300, 1], ["B", -5, 1e-300], ["C", 2_958_466, 1]]),
    }


def hostile_zips() -> dict[str, bytes]:
    sound = workbook(DEMAND)
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_BZIP2) as made:
        made.writestr("[Content_Types].xml", CONTENT_TYPES)
        made.writestr("xl/workbook.xml", "<w/>")
    encrypted = bytearray(sound)
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    twice = io.BytesIO(sound)
    with zipfile.ZipFile(twice, "a") as made:
        made.writestr("xl/worksheets/sheet1.xml ", "<x/>")
        made.writestr("xl/worksheets/SHEET1.xml", "<x/>")
    end = sound.rindex(b"PK\x05\x06")
    return {
        "bomb": raw_workbook(bytes(50_000_000)),
        "bomb that lies": lying_about_size(raw_workbook(bytes(50_000_000)), "xl/worksheets/sheet1.xml", 1_000),
        "three thousand entries": archive({f"xl/{n}": b"" for n in range(3_000)} | {"xl/workbook.xml": b""}),
        "unusual method": stored.getvalue(),
        "password": bytes(encrypted),
        "names twice": twice.getvalue(),
        "text before it": b"hello" + sound,
        "text after it": sound + b"hello" * 100,
        "two workbooks": sound + workbook(DEMAND),
        "directory elsewhere": sound[: end + 16] + struct.pack("<I", 0xFFFFFF) + sound[end + 20 :],
        "directory of gigabytes": sound[: end + 12] + struct.pack("<I", 0xFFFFFFFE) + sound[end + 16 :],
        "end only": b"PK\x05\x06" + bytes(18),
        "magic only": b"PK\x03\x04",
        "files, no workbook": archive({"a.csv": b"item\nA\n"}),
        "word document": archive({"[Content_Types].xml": CONTENT_TYPES, "word/document.xml": "<w/>"}),
    }


def hostile_archives() -> dict[str, bytes]:
    """Archives of files: bombs of every build, and what else is no good in one."""
    row = b"item,day,quantity\nA,2024-01-02,3\n"
    inner = archive({"a.csv": row})
    nested = inner
    for _ in range(20):
        nested = archive({f"{n}.zip": nested for n in range(3)} if len(nested) < 50_000 else {"in.zip": nested})
    packed = zlib.compressobj(9, wbits=-15)
    kernel = packed.compress(bytes(1 << 20)) + packed.flush()
    one = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, zlib.crc32(bytes(1 << 20)), len(kernel), 1 << 20, 1, 0)
    body = b"PK\x03\x04" + one + b"0" + kernel
    entry = b"PK\x01\x02" + struct.pack("<H", 20) + one + bytes(14) + b"0"
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1_500, 1_500, 1_500 * len(entry), len(body), 0)
    encrypted = bytearray(inner)
    encrypted[6] |= 1
    encrypted[inner.index(b"PK\x01\x02") + 8] |= 1
    return {
        "within itself many times": nested,
        "all entries share their bytes": body + entry * 1_500 + end,
        "bomb": archive({"a.csv": bytes(60_000_000)}),
        "bomb of many files": archive({f"{n}.csv": bytes(3_000_000) for n in range(30)}),
        "bomb that lies": lying_about_size(archive({"a.csv": bytes(60_000_000)}), "a.csv", 10),
        "bombs within": archive({"a.csv.gz": gzip.compress(bytes(20_000_000)), "b.csv": row}),
        "workbook bomb within": archive({"a.xlsx": raw_workbook(bytes(20_000_000)), "b.csv": row}),
        "password": bytes(encrypted),
        "three hundred files": archive({f"{n}.csv": row for n in range(300)}),
        "paths upwards": archive({"../../etc/cron.d/a.csv": row, "C:\\b.csv": row, "/c.csv": row, "\u202e.csv": row}),
        "one name many times": archive({"a.csv": row, "A.csv": row, "./a.csv": row, "a (2).csv": row}),
        "nothing in it": archive({}),
        "folders only": archive({"a/": b"", "a/b/": b""}),
        "cut off": inner[:-30],
        "first half": inner[:40],
        "good beside bad": archive({"a.csv": row, "b.png": b"\x89PNG", "c.csv": b"", "d.xlsx": workbook(DEMAND)[:900]}),
    }


def hostile_ods() -> dict[str, bytes]:
    cell = '<table:table-cell office:value-type="string"{}><text:p>item</text:p></table:table-cell>'
    columns, rows = ' table:number-columns-repeated="{}"', ' table:number-rows-repeated="{}"'
    table = '<table:table table:name="A">{}</table:table>'

    def repeated(across: str, down: str) -> bytes:
        row = f"<table:table-row{rows.format(down)}>{cell.format(columns.format(across))}</table:table-row>"
        return raw_ods(table.format(row))

    laughing = unpacked(
        raw_ods(table.format(f"<table:table-row>{cell.format('').replace('item', '&c;')}</table:table-row>"))
    )
    entities = f'<!ENTITY a "lol"><!ENTITY b "{"&a;" * 1_000}"><!ENTITY c "{"&b;" * 1_000}">'
    laughing["content.xml"] = f"<!DOCTYPE x [{entities}]>".encode() + bytes(laughing["content.xml"])
    return {
        "wide": repeated("16384", "1"),
        "long": repeated("1", "1048576"),
        "wide and long": repeated("16384", "1048576"),
        "beyond any sheet": repeated("99999999999", "99999999999"),
        "less than nothing": repeated("-1", "-1"),
        "no number": repeated("x", "y"),
        "laughs": archive(laughing),
        "open tags": raw_ods("<table:table-row>" * 100_000),
        "no table": raw_ods(""),
        "password": archive(
            {
                "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
                "META-INF/manifest.xml": "<manifest:encryption-data/>",
                "content.xml": random.Random(SEED).randbytes(500),
            }
        ),
        "text document": archive({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": "<x/>"}),
        "no content": archive({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}),
    }


def hostile_old_workbooks() -> dict[str, bytes]:
    sound = xls(DEMAND)
    number = struct.pack("<HHHHHd", 0x0203, 14, 2, 2, 17, 4.0)
    place = sound.find(struct.pack("<HHHH", 0x027E, 10, 2, 2))  # the number 4, packed as an RK record
    far = sound[: place + 4] + struct.pack("<HH", 65_535, 16_383) + sound[place + 8 :] if place >= 0 else number
    loop = bytearray(sound)
    loop[512:1024] = struct.pack("<128I", *range(128))  # each sector is followed by itself
    # The record after the workbook's first becomes FILEPASS, which says that what follows is encrypted.
    begin = sound.index(struct.pack("<HH", 0x0809, 16))
    locked = sound[: begin + 20] + struct.pack("<H", 0x2F) + sound[begin + 22 :]
    return {
        "locked by a password": locked,
        "magic only": sound[:8],
        "header only": sound[:512],
        "far cell": far,
        "sectors in circles": bytes(loop),
        "sectors of ones": sound[:48] + b"\xff" * 464 + sound[512:],
        "password": sound[:512] + "EncryptedPackage\0".encode("utf-16-le") + bytes(500),
        "word document": sound[:512] + "WordDocument\0".encode("utf-16-le") + bytes(500),
        "text": b"item\tday\tquantity\nA\t2024-01-02\t3\n",
    }


def hostile_parquet() -> dict[str, bytes]:
    def written(table: pa.Table, **options: Any) -> bytes:
        out = io.BytesIO()
        pq.write_table(table, out, **options)
        return out.getvalue()

    sound = parquet(DEMAND)
    packed = pa.DictionaryArray.from_arrays(pa.array([0] * 60_000, pa.int32()), pa.array(["x" * 30_000]))
    size = len(sound)
    return {
        "long text repeated": written(pa.table({"item": packed}), row_group_size=60_000),
        "nested": written(pa.table({"item": ["A"], "lines": [[1, 2]], "who": [{"a": 1}]})),
        "deeply nested": written(pa.table({"item": pa.array([[[[[[[[1]]]]]]]])})),
        "one group of many rows": written(pa.table({"item": pa.array(["A"] * 1_500_000)}), row_group_size=1_500_000),
        "a group each row": written(pa.table({"item": ["A"] * 2_000}), row_group_size=1),
        "names twice": written(pa.Table.from_arrays([pa.array(["A"]), pa.array(["B"])], ["item", "item"])),
        "compressed to nothing": written(
            pa.table({"item": pa.array([""] * 1_000_000)}), use_dictionary=False, compression="zstd"
        ),
        "bytes": written(pa.table({"item": [b"\xff\xfe"], "day": ["2024-01-02"], "quantity": [1]})),
        "too many columns": written(pa.table({f"c{n}": [1] for n in range(400)})),
        "no rows": written(pa.table({"item": pa.array([], pa.string())})),
        "magic only": b"PAR1PAR1",
        "encrypted": b"PARE" + sound[4:-4] + b"PARE",
        "footer of gigabytes": sound[:-8] + struct.pack("<I", 0x7FFFFFFF) + b"PAR1",
        "footer of nothing": sound[:-8] + bytes(4) + b"PAR1",
        "footer of noise": sound[: size // 2] + b"\x15\xff" * 300 + struct.pack("<I", 600) + b"PAR1",
        "wide decimals": written(pa.table({"item": pa.array([1], pa.decimal256(60, 2))})),
    }


def hostile_pdfs() -> dict[str, bytes]:
    text = b"BT /F 10 Tf 1 0 0 1 50 %d Tm (%s) Tj ET\n"
    boxes = b"".join(b"%d %d 3 3 re S\n" % (n % 190 * 3, n // 190 * 3) for n in range(30_000))
    form = b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 6 0 R>>>>/Length 5>>"
    itself = form + b"stream\n/X Do\nendstream"
    bomb = zlib.compress(bytes(300_000_000), 1)
    tree = (b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 99999999>>")
    locked = io.BytesIO()
    canvas = Canvas(locked, encrypt="secret", invariant=1)
    canvas.drawString(50, 700, "item day quantity")
    canvas.save()
    return {
        "header only": b"%PDF-1.7\n",
        "noise": b"%PDF-1.7\n" + random.Random(SEED).randbytes(20_000),
        "tree in circles": raw_pdf(*tree),
        "form within itself": pdf_page(b"/X Do", itself, b"/XObject<</X 6 0 R>>"),
        "bomb": pdf_page(bomb, head=b"/Filter/FlateDecode"),
        "bomb in a bomb": pdf_page(zlib.compress(bomb), head=b"/Filter[/FlateDecode/FlateDecode]"),
        "open lists": pdf_page(b"[" * 100_000),
        "open dictionaries": pdf_page(b"<<" * 100_000),
        "saves without end": pdf_page(b"q " * 50_000),
        "thirty thousand boxes": pdf_page(boxes + text % (700, b"item")),
        "text beyond the page": pdf_page(text % (10**9, b"item day quantity")),
        "no font": pdf_page(b"BT (item) Tj ET"),
        "unknown filter": pdf_page(b"abc", head=b"/Filter/Nonsense"),
        "length that lies": pdf_page(text % (700, b"item"), head=b"/Length 99999999"),
        "no text": pdf_page(b"0 0 10 10 re S"),
        "password": locked.getvalue(),
        "numbers beyond reason": pdf_page(b"9" * 10_000 + b" 0 0 1 0 0 cm " + text % (700, b"item")),
        "references in circles": raw_pdf(b"2 0 R", b"1 0 R"),
        "previous table is this one": pdf_page(text % (700, b"item")).replace(b"/Root 1 0 R", b"/Root 1 0 R/Prev 500"),
    }
