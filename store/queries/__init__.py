"""Example queries: what auditors ask, one SQL file a question, with a header that says what it answers.

    -- title: Labels that are wrong, and who gave them
    -- question: Which labels contradict the curated one, the surest first?
    -- waits: no
    -- param most = 50: how many to list
    SELECT ... LIMIT $most

`waits` tells whether a person waits for the answer, so that it must come at once in a store of any size. A parameter's
default is a number or a quoted text. Values are written into the query as literals: what is asked can be copied.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from teachback.errors import SettingError

__all__ = ["ExampleQuery", "Parameter", "example_queries", "find_query"]

_HEADER = re.compile(r"-- (title|question|waits): (.+)")
_PARAMETER = re.compile(r"-- param (\w+) = ('(?:[^']|'')*'|-?[\d.]+): (.+)")
_IN_HEAD = re.compile(r"-- (title|question|waits|param)\b")
_PLACE = re.compile(r"'(?:[^']|'')*'|\$(\w+)")  # texts are passed over


@dataclass(frozen=True, slots=True)
class Parameter:
    """A place in a query that the asker may fill.

    Attributes:
        name: Its name; `$name` in the SQL.
        default: The literal that stands there when it is left out.
        meaning: What it is.
    """

    name: str
    default: str
    meaning: str

    @property
    def is_number(self) -> bool:
        """Whether it takes a number; else it takes a text."""
        return not self.default.startswith("'")

    def literal(self, value: str) -> str:
        """Return a value as an SQL literal.

        Raises:
            SettingError: It should be a number and is none.
        """
        if not self.is_number:
            return "'" + value.replace("'", "''") + "'"
        if not re.fullmatch(r"-?\d+(\.\d+)?", value):
            raise SettingError(f"{self.name}={value}: {value!r} is no number", f"give one, such as {self.default}")
        return value


@dataclass(frozen=True, slots=True)
class ExampleQuery:
    """A question with its SQL.

    Attributes:
        name: Its name, that of its file.
        title: What it shows, in a few words.
        question: What it answers, as an auditor asks it.
        waits: Whether a person waits for the answer.
        parameters: The places that may be filled.
        template: The SQL, with `$name` places.
    """

    name: str
    title: str
    question: str
    waits: bool
    parameters: tuple[Parameter, ...]
    template: str

    def sql(self, values: Mapping[str, str] | None = None) -> str:
        """Return the SQL with its places filled.

        Args:
            values: Parameter to value, as typed; defaults stand for what is left out.

        Raises:
            SettingError: There is no such parameter, or a value is no number where one is needed.
        """
        given = dict(values or {})
        if unknown := set(given) - {parameter.name for parameter in self.parameters}:
            takes = ", ".join(parameter.name for parameter in self.parameters) or "none"
            raise SettingError(f"{self.name} has no parameter {', '.join(sorted(unknown))}", f"it takes {takes}")
        literals = {p.name: p.literal(given[p.name]) if p.name in given else p.default for p in self.parameters}
        return _PLACE.sub(lambda match: literals[match[1]] if match[1] else match[0], self.template)


@cache
def example_queries() -> tuple[ExampleQuery, ...]:
    """Return all example queries, in the order of their names."""
    folder = resources.files("teachback.store.queries")
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return tuple(parse_query(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8")) for entry in files)


def find_query(name: str) -> ExampleQuery:
    """Return the example query of a name.

    Raises:
        SettingError: There is none.
    """
    for query in example_queries():
        if query.name == name:
            return query
    near = [query.name for query in example_queries() if name[:4] in query.name]
    meant = f"did you mean {', '.join(near)}? " if near else ""
    raise SettingError(f"there is no example query {name!r}", f"{meant}`teachback sql STORE --examples` lists them")


def parse_query(name: str, text: str) -> ExampleQuery:
    """Read a query file."""
    lines = text.splitlines()
    head = [line for line in lines if _IN_HEAD.match(line)]
    headers = {match[1]: match[2] for line in head if (match := _HEADER.fullmatch(line))}
    parameters = tuple(Parameter(*match.groups()) for line in head if (match := _PARAMETER.fullmatch(line)))
    return ExampleQuery(
        name=name,
        title=headers["title"],
        question=headers["question"],
        waits=headers["waits"] == "yes",
        parameters=parameters,
        template="\n".join(line for line in lines if not _IN_HEAD.match(line)).strip(),
    )
