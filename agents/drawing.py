"""A drawing of a graph in plain characters: boxes in layers, joined by lines."""

from collections.abc import Sequence
from dataclasses import dataclass

from teachback.agents.graph import TeacherGraph

__all__ = ["Link", "draw", "links_of"]

GAP = 3  # columns between two neighbours of a layer
ENDS = {"__start__": "START", "__end__": "END"}

# A character by the sides at which lines leave it: up, down, left, right.
_LINES = {
    frozenset(sides): character
    for sides, character in (
        *(("ud", "│"), ("u", "│"), ("d", "│"), ("lr", "─"), ("dr", "┌"), ("dl", "┐"), ("ur", "└"), ("ul", "┘")),
        *(("ulr", "┴"), ("dlr", "┬"), ("udr", "├"), ("udl", "┤"), ("udlr", "┼")),
    )
}


@dataclass(frozen=True, slots=True)
class Link:
    """One edge of a graph.

    Attributes:
        source: The node that comes first.
        target: The node that follows.
        when: What the edge is taken on; empty when it is always taken.
    """

    source: str
    target: str
    when: str = ""


@dataclass(frozen=True, slots=True)
class _Spot:
    """A place in a layer: a node, or a line that passes by."""

    node: str = ""
    passing: Link | None = None
    when: str = ""

    @property
    def rows(self) -> list[str]:
        if self.passing:
            return ["│"] * 3
        if self.node in ENDS.values():
            return [self.node]
        edge = "─" * (len(self.node) + 2)
        return [f"┌{edge}┐", f"│ {self.node} │", f"└{edge}┘"]

    @property
    def width(self) -> int:
        return max(len(self.when), len(self.rows[0]))


def links_of(graph: TeacherGraph) -> list[Link]:
    """Return a graph's edges, in the order in which its nodes were added."""
    drawn = graph.get_graph()
    place = {node: number for number, node in enumerate(drawn.nodes)}
    edges = sorted(drawn.edges, key=lambda edge: (place[edge.source], place[edge.target]))
    names = {node: ENDS.get(node, node) for node in drawn.nodes}
    return [Link(names[edge.source], names[edge.target], str(edge.data or "")) for edge in edges]


def draw(links: Sequence[Link]) -> str:
    """Draw a graph top down: a node stands below all that lead to it, and a link past a layer is a line.

    Args:
        links: The edges of a graph without cycles.
    """
    layers, joins = _lay_out(links)
    width = max(sum(spot.width for spot in layer) + GAP * (len(layer) - 1) for layer in layers)
    centres = [_centres(layer, width) for layer in layers]
    lines: list[str] = []
    for number, layer in enumerate(layers):
        if number:
            lines += _join(joins[number - 1], centres[number - 1], centres[number])
        if any(spot.when for spot in layer):
            lines.append(_row({centres[number][spot]: spot.when or "│" for spot in layer}))
        lines += _boxes(layer, centres[number], above=number > 0, below=number + 1 < len(layers))
    return "\n".join(lines)


def _lay_out(links: Sequence[Link]) -> tuple[list[list[_Spot]], list[set[tuple[_Spot, _Spot]]]]:
    """Return the spots of each layer, and which spots of neighbouring layers are joined."""
    depth = _depths(links)
    layers: list[list[_Spot]] = [[] for _ in range(max(depth.values()) + 1)]
    joins: list[set[tuple[_Spot, _Spot]]] = [set() for _ in layers[1:]]
    entered = {link.target: link.when for link in links if depth[link.target] == depth[link.source] + 1}
    for node, layer in depth.items():
        layers[layer].append(_Spot(node, when=entered.get(node, "")))
    spots = {spot.node: spot for layer_spots in layers for spot in layer_spots}
    for link in links:
        last, first = spots[link.source], depth[link.source] + 1
        for layer in range(first, depth[link.target]):
            passing = _Spot(passing=link, when=link.when if layer == first else "")
            layers[layer].append(passing)
            joins[layer - 1].add((last, passing))
            last = passing
        joins[depth[link.target] - 1].add((last, spots[link.target]))
    return layers, joins


def _depths(links: Sequence[Link]) -> dict[str, int]:
    depth = {node: 0 for link in links for node in (link.source, link.target)}
    for _ in depth:
        for link in links:
            depth[link.target] = max(depth[link.target], depth[link.source] + 1)
    return depth


def _centres(layer: Sequence[_Spot], width: int) -> dict[_Spot, int]:
    if len(layer) == 1:
        return {layer[0]: width // 2}
    left = (width - sum(spot.width for spot in layer) - GAP * (len(layer) - 1)) // 2
    centres = {}
    for spot in layer:
        centres[spot] = left + spot.width // 2
        left += spot.width + GAP
    return centres


def _join(joined: set[tuple[_Spot, _Spot]], above: dict[_Spot, int], below: dict[_Spot, int]) -> list[str]:
    sides: dict[int, set[str]] = {}
    for upper, lower in joined:
        start, end = above[upper], below[lower]
        sides.setdefault(start, set()).add("u")
        sides.setdefault(end, set()).add("d")
        for column in range(min(start, end), max(start, end)):
            sides.setdefault(column, set()).add("r")
            sides.setdefault(column + 1, set()).add("l")
    return [_row({column: _LINES[frozenset(leaving)] for column, leaving in sides.items()})]


def _boxes(layer: Sequence[_Spot], centres: dict[_Spot, int], *, above: bool, below: bool) -> list[str]:
    height = max(len(spot.rows) for spot in layer)
    lines = []
    for number in range(height):
        cells = {}
        for spot in layer:
            text = spot.rows[number]
            middle = len(text) // 2
            mark = {0: "┴" if above else "", height - 1: "┬" if below else ""}.get(number, "")
            if mark and text[middle] == "─":
                text = text[:middle] + mark + text[middle + 1 :]
            cells[centres[spot]] = text
        lines.append(_row(cells))
    return lines


def _row(cells: dict[int, str]) -> str:
    line = ""
    for centre in sorted(cells):
        line = line.ljust(centre - len(cells[centre]) // 2) + cells[centre]
    return line
