"""The sections of a MIMIC-CXR report, by the rules of MIT-LCP's `create_section_files.py`.

Johnson et al. 2019, doi:10.1038/s41597-019-0322-0. A heading is a line that starts with capitals and a colon. Of
several sections of one kind the last that has text counts. What a labeler reads is the impression, else the findings,
else what follows the first blank line of the last section, else the comparison (where some dictate the whole report).

Departures: misspelt headings are recognised by likeness, not by a list; the few hundred studies that MIT-LCP cut by
hand follow the general rule; lines are joined to paragraphs.
"""

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["split_sections"]

# A heading's line: capitals with spaces, commas, slashes, hyphens or brackets, then a colon and space or nothing.
_HEADING = re.compile(r"^ *([A-Z][A-Z ()/,-]*):(?=\s|$)(.*)$")

# Headings as written, in lower case, to the section that they open.
_NAMES = {
    "impression": "impression",
    "conclusion": "impression",
    "conclusions": "impression",
    "opinion": "impression",
    "findings and impression": "impression",
    "findings/impression": "impression",
    "findings": "findings",
    "indication": "indication",
    "clinical indication": "indication",
    "indications": "indication",
    "reason for exam": "indication",
    "reason for examination": "indication",
    "reason for study": "indication",
    "history": "history",
    "clinical information": "history",
    "comparison": "comparison",
    "comparisons": "comparison",
    "reference exam": "comparison",
    "technique": "technique",
    "examination": "examination",
    "exam": "examination",
    "type of examination": "examination",
    "addendum": "addendum",
    "notification": "notification",
    "recommendation": "recommendations",
    "recommendations": "recommendations",
    "wet read": "wet read",
}
_INSIDE = ("impression", "findings", "history", "comparison", "addendum")  # `PRELIMINARY IMPRESSION`, `OLD HISTORY`
_LIKENESS = 0.8  # of difflib, for a misspelt heading: `IMPRESSOIN`, `FINIDNGS`, `COMPARISION`
_MISSPELT = ("impression", "findings", "indication", "comparison", "conclusion")

# A heading that names the views taken, such as `CHEST, PA AND LATERAL`, opens the findings.
_VIEWS = re.compile(r"\b(chest|portable|frontal|lateral|upright|ribs?|bone windows?|(one|two|single|pa|ap) views?)\b")

_ITEM = re.compile(r"\s*(\d+[.)]|[-*•])\s")


@dataclass(frozen=True, slots=True)
class _Piece:
    name: str
    lines: tuple[str, ...]

    @property
    def filled(self) -> bool:
        return any(line.strip() for line in self.lines)


def split_sections(text: str) -> dict[str, str]:
    """Split a report as MIMIC-CXR has it into Teachback's sections.

    Args:
        text: The whole file.

    Returns:
        `indication`, `comparison`, `findings` and `impression` as far as the report has them. Where it has neither
        findings nor impression, `text` holds what MIT-LCP's rule takes instead, as one paragraph; it is missing
        when the rule takes nothing.
    """
    pieces = _pieces(text)
    tail: list[str] = []
    if not any(piece.name in ("findings", "impression") and piece.filled for piece in pieces):
        last, rest = _at_blank(pieces[-1].lines)
        if tail := _paragraphs(rest):
            pieces[-1] = _Piece(pieces[-1].name, last)
        else:
            tail = _paragraphs(_last(pieces, "comparison") or ())
    sections: dict[str, str] = {}
    for name in ("indication", "comparison", "findings", "impression"):
        lines = _last(pieces, name) or (_last(pieces, "history") if name == "indication" else None)
        if lines:
            sections[name] = "\n\n".join(_paragraphs(lines))
    if tail:
        sections["text"] = "\n".join(tail)  # one block, so that the scope `mimic` takes it whole
    return sections


def _pieces(text: str) -> list[_Piece]:
    found: list[tuple[str, list[str]]] = [("preamble", [])]
    bare = False  # a heading that stands alone owns the next line, whatever that looks like
    for line in text.strip("\n").splitlines():
        heading = None if bare else _HEADING.match(line)
        bare = False
        if heading:
            rest = heading.group(2)
            found.append((_section(heading.group(1)), [rest] if rest.strip() else []))
            bare = not rest
        else:
            found[-1][1].append(line)
    pieces = [_Piece(name, tuple(lines)) for name, lines in found]
    kept = [piece for piece in pieces if piece.filled or piece.name not in ("findings", "impression")]
    return kept or pieces


@lru_cache(maxsize=4096)
def _section(heading: str) -> str:
    name = " ".join(re.sub(r"\s*/\s*", "/", re.sub(r"\(.*?\)", "", heading.lower())).split())
    if name in _NAMES:
        return _NAMES[name]
    for inside in _INSIDE:
        if inside in name:
            return inside
    if close := difflib.get_close_matches(name, _MISSPELT, n=1, cutoff=_LIKENESS):
        return _NAMES[close[0]]
    return "findings" if _VIEWS.search(name) else name


def _last(pieces: list[_Piece], name: str) -> tuple[str, ...] | None:
    return next((piece.lines for piece in reversed(pieces) if piece.name == name and piece.filled), None)


def _at_blank(lines: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lines before the first blank line, and those behind it."""
    blank = next((number for number, line in enumerate(lines) if not line.strip()), len(lines))
    return lines[:blank], lines[blank + 1 :]


def _paragraphs(lines: tuple[str, ...]) -> list[str]:
    """Join lines to paragraphs; the items of a list keep their lines."""
    paragraphs: list[str] = []
    begin = True
    for line in lines:
        words = " ".join(line.split())
        if not words:
            begin = True
        elif begin:
            paragraphs.append(words)
            begin = False
        else:
            paragraphs[-1] += ("\n" if _ITEM.match(line) else " ") + words
    return paragraphs
