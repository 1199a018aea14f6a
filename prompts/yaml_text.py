"""YAML that people write by hand: no key stands twice, and what is wrong is named by its line."""

from collections.abc import Sequence
from typing import Any

import yaml

__all__ = ["UniqueKeys", "line_of"]


class UniqueKeys(yaml.constructor.BaseConstructor):
    """Put before a loader of PyYAML: no key may stand twice in a mapping, where the first would be lost unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build the mapping.

        Raises:
            ConstructorError: A key stands twice; names the line of the second use.
        """
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        built: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return built


def line_of(text: str, path: Sequence[str | int], value: str | None = None) -> int:
    """Return the line, from 1, of a part of a YAML text.

    Args:
        text: The text.
        path: Keys and places in lists that lead to the part; followed as far as it leads.
        value: Words in the part, whose line is wanted instead.
    """
    node, line = yaml.compose(text, yaml.BaseLoader), 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = (node.value[step], node.value[step])
        else:
            found = None
        if found is None:
            return line
        line, node = found[0].start_mark.line + 1, found[1]
    if value is None or node is None:
        return line
    inside = enumerate(text.splitlines()[line - 1 : node.end_mark.line + 1], start=line)
    return next((number for number, words in inside if value in words), line)
