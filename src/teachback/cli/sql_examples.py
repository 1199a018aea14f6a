"""The example queries of `teachback sql`: listed, shown, and filled with what was asked."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from teachback.errors import SettingError

if TYPE_CHECKING:
    from rich.console import Console

    from teachback.store.queries import ExampleQuery

__all__ = ["example_sql", "list_examples", "print_example"]


def example_sql(name: str, given: Sequence[str]) -> str:
    """Return the SQL of an example query.

    Args:
        name: Its name.
        given: Parameters as `key=value`.

    Raises:
        SettingError: There is no such query or parameter.
    """
    from teachback.store.queries import find_query

    query = find_query(name)
    values = {}
    for entry in given:
        key, separator, value = entry.partition("=")
        if not separator:
            raise SettingError(f"-p {entry!r} is no key=value", _takes(query))
        values[key] = value
    filled = query.sql(values)
    print(f"{query.title}: {query.question}", file=sys.stderr)
    return filled


def print_example(name: str, sql: str) -> None:
    """Print the SQL of an example query, ready to be edited, and below it what can be filled in."""
    from teachback.store.queries import find_query

    print(sql)
    if find_query(name).parameters:
        print(_takes(find_query(name)), file=sys.stderr)


def list_examples(console: "Console") -> None:
    """Print every example query: its name, what it answers, and its parameters."""
    from rich.padding import Padding
    from rich.text import Text

    from teachback.store.queries import example_queries

    for query in example_queries():
        filled = [f"-p {parameter.name}=..." for parameter in query.parameters]
        console.print(Text.assemble((query.name, "bold"), (f"  {' '.join(filled)}" if filled else "", "dim")))
        console.print(Padding(Text(query.question), (0, 0, 0, 2)))
    console.print(
        "\nRun one with `teachback sql STORE --example NAME`; --show prints its SQL, -p key=value fills a parameter.",
        markup=False,
    )


def _takes(query: "ExampleQuery") -> str:
    if not query.parameters:
        return f"{query.name} takes no parameter"
    lines = (f"  -p {p.name}={p.default.strip(chr(39)) or '...'}  {p.meaning}" for p in query.parameters)
    return "\n".join([f"{query.name} takes", *lines])
