"""JSON in the forms it comes in: a record a line, an array, an API's answer; numbers as they are written."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.errors import EmptyFile, IngestionError, TooManyCells, TooManyRows, TooSlow, UnreadableFile, WrongColumns
from ingestion.limits import Limits
from ingestion.parse import parse
from ingestion.table import WHITE_SPACE, Parsed, ParseOptions

FIELDS = (frozenset({"item"}), frozenset({"qty"}))


def read(text: str | bytes, limits: Limits | None = None) -> Parsed:
    content = text.encode() if isinstance(text, str) else text
    return parse(content, "a.json", limits or Limits(), ParseOptions(fields=FIELDS))


def test_lines_keep_their_numbers_and_literals() -> None:
    parsed = read('\n{"item":"A","qty":1.10}\r\n\n{"qty":12345678901234567890123,"item":"B","ok":true,"no":null}\n')
    assert parsed.columns == ("item", "qty", "ok", "no")
    assert parsed.frame.rows() == [
        (2, "A", "1.10", None, None),
        (4, "B", "12345678901234567890123", "true", None),
    ]
    assert (parsed.file_format, parsed.header_line, parsed.numbers_are_plain) == ("jsonl", 2, True)


def test_an_array_counts_its_records_and_so_does_an_object_around_one() -> None:
    records = '[{"item":"A","qty":1},\n{"item":"B","qty":2e3}]'
    for text in (records, f'{{"page":1,"tags":["x"],"data":{records}}}', json.dumps(json.loads(records), indent=2)):
        parsed = read(text)
        assert [row[:2] for row in parsed.frame.rows()] == [(1, "A"), (2, "B")]
        assert (parsed.file_format, parsed.header_line) == ("json", 0)
    assert read(gzip.compress(records.encode())).file_format == "json.gz"
    assert read(records.encode("utf-16")).encoding == "utf-16"
    assert read('{"item":"A","qty":1}').frame.rows() == [(1, "A", "1")]


def test_inner_objects_become_dotted_columns_and_lists_stay_json() -> None:
    parsed = read('{"item":"A","qty":1,"by":{"id":7,"at":{"city":"Ulm"}},"tags":["x",1]}')
    assert parsed.columns == ("item", "qty", "by.id", "by.at.city", "tags")
    assert parsed.frame.row(0) == (1, "A", "1", "7", "Ulm", '["x", "1"]')


def test_lines_that_are_no_record_are_malformed_rows() -> None:
    lines = [
        '{"item":"A","qty":1}',
        "null",
        '{"item":"B"',
        '{"item":"C","item":"D"}',
        '{"item":"\\ud800"}',
        '{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}',
        '{"a.b":1,"a":{"b":2}}',
        '{"item":"' + "x" * 40_000 + '"}',
    ]
    parsed = read("\n".join(lines))
    assert parsed.frame.rows() == [(1, "A", "1")]
    assert [(line, reason) for line, _, reason, _ in parsed.malformed.rows()] == [
        (2, "is no record (a JSON object), but null"),
        (3, "is no JSON: Expecting ',' delimiter, column 12"),
        (4, "names 'item' twice"),
        (5, "'item' holds half a character (a lone surrogate)"),
        (6, "'e' is nested more than 5 deep"),
        (7, "names 'a.b' twice"),
        (8, "'item' has more than 32,767 characters"),
    ]
    assert json.loads(parsed.malformed["raw"][1]) == {"text": '{"item":"B"'}


REFUSED = {
    "broken array": ('[{"item":"A"},', UnreadableFile, "line 1: the JSON is broken .*Expected: complete JSON"),
    "broken on line 2": ('[{"item":"A"},\n{"item" "B"}]', UnreadableFile, "line 2: .*column 9"),
    "no records": ("[[1],[2]]", UnreadableFile, "not one record is sound; the first is no record"),
    "two lists": ('{"a":[{"x":1}],"b":[{"x":1}]}', UnreadableFile, "several lists of records: 'a', 'b'"),
    "empty list": ('{"data":[]}', EmptyFile, "not one data row"),
    "empty array": ("[]", EmptyFile, "not one data row"),
    "other names": ('{"foo":1}', WrongColumns, "none of the wanted columns.*in the records; the first row is 'foo'"),
    "too deep": ("[" * 100_000, UnreadableFile, "nested far too deeply"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    text, kind, told = REFUSED[case]
    with pytest.raises(kind, match=f"a.json.*{told}"):
        read(text)


def test_rows_cells_and_time_are_bounded() -> None:
    many = "\n".join(f'{{"item":"A","qty":{n}}}' for n in range(20_001))
    with pytest.raises(TooManyRows):
        read(many, Limits(max_rows=100))
    with pytest.raises(TooManyCells):
        read(many, Limits(max_cells=1_000))
    with pytest.raises(TooSlow, match="took more than 0 s"):
        read(many, Limits(max_seconds=0))


def test_text_that_only_begins_like_json_is_csv() -> None:
    assert read("[Sales];;\nitem;qty\nA;1\n").file_format == "csv"
    assert read("{stock}\nitem,qty\nA,1\n").frame.rows() == [(3, "A", "1")]


plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5))
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4).filter(lambda name: "." not in name)


@given(st.lists(st.dictionaries(names, plain, max_size=4), min_size=1, max_size=6), st.booleans())
def test_every_record_that_json_can_write_is_read_or_malformed(records: list[dict[str, object]], lines: bool) -> None:
    records = [{"item": "A"} | record for record in records]
    text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records)
    parsed = read(text)
    assert parsed.read == len(records)
    for row in parsed.frame.iter_rows():
        record = records[row[0] - 1]
        for name, cell in zip(parsed.columns, row[1:], strict=True):
            value = record.get(name)
            wanted = value if isinstance(value, str) else json.dumps(value)
            assert cell == (None if value is None or not wanted.strip(WHITE_SPACE) else wanted)


@given(st.text(alphabet='[]{}",:ax1\n \\', max_size=40))
def test_nothing_but_an_ingestion_error_comes_of_rubbish(text: str) -> None:
    try:
        parsed = read('{"item":1}\n' + text)
    except IngestionError:
        return
    assert parsed.read == parsed.frame.height + parsed.malformed.height
