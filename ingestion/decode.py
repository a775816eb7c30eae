"""From bytes to text: bounded decompression and strict decoding."""

import codecs
import re
import zlib

from charset_normalizer import from_bytes

from ingestion.errors import DecompressionBomb, EmptyFile, UnreadableFile, WrongEncoding
from ingestion.limits import Limits

GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_SAMPLE = 1 << 18
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
# What office software and ERP systems of today write. The guess is among these only: given all that Python knows, an
# export with a single umlaut is taken for some DOS encoding.
_GUESSED = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "iso8859_2"),
    *("cp932", "gb18030", "big5", "euc_kr"),
)


_WHOLE_GZIP = "a complete gzip file: send it again"


def gunzip(content: bytes, limits: Limits) -> bytes:
    """Unpacks gzip (also several members in a row), stopping as soon as a limit is passed.

    DecompressionBomb: more than `max_uncompressed` bytes, or more than `max_ratio` times the packed size.
    """
    parts: list[bytes] = []
    total, rest = 0, content
    while rest:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            try:
                part = member.decompress(rest, _CHUNK)
            except zlib.error as error:
                raise UnreadableFile(f"the gzip data is damaged ({error})", expected=_WHOLE_GZIP) from error
            rest = member.unconsumed_tail
            if not part and not rest and not member.eof:
                raise UnreadableFile("the gzip data ends too early: the file was cut off", expected=_WHOLE_GZIP)
            total += len(part)
            refuse_bomb(total, len(content), limits)
            parts.append(part)
        rest = member.unused_data.lstrip(b"\0")  # zero padding after the last member is legal
    unpacked = b"".join(parts)
    if not unpacked:
        raise EmptyFile("the gzip file holds nothing")
    if unpacked.startswith(GZIP_MAGIC):
        raise UnreadableFile("gzip within gzip", expected="one layer of gzip: unpack the file once and send the result")
    return unpacked


def refuse_bomb(unpacked: int, packed: int, limits: Limits) -> None:
    """Raises DecompressionBomb when `unpacked` bytes out of `packed` are beyond a limit."""
    if unpacked > limits.max_uncompressed:
        raise DecompressionBomb(
            f"unpacks to more than {limits.max_uncompressed:,} bytes",
            expected=f"at most {limits.max_uncompressed:,} bytes unpacked: split the file",
        )
    if unpacked > limits.ratio_free_bytes and unpacked > limits.max_ratio * packed:
        raise DecompressionBomb(
            f"unpacks to more than {limits.max_ratio:g} times its size of {packed:,} bytes",
            expected=f"at most {limits.max_ratio:g} times: send a file that is truly so repetitive without compression",
        )


def decode(content: bytes, encoding: str) -> tuple[str, str]:
    """Text without a byte order mark, and the encoding used.

    A byte order mark always decides. Otherwise `encoding` is taken strictly; "auto" tries UTF-8, UTF-16 without a mark
    where every second byte is NUL, and then the best guess of charset-normalizer. WrongEncoding names the byte and the
    line where decoding failed.
    """
    for mark, marked in _BOMS:
        if content.startswith(mark):
            return _strict(content, marked), marked
    if encoding != "auto":
        return _strict(content, encoding), encoding
    guess = _unmarked_utf16(content[:_SAMPLE])
    if guess is None:
        try:
            return content.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            guess = _guess(content) or "utf-8"
    return _strict(content, guess), guess


def _unmarked_utf16(sample: bytes) -> str | None:
    """UTF-16 of mostly Latin text has a NUL in nearly every other byte; no 8-bit text has one at all."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if half and odd > 0.7 * half and even < 0.05 * half:
        return "utf-16-le"
    if half and even > 0.7 * half and odd < 0.05 * half:
        return "utf-16-be"
    return None


def _guess(content: bytes) -> str | None:
    """The likeliest 8-bit encoding, judged by the first part of the file that is not plain ASCII."""
    first = _NOT_ASCII.search(content)
    start = content.rfind(b"\n", 0, first.start() if first else 0) + 1
    best = from_bytes(content[start : start + _SAMPLE], cp_isolation=list(_GUESSED)).best()
    return best.encoding if best is not None else None


def _strict(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise WrongEncoding(
            f"the mapping names an unknown encoding '{encoding}'", expected="a name such as utf-8, cp1252 or auto"
        ) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        sample = content[error.start : error.start + 1].hex()
        raise WrongEncoding(
            f"not {encoding}: byte {error.start} (0x{sample}) cannot be decoded",
            line=line,
            expected=f"a file saved as {encoding}, or a mapping that names the file's own encoding (or auto)",
        ) from error
    except UnicodeError as error:
        raise WrongEncoding(f"not {encoding}: {error}", line=1, expected=f"a file saved as {encoding}") from error
