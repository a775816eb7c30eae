"""Whether a text is one SELECT that stays within the parentheses it is put into.

The guard that counts is the read-only session. This one sees to it that a query cannot close the parentheses around it
and go on with a statement of its own, which on SQL Server needs not even a semicolon. It is strict where dialects
differ in how they quote: what they might read differently is refused, not interpreted.
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
    _stay_within_parentheses(query, {**_QUOTES, **_MORE_QUOTES[dialect]})
    return query.strip()


def _stay_within_parentheses(query: str, quotes: dict[str, str]) -> None:
    depth, closing = 0, ""
    for character in query:
        if closing:
            # A doubled quote closes and opens again at once, which comes to the same here.
            closing = "" if character == closing else closing
        elif character in quotes:
            closing = quotes[character]
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth < 0:
                raise NotOneSelect("closes a parenthesis that it did not open")
    if closing:
        raise NotOneSelect(f"opens a quote and does not close it with {closing}")
    if depth:
        raise NotOneSelect("opens a parenthesis and does not close it")
