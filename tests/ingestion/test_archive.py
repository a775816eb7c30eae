"""ZIP archives: every file in one comes out once, by a name that is safe and its own; everything else is refused."""

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import archive, lying_about_size, ods, pdf, sound_files, workbook, xlsb

from ingestion.archive import Member, is_archive, members
from ingestion.errors import DecompressionBomb, IngestionError, TooLarge, TooManyMembers, UnreadableFile
from ingestion.limits import MIB, Limits
from ingestion.parse import parse

ROWS = [["item", "qty"], ["A", 1]]
SMALL = Limits(max_bytes=MIB, max_uncompressed=MIB, max_ratio=50, ratio_free_bytes=10_000, max_members=5)


def test_files_come_out_in_order_and_each_can_be_parsed() -> None:
    files = sound_files(5)
    found = members(archive(files), "all.zip", Limits())
    assert {member.name: member.content for member in found} == files
    assert [member.name for member in found] == list(files)
    assert {parse(member.content, member.name, Limits()).read for member in found} == {5}


def test_names_keep_folders_that_lead_nowhere_else_and_clutter_is_left_out() -> None:
    out = io.BytesIO()
    names = [
        "may/stock.csv",
        "june/STOCK.csv",
        "..\\..\\etc/passwd",
        "C:\\data\\a.csv.gz",
        "x/a.csv.gz",
        "a\x01\u202eb.csv",
        "/x//./a.csv.gz",
        "x" * 300 + "/" + "y" * 300 + ".csv",
        "may/..",
    ]
    clutter = ["folder/", "__MACOSX/may/._stock.csv", "may/.DS_Store", "Thumbs.db", "a/desktop.ini"]
    with zipfile.ZipFile(out, "w") as made:
        for name in [*clutter[:2], *names, *clutter[2:], "/"]:
            made.writestr(name, name)
    found = members(out.getvalue(), "a.zip", Limits())
    assert [member.name for member in found] == [
        *("may/stock.csv", "june/STOCK.csv", "etc/passwd", "data/a.csv.gz", "x/a.csv.gz", "ab.csv"),
        *("x/a (2).csv.gz", "x" * 50 + "/" + "y" * 196 + ".csv", "may/file 9"),
    ]
    assert [member.content.decode() for member in found] == names


def test_a_workbook_is_no_archive() -> None:
    for content in (workbook(ROWS), ods(ROWS), xlsb(ROWS), pdf(ROWS), b"item\nA\n", b"", b"PK"):
        assert not is_archive(content)
    assert not is_archive(archive({"[Content_Types].xml": "<x/>", "word/document.xml": "<x/>"}))
    assert not is_archive(workbook(ROWS)[:-100])  # damaged, and still told as a workbook
    for content in (archive({"a.csv": "item\n"}), archive({"a.xlsx": workbook(ROWS)}), archive({}), b"PK\x03\x04junk"):
        assert is_archive(content)


def test_a_stored_workbook_in_an_archive_is_a_member() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as made:
        made.writestr("a.xlsx", workbook(ROWS))
    assert is_archive(out.getvalue())
    assert members(out.getvalue(), "a.zip", Limits()) == [Member("a.xlsx", workbook(ROWS))]


def linked() -> bytes:
    out = io.BytesIO()
    entry = zipfile.ZipInfo("a.csv")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(entry, "/etc/passwd")
    return out.getvalue()


def flagged() -> bytes:
    content = bytearray(archive({"a.csv": "item\n"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def overlapping() -> bytes:
    """Two directory entries for the same packed bytes, as in bombs without layers."""
    content = archive({f"{n}.csv": bytes(range(256)) * 40 for n in range(2)})
    first, second = content.index(b"PK\x01\x02"), content.rindex(b"PK\x01\x02")
    size = struct.pack("<I", len(content))
    return content[: first + 20] + size + content[first + 24 : second] + content[second:]


def changed() -> bytes:
    """A stored file of which a byte has changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a.csv", "item,qty\n")
    return out.getvalue().replace(b"item,qty", b"item,qtz")


REFUSED = {
    "within another": (
        archive({"b/in.zip": archive({"a.csv": "item\n"})}),
        UnreadableFile,
        "'b/in.zip' in it is an arch",
    ),
    "encrypted": (flagged(), UnreadableFile, "'a.csv' is protected by a password"),
    "too many files": (archive({f"{n}.csv": "x" for n in range(6)}), TooManyMembers, "6 files. Expected: at most 5"),
    "bomb by size": (archive({"a.csv": bytes(2 * MIB)}), DecompressionBomb, "more than 1,048,576 bytes"),
    "bomb by ratio": (archive({"a.csv": bytes(500_000)}), DecompressionBomb, "more than 50 times"),
    "bomb by total": (archive({f"{n}.csv": bytes(300_000) for n in range(4)}), DecompressionBomb, "more than"),
    "bomb that lies": (lying_about_size(archive({"a.csv": bytes(2 * MIB)}), "a.csv", 100), DecompressionBomb, "more"),
    "too large": (b"PK\x03\x04" + bytes(MIB), TooLarge, "the archive has 1,048,580 bytes.*split it"),
    "cut off": (archive({"a.csv": "item\n"})[:-30], UnreadableFile, "archive is damaged.*send it again"),
    "overlapping": (overlapping(), UnreadableFile, "overlap|too early"),
    "link": (linked(), UnreadableFile, "'a.csv' is a link"),
    "nothing in it": (archive({"x/": ""}), UnreadableFile, "holds no file"),
    "other bytes": (changed(), UnreadableFile, "its checksum differs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    content, kind, told = REFUSED[case]
    with pytest.raises(kind, match=f"a.zip: .*{told}") as caught:
        members(content, "a.zip", SMALL)
    assert caught.value.expected


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.lists(st.tuples(names, st.binary(max_size=50)), min_size=1, max_size=8))
def test_names_are_safe_and_distinct_and_contents_are_whole(files: list[tuple[str, bytes]]) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for place, (name, content) in enumerate(files):
            made.writestr(f"{place}/{name}", content)
    try:
        found = members(out.getvalue(), "a.zip", Limits())
    except IngestionError:
        return
    folded = [member.name.casefold() for member in found]
    assert len(set(folded)) == len(folded)
    assert all(member.name.isprintable() or " " in member.name for member in found)
    assert not any(set(member.name) & set("\\\0") or ".." in member.name.split("/") for member in found)
    assert not any(part in ("", ".", "..") for member in found for part in member.name.split("/"))
    assert {member.content for member in found} <= {content for _, content in files}


@given(st.binary(max_size=60), st.integers(0, 400))
def test_nothing_but_an_ingestion_error_comes_of_a_damaged_archive(rubbish: bytes, place: int) -> None:
    sound = archive({"a.csv": b"item,qty\nA,1\n" * 5, "b.csv": b"item\n"})
    content = sound[:place] + rubbish + sound[place + len(rubbish) :]
    is_archive(content)
    try:
        found = members(content, "a.zip", Limits())
    except IngestionError:
        return
    assert len(found) <= 2
