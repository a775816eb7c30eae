"""Files made to do harm, by hand and by chance, and small builders for the tests of this room."""

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from reportlab.pdfgen.canvas import Canvas
from samples import archive, parquet, pdf_page, raw_ods, raw_pdf, sound_files, workbook, xls

from ingestion.mapping import Mapping

CONTENT_TYPES = '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
HEADER = ["item", "day", "quantity"]
ROWS = [HEADER, ["A", "2024-01-02", 3], ["B", "2024-01-03", 4]]
SEED = 20_241_129


def demand_mapping(**changes: Any) -> Mapping:
    """A mapping of daily sales that takes any item."""
    return Mapping.model_validate(
        {
            "name": "sales",
            "target": "demand",
            "unknown_items": "create",
            "columns": {
                "item": {"names": ["item"]},
                "day": {"names": ["day"]},
                "quantity": {"names": ["quantity"]},
                "revenue": {"names": ["revenue"]},
            },
            **changes,
        }
    )


def raw_workbook(sheet_xml: str | bytes, **parts: str | bytes) -> bytes:
    """A workbook whose one sheet is the given XML; `parts` (strings, workbook, rels) in place of its own."""
    paths = {"strings": "xl/sharedStrings.xml", "workbook": "xl/workbook.xml", "rels": "xl/_rels/workbook.xml.rels"}
    members = unpacked(workbook(ROWS)) | {paths[name]: part for name, part in parts.items()}
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


def hostile_files() -> Iterator[tuple[str, str, bytes]]:
    """(what it is, file name, content): those made by hand, then sound files of every format damaged by chance."""
    for kind, ending, files in (
        ("text", "csv", _texts()),
        ("json", "json", _json()),
        ("workbook", "xlsx", _workbooks()),
        ("zip", "xlsx", _zips()),
        ("ods", "ods", _ods()),
        ("old workbook", "xls", _old_workbooks()),
        ("parquet", "parquet", _parquet()),
        ("pdf", "pdf", _pdfs()),
    ):
        for what, content in files.items():
            yield f"{kind}: {what}", f"{what.replace(' ', '_')}.{ending}", content
    yield from damaged_files(random.Random(SEED), rounds=10)


# -- by hand ---------------------------------------------------------------------------------------------------------


def _texts() -> dict[str, bytes]:
    head = b"item,day,quantity\n"
    row = b"A,2024-01-02,3\n"
    noise = random.Random(SEED).randbytes(5_000)
    return {
        "noise": noise,
        "noise below a header": head + noise,
        "nul bytes": head + b"A\0,2024-01-02,3\n",
        "two encodings": head + "Ä,2024-01-02,3\n".encode() + "Ö,2024-01-02,3\n".encode("cp1252"),
        "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf" + head + row,
        "wrong byte order mark": b"\xff\xfe" + head + row,
        "half a pair in utf-16": "item,day,quantity\nA".encode("utf-16-le") + b"\x00\xd8" + "\n".encode("utf-16-le"),
        "huge cell": head + b"x" * 2_000_000 + b",2024-01-02,3\n" + row,
        "huge quoted cell": head + b'"' + b"x,\n" * 30_000 + b'",2024-01-02,3\n' + row,
        "ten thousand columns": b"item," * 10_000 + b"\n" + row,
        "quotes only": b'"' * 100_000,
        "quotes never closed": head + b'"A,2024-01-02,3\n' * 20_000,
        "a quote in every place": head + b'"A"",2024"-01-02,"3\n' * 5_000,
        "delimiters only": b",;\t|" * 20_000,
        "blank lines": head + b"\n" * 300_000 + row,
        "carriage returns": (head + row).replace(b"\n", b"\r") * 50,
        "control characters": head + bytes(range(1, 32)).replace(b"\n", b"").replace(b"\r", b"") + b",2024-01-02,3\n",
        "formulas": head + b"\"=cmd|'/c calc'!A1\",2024-01-02,=1+1\n@SUM(A1),+2024,-3\n",
        "right to left": head + "\u202eA\u200f\u0000".replace("\0", "").encode() + b",2024-01-02,3\n",
        "header twice": b"item,day,quantity,item\n" + row,
        "numbers beyond reason": head + b"A,2024-01-02,1e999\nB,2024-01-02,-0\nC,9999999-01-01," + b"9" * 5_000 + b"\n",
        "web page": b"<!DOCTYPE html><html><body>Log in</body></html>",
        "workbook of xml": b'<?xml version="1.0"?><Workbook><Worksheet/></Workbook>',
        "line of a million": head + b"A,2024-01-02," + b"1," * 500_000 + b"\n" + row,
        "gzip bomb": gzip.compress(bytes(60_000_000), mtime=0),
        "gzip in gzip": gzip.compress(gzip.compress(head + row)),
        "gzip of a workbook": gzip.compress(workbook(ROWS)),
        "gzip cut off": gzip.compress(head + row * 500)[:-20],
    }


def _json() -> dict[str, bytes]:
    record = b'{"item":"A","day":"2024-01-02","quantity":3}'
    many = {f"k{n}": n for n in range(5_000)}
    return {
        "open lists": b"[" * 200_000,
        "open objects": b'{"a":' * 200_000,
        "deep list": b'{"item":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n" + record,
        "deep object": record + b"\n" + b'{"a":' * 900 + b"1" + b"}" * 900,
        "half a character": record + b'\n{"item":"\\ud800","day":"2024-01-02","quantity":1,"\\udc00":2}',
        "nul character": record + b'\n{"item":"A\\u0000","day":"2024-01-02","quantity":1}',
        "name twice": record + b'\n{"item":"A","item":"B","day":"2024-01-02","quantity":1}',
        "no numbers": record + b'\n{"item":"A","day":"2024-01-02","quantity":NaN}\n{"item":"B","quantity":-Infinity}',
        "long number": b'{"item":"A","day":"2024-01-02","quantity":' + b"9" * 200_000 + b"}\n" + record,
        "many names": json.dumps(many).encode() + b"\n" + record,
        "new names in each": b"".join(b'{"item":"A","k%d":1}\n' % n for n in range(3_000)),
        "plain values": b"[[1,2],[3]]",
        "nothing": b"[{}]",
        "cut off": b"[" + record + b"," + record[:20],
        "comma at the end": b"[" + record + b",]",
        "several lists": b'{"a":[' + record + b'],"b":[' + record + b"]}",
        "not only records": record + b"\nnull\n17\n[]\n" + record,
        "rubbish between": record + b"\n}}}}\n" + record + b"\n\xc3\xa4\n",
        "huge text": b'{"item":"' + b"x" * 1_000_000 + b'","day":"2024-01-02","quantity":1}\n' + record,
        "nested beyond use": record + b'\n{"item":{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}}',
    }


def _cells(*references: str) -> str:
    cells = "".join(f'<c r="{name}" t="inlineStr"><is><t>item</t></is></c>' for name in references)
    return f"<worksheet><sheetData><row>{cells}</row></sheetData></worksheet>"


def _workbooks() -> dict[str, bytes]:
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
        "file from outside": raw_workbook(outside + row.format(entity.format("f"))),
        "long shared text": raw_workbook(
            f"<worksheet><sheetData>{shared}</sheetData></worksheet>",
            strings=f"<sst><si><t>{'x' * 32_000}</t></si></sst>",
        ),
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
        "formula and error cells": workbook([HEADER, ["=1+1", "=NOW()", "=A1"], ["A", "#N/A", "=1/0"]]),
        "dates beyond reason": workbook([HEADER, ["A", 1e300, 1], ["B", -5, 1e-300], ["C", 2_958_466, 1]]),
    }


def _zips() -> dict[str, bytes]:
    sound = workbook(ROWS)
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
        "two workbooks": sound + workbook(ROWS),
        "directory elsewhere": sound[: end + 16] + struct.pack("<I", 0xFFFFFF) + sound[end + 20 :],
        "directory of gigabytes": sound[: end + 12] + struct.pack("<I", 0xFFFFFFFE) + sound[end + 16 :],
        "end only": b"PK\x05\x06" + bytes(18),
        "magic only": b"PK\x03\x04",
        "files, no workbook": archive({"a.csv": b"item\nA\n"}),
        "word document": archive({"[Content_Types].xml": CONTENT_TYPES, "word/document.xml": "<w/>"}),
    }


def _ods() -> dict[str, bytes]:
    cell = '<table:table-cell office:value-type="string"{}><text:p>item</text:p></table:table-cell>'
    columns, rows = ' table:number-columns-repeated="{}"', ' table:number-rows-repeated="{}"'
    table = '<table:table table:name="A">{}</table:table>'

    def repeated(across: str, down: str) -> bytes:
        row = f"<table:table-row{rows.format(down)}>{cell.format(columns.format(across))}</table:table-row>"
        return raw_ods(table.format(row))

    return {
        "wide": repeated("16384", "1"),
        "long": repeated("1", "1048576"),
        "wide and long": repeated("16384", "1048576"),
        "beyond any sheet": repeated("99999999999", "99999999999"),
        "less than nothing": repeated("-1", "-1"),
        "no number": repeated("x", "y"),
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


def _old_workbooks() -> dict[str, bytes]:
    sound = xls(ROWS)
    number = struct.pack("<HHHHHd", 0x0203, 14, 2, 2, 17, 4.0)
    place = sound.find(struct.pack("<HHHH", 0x027E, 10, 2, 2))  # the number 4, packed as an RK record
    far = sound[: place + 4] + struct.pack("<HH", 65_535, 16_383) + sound[place + 8 :] if place >= 0 else number
    loop = bytearray(sound)
    loop[512:1024] = struct.pack("<128I", *range(128))  # each sector is followed by itself
    return {
        "magic only": sound[:8],
        "header only": sound[:512],
        "far cell": far,
        "sectors in circles": bytes(loop),
        "sectors of ones": sound[:48] + b"\xff" * 464 + sound[512:],
        "password": sound[:512] + "EncryptedPackage\0".encode("utf-16-le") + bytes(500),
        "word document": sound[:512] + "WordDocument\0".encode("utf-16-le") + bytes(500),
        "text": b"item\tday\tquantity\nA\t2024-01-02\t3\n",
    }


def _parquet() -> dict[str, bytes]:
    def written(table: pa.Table, **options: Any) -> bytes:
        out = io.BytesIO()
        pq.write_table(table, out, **options)
        return out.getvalue()

    sound = parquet(ROWS)
    packed = pa.DictionaryArray.from_arrays(pa.array([0] * 60_000, pa.int32()), pa.array(["x" * 30_000]))
    size = len(sound)
    return {
        "long text repeated": written(pa.table({"item": packed}), row_group_size=60_000),
        "nested": written(pa.table({"item": ["A"], "lines": [[1, 2]], "who": [{"a": 1}]})),
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


def _pdfs() -> dict[str, bytes]:
    text = b"BT /F 10 Tf 1 0 0 1 50 %d Tm (%s) Tj ET\n"
    boxes = b"".join(b"%d %d 3 3 re S\n" % (n % 190 * 3, n // 190 * 3) for n in range(30_000))
    form = b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 6 0 R>>>>/Length 5>>"
    itself = form + b"stream\n/X Do\nendstream"
    bomb = zlib.compress(bytes(300_000_000), 9)
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


# -- by chance -------------------------------------------------------------------------------------------------------


def damaged_files(chance: random.Random, rounds: int) -> Iterator[tuple[str, str, bytes]]:
    """Sound files of every format, each damaged in `rounds` ways; archives are damaged inside and packed again."""
    files = sound_files(30)
    for name, content in files.items():
        for number in range(rounds):
            inside = number % 2 == 1 and content.startswith((b"PK", b"\x1f\x8b"))
            damaged = _damaged_inside(content, chance) if inside else _damaged(content, chance)
            ending = name if number % 5 else chance.choice(list(files))
            yield f"{name}, damaged {'inside, ' if inside else ''}{number}", f"{number}-{ending}", damaged


def _damaged_inside(content: bytes, chance: random.Random) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        return gzip.compress(_damaged(gzip.decompress(content), chance), mtime=0)
    members = unpacked(content)
    name = chance.choice([name for name in members if name != "mimetype"])
    members[name] = _damaged(members[name], chance)  # type: ignore[arg-type]
    return archive(members)


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """One to three of: cut off, bits flipped, pieces doubled, dropped, blanked or swapped, a number blown up."""
    made = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(made) or 1)
        stop = min(len(made), start + chance.randint(1, 40))
        piece = made[start:stop]
        match chance.randrange(8):
            case 0:
                del made[chance.randrange(len(made) or 1) :]
            case 1:
                for at in chance.choices(range(len(made)), k=min(len(made), 5)):
                    made[at] ^= 1 << chance.randrange(8)
            case 2:
                made[stop:stop] = piece * chance.choice([1, 50])
            case 3:
                del made[start:stop]
            case 4:
                made[start:stop] = chance.choice([b"\0", b"\xff", b'"', b"<", b"\n"]) * len(piece)
            case 5:
                other = chance.randrange(len(made) or 1)
                made[other : other + len(piece)] = piece
            case 6:
                made[start : start + 4] = chance.choice([b"\xff\xff\xff\x7f", b"\xfe\xff\xff\xff", b"\0\0\0\x80"])
            case _:
                made[start:start] = chance.randbytes(20)
    return bytes(made)
