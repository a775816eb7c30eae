"""Whether a text is one SELECT that stays within the parentheses it is put into.

The guard that counts is the read-only session. This one sees to it that a query cannot close the parentheses around it
and go on with a statement of its own, which on SQL Server needs not even a semicolon; and that it holds no word of
statements that write, lock rows, or send text to another server, which no session here could keep from writing. It is
strict where dialects differ in how they quote: what they might read differently is refused, not interpreted.
"""

import re

_BEGIN = re.compile(r"\s*(select|with)\b", re.IGNORECASE)
_QUOTES = {"'": "'", '"': '"'}
_MORE_QUOTES = {"mysql": {"`": "`"}, "sqlite": {"`": "`", "[": "]"}, "mssql": {"[": "]"}, "postgresql": {}}
_REFUSED = (
    (re.compile(r"--|/\*|\*/"), "holds a comment (-- or /*): leave it out"),
    (re.compile(r";"), "holds a semicolon: give a single SELECT without one"),
    (re.compile(r"\x00"), "holds a character NUL"),
)
_REFUSED_BY_DIALECT = {
    "mysql": ((re.compile(r"#"), "holds '#', which begins a comment: leave it out"),),
    "postgresql": ((re.compile(r"\$\w*\$"), "holds a dollar quote ($$): use plain quotes"),),
    "mssql": (
        (re.compile(r"^\s*with\b", re.IGNORECASE), "begins with WITH, which SQL Server takes in no subquery"),
        (re.compile(r"\]\]"), "holds ']]': quote the name with double quotes"),
    ),
    "sqlite": ((re.compile(r"\]\]"), "holds ']]': quote the name with double quotes"),),
}
# Words outside quotes. One that is a name can be quoted; after a point it is one.
_WRITING = re.compile(
    r"(?<![\w.$@])(insert|update|delete|merge|into|truncate|drop|alter|create|grant|revoke|exec|execute|call|do)(?![\w$])"
    r"|\bfor\s+(no\s+key\s+)?(update|share|key\s+share)\b|\block\s+in\s+share\s+mode\b|\bnext\s+value\s+for\b",
    re.IGNORECASE,
)
_ELSEWHERE = re.compile(r"\b(openrowset|openquery|opendatasource|dblink\w*)\b", re.IGNORECASE)


class NotOneSelect(ValueError):
    """The text is not a single SELECT; the message says why and reads on after 'query'."""


def single_select(query: str, dialect: str) -> str:
    """`query` without space around it. NotOneSelect where it is, or may be, anything but one SELECT."""
    if not _BEGIN.match(query):
        raise NotOneSelect("must begin with SELECT or WITH")
    # Refused even within quotes: where a quote ends is what dialects disagree about.
    for pattern, why in (*_REFUSED, *_REFUSED_BY_DIALECT[dialect]):
        if pattern.search(query):
            raise NotOneSelect(why)
    if re.search(r"\\", query):
        raise NotOneSelect("holds a backslash, which some databases read as an escape: leave it out")
    unquoted = _within_parentheses(query, {**_QUOTES, **_MORE_QUOTES[dialect]})
    if word := _WRITING.search(unquoted):
        written = " ".join(word[0].upper().split())
        raise NotOneSelect(f"holds {written}, which writes or locks; quote it if it is a name")
    if word := _ELSEWHERE.search(query):  # quoted too: it is a function's name all the same
        raise NotOneSelect(f"calls {word[0]}, which sends statements to another server: configure that as a source")
    return query.strip()


def _within_parentheses(query: str, quotes: dict[str, str]) -> str:
    """The query with a space for each quoted part. NotOneSelect: it does not stay within the parentheses around it."""
    depth, closing, unquoted = 0, "", list[str]()
    for character in query:
        if closing:
            # A doubled quote closes and opens again at once, which comes to the same here.
            closing = "" if character == closing else closing
            continue
        if character in quotes:
            closing = quotes[character]
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth < 0:
                raise NotOneSelect("closes a parenthesis that it did not open")
        unquoted.append(" " if closing else character)
    if closing:
        raise NotOneSelect(f"opens a quote and does not close it with {closing}")
    if depth:
        raise NotOneSelect("opens a parenthesis and does not close it")
    return "".join(unquoted)
