r"""Names on the server are bytes in no stated encoding; ours are text that any log, JSON and database can hold.

What is not printable UTF-8 becomes \xNN, byte by byte, and so does the backslash itself: the text leads back to the
bytes, and two files never share one.
"""

import re

_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def to_text(name: bytes) -> str:
    """The name as printable text; plain UTF-8 names stay as they are."""
    told = name.decode("utf-8", "surrogateescape")
    if told.isprintable() and "\\" not in told:  # nearly all, and there may be very many
        return told
    return "".join(char if char.isprintable() and char != "\\" else _escaped(char) for char in told)


def to_bytes(text: str) -> bytes:
    """The bytes that `to_text` was given."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode("utf-8"))


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
