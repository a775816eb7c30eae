"""From bytes to text: bounded decompression and strict decoding."""

import codecs
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
                raise UnreadableFile(f"the gzip data is damaged ({error})", expected="a complete gzip file") from error
            rest = member.unconsumed_tail
            if not part and not rest and not member.eof:
                raise UnreadableFile(
                    "the gzip data ends too early: the file was cut off", expected="a complete gzip file"
                )
            total += len(part)
            refuse_bomb(total, len(content), limits)
            parts.append(part)
        rest = member.unused_data.lstrip(b"\0")  # zero padding after the last member is legal
    unpacked = b"".join(parts)
    if not unpacked:
        raise EmptyFile("the gzip file holds nothing")
    if unpacked.startswith(GZIP_MAGIC):
        raise UnreadableFile("gzip within gzip", expected="a CSV file in one layer of gzip")
    return unpacked


def refuse_bomb(unpacked: int, packed: int, limits: Limits) -> None:
    """Raises DecompressionBomb when `unpacked` bytes out of `packed` are beyond a limit."""
    if unpacked > limits.max_uncompressed:
        raise DecompressionBomb(
            f"unpacks to more than {limits.max_uncompressed:,} bytes",
            expected=f"at most {limits.max_uncompressed:,} bytes unpacked",
        )
    if unpacked > limits.ratio_free_bytes and unpacked > limits.max_ratio * packed:
        raise DecompressionBomb(
            f"unpacks to more than {limits.max_ratio:g} times its size of {packed:,} bytes",
            expected=f"at most {limits.max_ratio:g} times",
        )


def decode(content: bytes, encoding: str) -> tuple[str, str]:
    """Text without a byte order mark, and the encoding used.

    A byte order mark always decides. Otherwise `encoding` is taken strictly; "auto" tries UTF-8 and then the best guess
    of charset-normalizer. WrongEncoding names the byte and the line where decoding failed.
    """
    for mark, marked in _BOMS:
        if content.startswith(mark):
            return _strict(content, marked), marked
    if encoding != "auto":
        return _strict(content, encoding), encoding
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        guess = _guess(content)
        if guess is None:
            return _strict(content, "utf-8"), "utf-8"
        return _strict(content, guess), guess


def _guess(content: bytes) -> str | None:
    """The likeliest 8-bit encoding, judged by the first part of the file that is not plain ASCII."""
    first = next((place for place, byte in enumerate(content) if byte > 127), 0)
    start = content.rfind(b"\n", 0, first) + 1
    best = from_bytes(content[start : start + _SAMPLE]).best()
    return best.encoding if best is not None else None


def _strict(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise WrongEncoding(f"the mapping names an unknown encoding '{encoding}'") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        sample = content[error.start : error.start + 1].hex()
        raise WrongEncoding(
            f"not {encoding}: byte {error.start} (0x{sample}) cannot be decoded",
            line=line,
            expected=f"a file saved as {encoding}, or a mapping that names the file's own encoding",
        ) from error
    except UnicodeError as error:
        raise WrongEncoding(f"not {encoding}: {error}", line=1, expected=f"a file saved as {encoding}") from error
