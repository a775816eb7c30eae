"""What makes a whole file unusable. Each message names the file, the place in it and what was expected instead."""

from typing import Self


class IngestionError(Exception):
    """Base: the file was refused as a whole and nothing of it was taken. `code` is stable, for programs."""

    code = "ingestion_error"

    def __init__(
        self,
        message: str,
        *,
        file: str = "",
        line: int | None = None,
        field: str | None = None,
        expected: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.field = field
        self.expected = expected

    def __str__(self) -> str:
        """'stock.csv, line 3, field quantity: message. Expected: ...'."""
        place = [self.file] if self.file else []
        if self.line is not None:
            place.append(f"line {self.line}")
        if self.field is not None:
            place.append(f"field {self.field}")
        told = f"{', '.join(place)}: {self.message}" if place else self.message
        return f"{told}. Expected: {self.expected}." if self.expected else f"{told}."

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.file, self.line, self.field, self.expected)

    def in_file(self, file: str) -> Self:
        """The same error, naming the file."""
        self.file = self.file or file
        return self


class WrongEncoding(IngestionError):
    """The bytes are no text in the encoding the mapping names."""

    code = "wrong_encoding"


class WrongColumns(IngestionError):
    """The header lacks columns the mapping needs, or names one twice."""

    code = "wrong_columns"


class EmptyFile(IngestionError):
    """No bytes, or a header without a single data row."""

    code = "empty_file"


class TooLarge(IngestionError):
    """More bytes than may be taken."""

    code = "too_large"


class DecompressionBomb(IngestionError):
    """Unpacks to far more than it is."""

    code = "decompression_bomb"


class TooManyRows(IngestionError):
    """More rows than may be taken."""

    code = "too_many_rows"


class TooManyColumns(IngestionError):
    """More columns than may be taken."""

    code = "too_many_columns"


class TooManyCells(IngestionError):
    """Rows times columns is more than may be taken."""

    code = "too_many_cells"


class TooManyPages(IngestionError):
    """A PDF of more pages than may be taken."""

    code = "too_many_pages"


class TooManyMembers(IngestionError):
    """An archive of more files than may be taken."""

    code = "too_many_members"


class TooSlow(IngestionError):
    """Reading it takes longer than it may."""

    code = "too_slow"


class TooMuchMemory(IngestionError):
    """Reading it needs more memory than it may."""

    code = "too_much_memory"


class UnreadableFile(IngestionError):
    """Not what its name says, damaged, protected, or no table at all."""

    code = "unreadable_file"


class BadMapping(IngestionError):
    """A mapping that contradicts itself or the table it fills; `file` is the mapping's."""

    code = "bad_mapping"


def _rebuild(
    kind: type[IngestionError], message: str, file: str, line: int | None, field: str | None, expected: str | None
) -> IngestionError:
    return kind(message, file=file, line=line, field=field, expected=expected)
