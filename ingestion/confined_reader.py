"""The child process of `confined`: reads one file after another, within limits, until nobody asks for a minute."""

import importlib
import io
import json
import resource
import sys
from collections.abc import Callable
from dataclasses import fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl

from ingestion.errors import IngestionError, TooMuchMemory, UnreadableFile
from ingestion.limits import GIB, MIB, Deadline, Limits
from ingestion.table import Parsed, ParseOptions

_IDLE_S = 60.0
_THREADS = 4
# A child that has come to need as much gives way to a new one: memory that libraries keep is not given back otherwise.
_MOST_KEPT = 512 * MIB
_NAMES = {"pdf": "PDF", "parquet": "Parquet file", "json": "JSON"}


def main(descriptor: int) -> None:
    """Serves requests on an inherited socket; see `confined.read_confined` for the other side."""
    connection = Connection(descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an abort leaves no copy of somebody's data on disk
    _warm_up()
    try:
        while connection.poll(_IDLE_S):
            request = json.loads(connection.recv_bytes())
            connection.send_bytes(b"")
            content = connection.recv_bytes()
            _answer(connection, request, content)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone


def _warm_up() -> None:
    """Has libraries take what they need themselves, threads and all, before a file's share is reckoned on top of it."""
    importlib.import_module("pyarrow")
    pl.DataFrame({"text": ["1", "2"]}).lazy().with_columns(pl.col("text").str.contains("1")).collect()


def _answer(connection: Connection, request: dict[str, Any], content: bytes) -> None:
    limits = Limits(**request["limits"])
    read = _reader(request["format"])
    _confine(limits, request["left_s"])
    deadline = Deadline(request["seconds"], request["left_s"])
    try:
        parsed = read(content, limits, _options(request["options"]), deadline)
    except IngestionError as error:
        answer = _told(error) | {"spent": _is_spent()}
    except MemoryError:
        answer = _told(_too_much(limits)) | {"spent": True}
    except BaseException as error:
        # Panics of Rust derive from BaseException; anything else of that kind is not ours to catch.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        spent = not isinstance(error, Exception) or _is_spent()
        answer = _told(_unreadable(request["format"], error)) | {"spent": spent}
    else:
        names = [field.name for field in fields(parsed) if field.name not in ("frame", "malformed")]
        answer = {name: getattr(parsed, name) for name in names} | {"spent": _is_spent()}
        connection.send_bytes(json.dumps(answer).encode())
        for frame in (parsed.frame, parsed.malformed):
            buffer = io.BytesIO()
            frame.write_ipc_stream(buffer)
            connection.send_bytes(buffer.getbuffer())
        return
    connection.send_bytes(json.dumps(answer).encode())


def _reader(file_format: str) -> Callable[[bytes, Limits, ParseOptions, Deadline], Parsed]:
    """`parse_pdf` of ingestion.parse_pdf, and so on. Imported when first asked for: a child may be short-lived."""
    name = f"parse_{file_format}"
    reader: Callable[[bytes, Limits, ParseOptions, Deadline], Parsed] = getattr(
        importlib.import_module(f"ingestion.{name}"), name
    )
    return reader


def _options(told: dict[str, Any]) -> ParseOptions:
    return ParseOptions(**told | {"fields": tuple(map(frozenset, told["fields"]))})


def _confine(limits: Limits, seconds: float) -> None:
    """No more memory than the limit on top of what is mapped now; and an end, should the parent die before it."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    memory = _memory()[0] + limits.max_memory
    resource.setrlimit(resource.RLIMIT_AS, (memory if most == resource.RLIM_INFINITY else min(memory, most), most))
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    cpu = int(used.ru_utime + used.ru_stime + _THREADS * (seconds + 10))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu if most == resource.RLIM_INFINITY else min(cpu, most), most))


def _memory() -> tuple[int, int]:
    """Bytes mapped, and bytes in use of these."""
    mapped, used = Path("/proc/self/statm").read_text(encoding="ascii").split()[:2]
    return int(mapped) * resource.getpagesize(), int(used) * resource.getpagesize()


def _is_spent() -> bool:
    return _memory()[1] > _MOST_KEPT


def _too_much(limits: Limits) -> TooMuchMemory:
    return TooMuchMemory(
        f"reading it needs more than {limits.max_memory / GIB:.3g} GiB of memory", expected="a smaller file: split it"
    )


def _unreadable(file_format: str, error: BaseException) -> UnreadableFile:
    told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return UnreadableFile(
        f"the {_NAMES.get(file_format, 'workbook')} is damaged, or of a kind that cannot be read ({told})",
        expected="a sound file: open it in the program that made it and save it anew, or export it as CSV",
    )


def _told(error: IngestionError) -> dict[str, Any]:
    """An error as it travels to the parent."""
    told = {"message": error.message, "line": error.line, "field": error.field, "expected": error.expected}
    return {"error": {"kind": type(error).__name__, **told}}


if __name__ == "__main__":
    main(int(sys.argv[1]))
