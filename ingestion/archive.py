"""ZIP archives: what is in one, unpacked under limits, and which archives are really one document.

Nothing the archive says of itself is believed: bytes are counted as they are unpacked and compared with their checksum.
"""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ingestion.decode import refuse_bomb
from ingestion.errors import IngestionError, TooLarge, TooManyMembers, UnreadableFile
from ingestion.limits import Deadline, Limits

ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_CHUNK = 1 << 20
_DIRECTORY_ENTRY = b"PK\x01\x02"
_LOCAL_HEADER = b"PK\x03\x04"
_MAX_ENTRIES = 2_000  # a workbook of 200 sheets with pictures has some 1,000
_MAX_SIGNATURES = 50_000  # the archive's own entries, and those of workbooks stored in it without compression
_MAX_NAME_CHARS = 200
_MAX_FOLDERS, _MAX_FOLDER_CHARS = 5, 50
_ENCRYPTED = 0x1
_LINK = 0o120000
_KIND_OF_FILE = 0o170000
_WHOLE = "a complete archive: send it again, or the files one by one"
_MIMETYPES = {
    b"application/vnd.oasis.opendocument.spreadsheet": "ods",
    b"application/vnd.oasis.opendocument.text": "a text document (ODT)",
    b"application/vnd.oasis.opendocument.presentation": "a presentation (ODP)",
    b"application/epub+zip": "an e-book (EPUB)",
}
_OFFICE_FOLDERS = {"word/": "a Word document (DOCX)", "ppt/": "a presentation (PPTX)", "visio/": "a drawing (VSDX)"}


@dataclass(frozen=True, slots=True)
class Member:
    """One file out of an archive. `name` is its path there, made safe to show, and no other member's."""

    name: str
    content: bytes


def is_archive(content: bytes) -> bool:
    """Whether this is a ZIP archive of files. A workbook is a ZIP too, but one document, and so no archive."""
    if not content.startswith(ZIP_MAGICS):
        return False
    try:
        return document_kind(content, entries(content)) == ""
    except IngestionError:
        # Damaged: whoever asks for its members, or parses it, is told how.
        return not content[30:60].startswith((b"[Content_Types].xml", b"_rels/", b"xl/", b"mimetype"))


def members(content: bytes, file_name: str, limits: Limits) -> list[Member]:
    """The files of a ZIP archive, in its order, without folders and without what macOS and Windows leave behind.

    Names keep their folders ('june/stock.csv') but lead nowhere else; one that comes twice is told apart
    ('stock (2).csv'). Raises an IngestionError naming `file_name` for an archive that is damaged, encrypted, empty or
    within another, or too large in bytes, files, ratio or time; then nothing of it is given.
    """
    deadline = Deadline(limits.max_seconds)
    try:
        if len(content) > limits.max_bytes:
            raise TooLarge(
                f"the archive has {len(content):,} bytes", expected=f"at most {limits.max_bytes:,} bytes: split it"
            )
        return _members(content, limits, deadline)
    except IngestionError as error:
        raise error.in_file(file_name) from error.__cause__


def _members(content: bytes, limits: Limits, deadline: Deadline) -> list[Member]:
    files = [entry for entry in entries(content) if not _is_clutter(entry.filename)]
    if not files:
        raise UnreadableFile("the archive holds no file", expected="an archive of files such as CSV or XLSX")
    if len(files) > limits.max_members:
        raise TooManyMembers(
            f"the archive holds {len(files):,} files", expected=f"at most {limits.max_members:,}: split it"
        )
    refuse_claims(files, content, limits)
    found: list[Member] = []
    names: set[str] = set()
    total = 0
    for place, entry in enumerate(files, start=1):
        deadline.check(f"file {place} of {len(files)} in the archive")
        parts: list[bytes] = []
        for part in unpack(content, entry):
            total += len(part)
            refuse_bomb(total, len(content), limits)
            parts.append(part)
        member = Member(_distinct(_safe_name(entry.filename, place), names), b"".join(parts))
        if is_archive(member.content):
            raise UnreadableFile(
                f"'{member.name}' in it is an archive itself",
                expected="an archive of files: unpack the inner one and send its files",
            )
        found.append(member)
    return found


# -- names -----------------------------------------------------------------------------------------------------------


def _is_clutter(path: str) -> bool:
    """Folders, and what is in an archive without its maker knowing."""
    parts = path.replace("\\", "/").split("/")
    return parts[-1] in ("", ".DS_Store", "Thumbs.db", "desktop.ini") or "__MACOSX" in parts[:-1]


def _safe_name(path: str, place: int) -> str:
    """A path of any system without a root, steps upwards and what cannot be seen; 'file 3' where no name is left."""
    parts = [
        "".join(filter(str.isprintable, part)).strip() for part in re.split(r"[/\\]", re.sub(r"^[A-Za-z]:", "", path))
    ]
    *folders, name = ["", *parts]
    if not name.strip("."):
        name = f"file {place}"
    suffix = PurePosixPath(name).suffix[:20]
    if len(name) > _MAX_NAME_CHARS:
        name = name[: _MAX_NAME_CHARS - len(suffix)] + suffix
    named = [folder[:_MAX_FOLDER_CHARS] for folder in folders if folder.strip(".")]
    return "/".join([*named[-_MAX_FOLDERS:], name])


def _distinct(name: str, taken: set[str]) -> str:
    """The name, or 'name (2).ext' and so on if it is taken; upper and lower case are the same."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.partition(".") if not last.startswith(".") else (last, "", "")
    made, count = name, 1
    while made.casefold() in taken:
        count += 1
        made = f"{folder}{slash}{stem} ({count}){dot}{ending}"
    taken.add(made.casefold())
    return made


# -- what a ZIP is, for archives and for workbooks -------------------------------------------------------------------


def entries(content: bytes) -> list[zipfile.ZipInfo]:
    """The archive's directory. UnreadableFile: damaged, or of more entries than any sound file has."""
    # Reading the directory costs time and memory for each entry, so they are counted before it is read.
    if content.count(_DIRECTORY_ENTRY) > _MAX_SIGNATURES:
        raise TooManyMembers("the archive has far too many entries", expected=f"at most {_MAX_ENTRIES:,}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, ValueError, struct.error, OSError, NotImplementedError) as error:
        raise UnreadableFile(f"the archive is damaged ({error})", expected=_WHOLE) from error
    if len(found) > _MAX_ENTRIES:
        raise TooManyMembers(f"the archive has {len(found):,} entries", expected=f"at most {_MAX_ENTRIES:,}")
    return found


def document_kind(content: bytes, directory: list[zipfile.ZipInfo]) -> str:
    """'xlsx', 'xlsb' or 'ods' for a workbook, words such as 'a Word document' for another document, else ''."""
    names = [entry.filename.lower().lstrip("/") for entry in directory]
    if "[content_types].xml" in names:
        if "xl/workbook.bin" in names:
            return "xlsb"
        if any(name.startswith("xl/workbook.") for name in names):
            return "xlsx"
        return next((kind for folder, kind in _OFFICE_FOLDERS.items() if any(n.startswith(folder) for n in names)), "")
    if "mimetype" in names:
        try:
            mimetype = b"".join(unpack(content, directory[names.index("mimetype")], most=200)).strip()
        except IngestionError:
            return ""
        return next((kind for start, kind in _MIMETYPES.items() if mimetype.startswith(start)), "")
    return ""


def refuse_claims(directory: list[zipfile.ZipInfo], content: bytes, limits: Limits) -> None:
    """Raises for what the directory admits to: a bomb, a password, packed bytes used twice, a link to elsewhere."""
    refuse_bomb(sum(entry.file_size for entry in directory), len(content), limits)
    for entry in directory:
        if entry.flag_bits & _ENCRYPTED:
            raise UnreadableFile(
                f"'{entry.filename[:100]}' is protected by a password", expected="a file saved or packed without one"
            )
        if (entry.external_attr >> 16) & _KIND_OF_FILE == _LINK:
            raise UnreadableFile(f"'{entry.filename[:100]}' is a link", expected="an archive of files")
    if sum(entry.compress_size for entry in directory) > len(content):
        raise UnreadableFile("entries of the archive overlap, as those of a bomb do", expected=_WHOLE)


def unpack(content: bytes, entry: zipfile.ZipInfo, most: int | None = None) -> Iterator[bytes]:
    """The bytes of one entry in pieces of at most a MiB, for the caller to count; `most` ends it after so many.

    UnreadableFile: damaged, packed in an unusual way, or another file than the directory says.
    """
    packed = _packed_bytes(content, entry)
    if entry.compress_type == zipfile.ZIP_STORED:
        parts: Iterator[bytes] = (bytes(packed[at : at + _CHUNK]) for at in range(0, len(packed), _CHUNK))
    elif entry.compress_type == zipfile.ZIP_DEFLATED:
        parts = _inflate(packed, min(most or _CHUNK, _CHUNK))
    else:
        raise UnreadableFile(
            f"'{entry.filename[:100]}' is packed with an unusual method", expected="the usual one (deflate)"
        )
    checksum, size = 0, 0
    try:
        for part in parts:
            checksum, size = zlib.crc32(part, checksum), size + len(part)
            yield part
            if most is not None and size >= most:
                return
    except zlib.error as error:
        raise UnreadableFile(f"'{entry.filename[:100]}' is damaged ({error})", expected=_WHOLE) from error
    if checksum != entry.CRC:
        raise UnreadableFile(f"'{entry.filename[:100]}' is damaged (its checksum differs)", expected=_WHOLE)


def _packed_bytes(content: bytes, entry: zipfile.ZipInfo) -> memoryview:
    """An entry's packed bytes, found through its local header, whose name and extra fields may differ in length."""
    start = entry.header_offset
    header = content[start : start + 30]
    if len(header) < 30 or not header.startswith(_LOCAL_HEADER):
        raise UnreadableFile(f"the archive's entry '{entry.filename[:100]}' is damaged", expected=_WHOLE)
    name_size, extra_size = struct.unpack("<HH", header[26:30])
    data = start + 30 + name_size + extra_size
    if data + entry.compress_size > len(content):
        raise UnreadableFile(f"'{entry.filename[:100]}' ends too early: the file was cut off", expected=_WHOLE)
    return memoryview(content)[data : data + entry.compress_size]


def _inflate(packed: memoryview, piece: int) -> Iterator[bytes]:
    stream = zlib.decompressobj(wbits=-15)
    rest: bytes | memoryview = packed
    while rest and not stream.eof:
        part = stream.decompress(rest, piece)
        rest = stream.unconsumed_tail
        yield part
    yield stream.flush()
