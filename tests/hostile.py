"""Files made to do harm, by hand and by chance: texts here, binaries in `hostile_binaries`."""

import gzip
import json
import random
from collections.abc import Iterator
from typing import Any

from hostile_binaries import (
    SEED,
    hostile_archives,
    hostile_ods,
    hostile_old_workbooks,
    hostile_parquet,
    hostile_pdfs,
    hostile_workbooks,
    hostile_zips,
)
from samples import DEMAND, archive, sound_files, unpacked, workbook

from ingestion.mapping import Mapping


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


def hostile_files() -> Iterator[tuple[str, str, bytes]]:
    """(what it is, file name, content): those made by hand, then sound files of every format damaged by chance, some of
    them under another format's name."""
    for kind, ending, files in (
        ("text", "csv", _texts()),
        ("json", "json", _json()),
        ("workbook", "xlsx", hostile_workbooks()),
        ("zip", "xlsx", hostile_zips()),
        ("archive", "zip", hostile_archives()),
        ("ods", "ods", hostile_ods()),
        ("old workbook", "xls", hostile_old_workbooks()),
        ("parquet", "parquet", hostile_parquet()),
        ("pdf", "pdf", hostile_pdfs()),
    ):
        for what, content in files.items():
            yield f"{kind}: {what}", f"{what.replace(' ', '_')}.{ending}", content
    yield from damaged_files(random.Random(SEED), rounds=10)


# -- by hand -----------------------------------------------------------------------------------------------------------


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
        "utf-16 that ends in the middle": (head + row).decode().encode("utf-16-be")[:-1],
        "utf-16 without a mark": (head + row * 9).decode().encode("utf-16-be"),
        "utf-32 with a mark": (head + row).decode().encode("utf-32"),
        "cp1252": "item,day,quantity\nBlähton \u2013 3\xa0m,2024-01-02,3\n".encode("cp1252"),
        "cp1252 of bytes it has not": head + b"\x81\x8d\x8f\x90\x9d,2024-01-02,3\n",
        "half a pair in utf-16": "item,day,quantity\nA".encode("utf-16-le") + b"\x00\xd8" + "\n".encode("utf-16-le"),
        "huge cell": head + b"x" * 2_000_000 + b",2024-01-02,3\n" + row,
        "huge quoted cell": head + b'"' + b"x,\n" * 30_000 + b'",2024-01-02,3\n' + row,
        "hundred thousand columns": b"item," * 100_000 + b"\n" + row,
        "hundred thousand fields in a row": head + b"A," * 100_000 + b"\n" + row,
        "columns of the same name": b"item,day,quantity,x,x,x,x\nA,2024-01-02,3,1,2,3,4\n",
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
        "one line without an end": b"x" * 8_000_000,
        "line of a million": head + b"A,2024-01-02," + b"1," * 500_000 + b"\n" + row,
        "gzip bomb": gzip.compress(bytes(60_000_000), mtime=0),
        "gzip of many small ones": gzip.compress(head, mtime=0) + gzip.compress(row, mtime=0) * 2_000,
        "gzip with rubbish behind it": gzip.compress(head + row, mtime=0) + b"rubbish",
        "gzip in gzip": gzip.compress(gzip.compress(head + row)),
        "gzip of a workbook": gzip.compress(workbook(DEMAND)),
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
        "many nothings": b"[" + b"{}," * 50_000 + b"{}]",
        "name twice in an array": b"[" + record + b',{"item":"A","item":"B"}]',
        "utf-16": record.decode().encode("utf-16"),
        "not utf-8": b'{"item":"\xff\xfe","day":"2024-01-02","quantity":1}\n' + record,
        "cut off": b"[" + record + b"," + record[:20],
        "comma at the end": b"[" + record + b",]",
        "several lists": b'{"a":[' + record + b'],"b":[' + record + b"]}",
        "not only records": record + b"\nnull\n17\n[]\n" + record,
        "rubbish between": record + b"\n}}}}\n" + record + b"\n\xc3\xa4\n",
        "huge text": b'{"item":"' + b"x" * 1_000_000 + b'","day":"2024-01-02","quantity":1}\n' + record,
        "nested beyond use": record + b'\n{"item":{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}}',
    }


# -- by chance -------------------------------------------------------------------------------------------------------


def damaged_files(chance: random.Random, rounds: int) -> Iterator[tuple[str, str, bytes]]:
    """Sound files of every format, each damaged in `rounds` ways; archives are damaged inside and packed again."""
    files = sound_files(30)
    for name, content in files.items():
        for number in range(rounds):
            inside = number % 2 == 1 and content.startswith((b"PK", b"\x1f\x8b"))
            made = _damaged_inside(content, chance) if inside else damaged(content, chance)
            ending = name if number % 5 else chance.choice(list(files))
            yield f"{name}, damaged {'inside, ' if inside else ''}{number}", f"{number}-{ending}", made


def _damaged_inside(content: bytes, chance: random.Random) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        return gzip.compress(damaged(gzip.decompress(content), chance), mtime=0)
    members = unpacked(content)
    name = chance.choice([name for name in members if name != "mimetype"])
    members[name] = damaged(members[name], chance)  # type: ignore[arg-type]
    return archive(members)


def damaged(content: bytes, chance: random.Random) -> bytes:
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
