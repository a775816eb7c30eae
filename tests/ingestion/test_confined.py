"""The child that reads binary formats: whatever becomes of it, the caller is told, and the next file is read."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile import demand_mapping
from samples import parquet, pdf_page, workbook

from ingestion import confined
from ingestion.errors import IngestionError, TooMuchMemory, TooSlow, UnreadableFile
from ingestion.ingest import ingest
from ingestion.limits import MIB, Deadline, Limits
from ingestion.parse import parse
from ingestion.table import ParseOptions

ROWS = [["item", "qty"], ["A", 1], ["B", 2.5]]
SLOW = pdf_page(b"".join(b"%d %d 3 3 re S\n" % (n % 190 * 3, n // 190 * 3) for n in range(30_000)))
WANTED = [(2, "A", "1"), (3, "B", "2.5")]


def rows(content: bytes, limits: Limits | None = None) -> list[tuple[object, ...]]:
    return parse(content, "a.xlsx", limits or Limits()).frame.rows()


def children() -> list[int]:
    return [reader.process.pid for reader in confined._idle]


def test_a_child_is_kept_for_the_next_file_and_errors_keep_their_kind() -> None:
    assert rows(workbook(ROWS)) == WANTED
    (child, *_) = children()
    with pytest.raises(UnreadableFile, match=r"^a.parquet: column 'qty' holds List") as caught:
        parse(parquet([["item", "qty"], ["A", [1]]]), "a.parquet", Limits())
    assert (caught.value.line, caught.value.file) == (None, "a.parquet")
    assert rows(workbook(ROWS)) == WANTED
    assert child in children()


def test_a_child_that_has_gone_is_replaced_unnoticed() -> None:
    assert rows(workbook(ROWS)) == WANTED
    for child in children():
        os.kill(child, signal.SIGKILL)
    assert rows(workbook(ROWS)) == WANTED


def test_a_child_killed_while_it_reads_is_told_and_replaced() -> None:
    for reader in list(confined._idle):
        reader.end()
    confined._idle.clear()
    started = threading.Event()
    made: list[int] = []
    takes = confined._Reader.takes

    def noting(self: confined._Reader, request: dict[str, object]) -> bool:
        taken = takes(self, request)
        made.append(self.process.pid)
        started.set()
        return taken

    confined._Reader.takes = noting  # type: ignore[method-assign]
    try:
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(parse, SLOW, "a.pdf", Limits(max_seconds=60))
            assert started.wait(60)
            os.kill(made[0], signal.SIGKILL)
            with pytest.raises(UnreadableFile, match=r"a.pdf: reading it broke off \(SIGKILL\)"):
                reading.result(30)
    finally:
        confined._Reader.takes = takes  # type: ignore[method-assign]
    assert rows(workbook(ROWS)) == WANTED


def test_too_slow_and_too_large_are_told_as_that() -> None:
    with pytest.raises(TooSlow, match=r"took more than 0\.2 s"):
        parse(pdf_page(b"q " * 2_000_000), "a.pdf", Limits(max_seconds=0.2))
    many = workbook([["item"], *([f"I{n}" * 20] for n in range(20_000))])
    with pytest.raises(IngestionError, match=r"needs more than 0\.0\d+ GiB") as caught:
        rows(many, Limits(max_memory=8 * MIB))
    assert isinstance(caught.value, UnreadableFile | TooMuchMemory)
    assert len(rows(many)) == 20_000


def test_reading_ends_at_once_when_nobody_wants_it_any_more() -> None:
    class Unwanted(OSError):
        """Of a kind that a broken connection to the child raises too."""

    def unwanted() -> None:
        raise Unwanted

    began = time.monotonic()
    with pytest.raises(Unwanted):
        parse(SLOW, "a.pdf", Limits(max_seconds=60), still_wanted=unwanted)
    assert time.monotonic() - began < 30  # most of it for starting a child, on a machine that has other things to do
    assert rows(workbook(ROWS)) == WANTED


def test_an_ingestion_that_is_told_to_stop_ends_within_the_reader() -> None:
    told: list[str] = []

    def listen(_share: float, step: str) -> None:
        told.append(step)
        if len(told) > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(SLOW, "a.pdf", demand_mapping(), limits=Limits(max_seconds=60), on_progress=listen)
    assert told == ["parse"] * 3


def test_a_child_knows_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMRP_DATABASE_URL", "postgresql://fmrp:secret@db/fmrp")
    while confined._idle:
        confined._idle.pop().end()
    assert rows(workbook(ROWS)) == WANTED
    (child, *_) = children()
    environment = Path(f"/proc/{child}/environ").read_bytes()
    assert b"PYTHONPATH" in environment
    assert b"FMRP" not in environment
    assert b"secret" not in environment


def test_a_json_document_that_becomes_too_large_in_memory_is_refused_and_the_next_one_read() -> None:
    document = b"[" + b'{"item":[' + b"12345," * 2_000_000 + b"1]}]"
    with pytest.raises(IngestionError, match=r"needs more than 0\.0\d+ GiB"):
        parse(document, "a.json", Limits(max_memory=64 * MIB))
    assert parse(b'[{"item":"A"}]', "a.json", Limits()).frame.rows() == [(1, "A")]


def test_several_at_once_each_get_their_own_answer() -> None:
    books = [workbook([["item", "qty"], [f"I{n}", n]]) for n in range(6)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(rows, books)) == [[(2, f"I{n}", str(n))] for n in range(6)]
    assert len(children()) <= 2


def test_a_fork_does_not_share_its_parents_children() -> None:
    assert rows(workbook(ROWS)) == WANTED
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(sending, str(len(children())).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receiving, 10) == b"0"
    assert children()


def test_an_answer_can_be_asked_for_directly() -> None:
    parsed = confined.read_confined("xlsx", workbook(ROWS), Limits(), ParseOptions(), Deadline(30))
    assert parsed.frame.rows() == WANTED
    assert parsed.columns == ("item", "qty")
