"""How likely a header means a field: the words of `words.toml`, and the names the shipped mappings accept."""

import difflib
import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from ingestion.mapping import shipped
from ingestion.table import header_key
from ingestion.targets import TARGETS

WORDS_FILE = Path(__file__).with_name("words.toml")
_OF_MAPPING, _OF_CONCEPT, _WITHOUT_BRACKETS, _ALIKE = 1.0, 0.95, 0.9, 0.8
_LEAST = 0.5
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_BRACKETS = re.compile(r"[(\[{].*?[)\]}]")
_CAMEL = re.compile(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])")
_SHORTEST_ALIKE = 5
_SMALL_WORDS = frozenset({"of", "the", "in", "per", "a", "der", "die", "das", "des", "je", "pro", "und", "and"})


@dataclass(frozen=True, slots=True)
class Match:
    """How well a header fits: 0 to 1, and the word it was found by."""

    score: float
    word: str


@dataclass(frozen=True)
class Words:
    """What words stand for.

    owners: word key -> concepts and fields (`table.field`); spelt: word key -> as it is written; concepts: field -> its
    concepts, best first; files: table -> word keys of files' names; choices: concept -> word in lower case -> choice.
    """

    owners: Dict[str, frozenset[str]]
    spelt: Dict[str, str]
    concepts: Dict[str, tuple[str, ...]]
    files: Dict[str, tuple[str, ...]]
    choices: Dict[str, Dict[str, str]]

    def concepts_of(self, table: str, field: str) -> tuple[str, ...]:
        """Concepts a field goes by, best first."""
        return self.concepts.get(f"{table}.{field}", (field,))

    def choices_of(self, table: str, field: str, own: tuple[str, ...]) -> dict[str, str]:
        """What a choice is called besides its own word -> the choice; keys in lower case."""
        found = {}
        for concept in self.concepts_of(table, field):
            found.update({word: choice for word, choice in self.choices.get(concept, {}).items() if choice in own})
        return found


def word_key(text: str) -> str:
    """A word for comparison: as `header_key`, and umlauts written out."""
    return header_key(text.casefold().translate(_UMLAUTS))


@cache
def words() -> Words:
    """All words there are."""
    content = tomllib.loads(WORDS_FILE.read_text(encoding="utf-8"))
    owners: defaultdict[str, set[str]] = defaultdict(set)
    spelt: dict[str, str] = {}

    def add(word: str, owner: str) -> None:
        owners[word_key(word)].add(owner)
        spelt.setdefault(word_key(word), word)

    for concept, listed in content["words"].items():
        for word in listed:
            add(word, concept)
    for table, target in TARGETS.items():
        for field in target.fields:
            add(field, f"{table}.{field}")
    for mapping in shipped().values():
        for field, column in mapping.columns.items():
            for word in column.names:
                add(word, f"{mapping.target}.{field}")
    choices = {
        concept: {word.casefold(): choice for choice, listed in group.items() for word in listed}
        for concept, group in content["choices"].items()
    }
    return Words(
        {key: frozenset(found) for key, found in owners.items()},
        spelt,
        {field: tuple(listed) for field, listed in content["fields"].items()},
        {table: tuple(word_key(word) for word in listed) for table, listed in content["files"].items()},
        choices,
    )


@cache
def known_headers() -> tuple[frozenset[str], ...]:
    """Every header that stands for something, for finding the row that is the header (`ParseOptions.fields`)."""
    return tuple(frozenset({header_key(word)}) for word in sorted(set(words().spelt.values())))


@cache
def _tokens(text: str) -> frozenset[str]:
    parts = re.split(r"[^0-9a-z]+", _CAMEL.sub(" ", text).casefold().replace("ß", "ss").translate(_UMLAUTS))
    return frozenset(part for part in parts if part and part not in _SMALL_WORDS)


@lru_cache(maxsize=4_096)
def matches(header: str) -> Dict[str, Match]:
    """Concepts and fields (`table.field`) a header may stand for."""
    found: dict[str, Match] = {}
    known = words()

    def note(key: str, score: float) -> None:
        for owner in known.owners.get(key, ()):
            worth = score if "." in owner or score < _OF_MAPPING else _OF_CONCEPT
            if owner not in found or worth > found[owner].score:
                found[owner] = Match(worth, known.spelt[key])

    key = word_key(header)
    note(key, _OF_MAPPING)
    note(word_key(_BRACKETS.sub(" ", header)), _WITHOUT_BRACKETS)
    if len(key) >= _SHORTEST_ALIKE:
        for near in difflib.get_close_matches(key, known.owners, n=3, cutoff=0.85):
            note(near, _ALIKE * difflib.SequenceMatcher(None, key, near).ratio())
    own = _tokens(header)
    for near, spelt in known.spelt.items():
        other = _tokens(spelt)
        if (shared := len(own & other)) and (score := _ALIKE * 2 * shared / (len(own) + len(other))) >= _LEAST:
            note(near, score)
    return found


def field_match(found: Dict[str, Match], table: str, field: str) -> Match | None:
    """How well a header of these `matches` fits one field; its second and further concepts count a little less."""
    best = found.get(f"{table}.{field}")
    for place, concept in enumerate(words().concepts_of(table, field)):
        match = found.get(concept)
        if match is not None:
            worth = match.score - 0.05 * place
            best = Match(worth, match.word) if best is None or worth > best.score else best
    return best


def table_named(file_name: str) -> str | None:
    """The table that a file's name speaks of, by the longest word: "Lagerorte" are warehouses, "Lager" is stock."""
    key = word_key(file_name.rsplit(".", 1)[0])
    found = [
        (len(word), table)
        for table in TARGETS
        for word in (word_key(table), *words().files.get(table, ()))
        if word in key
    ]
    return max(found)[1] if found else None
