"""What was measured of one round, as tables that can be read: a line a finding, a column a measure."""

from collections.abc import Sequence
from typing import Any

from teachback.store.page.sight import Sight

__all__ = ["SplitFigures", "fetch_round_figures", "pivoted"]

# Column, its metric for one finding, that for all findings together, and that after calibration where it has another.
Column = tuple[str, str, str, str | None]
COLUMNS: tuple[Column, ...] = (
    ("F1", "f1", "micro_f1", None),
    ("precision", "precision", "precision", None),
    ("recall", "recall", "recall", None),
    ("F1 over the teacher's", "delta_f1", "delta_micro_f1", None),
    ("ECE, calibrated", "ece_before", "ece_before", "ece_after"),
    ("Brier, calibrated", "brier_before", "brier_before", "brier_after"),
)
SPLITS = ("test", "gate", "calibration")
MEANS = (("macro_f1", "macro-F1"), ("weighted_f1", "weighted F1"), ("delta_macro_f1", "macro-F1 over the teacher's"))
_FIGURES = """
SELECT split, target, metric, n, positives, "value", low, high, note FROM evaluations
WHERE round_id = ? AND task = 'findings'
"""

Figure = dict[str, Any]
SplitFigures = dict[str, Any]


def fetch_round_figures(sight: Sight, round_id: str) -> list[SplitFigures]:
    """Return a round's figures split by split, with their columns, lines, means and notes."""
    return pivoted(sight.rows(_FIGURES, [round_id]))


def pivoted(rows: Sequence[Figure]) -> list[SplitFigures]:
    """Return figures as tables, one a split, all findings first; columns without a figure are left out."""
    found = []
    for split in sorted({row["split"] for row in rows}, key=lambda name: (name not in SPLITS, _place(name), name)):
        cells = {(row["target"], row["metric"]): row for row in rows if row["split"] == split}
        targets = sorted({target for target, _ in cells} - {"all"})
        columns = [column for column in COLUMNS if any((target, column[1]) in cells for target in [*targets, "all"])]
        lines = [("all findings", _line(cells, "all", columns))]
        lines += [(target, _line(cells, target, columns)) for target in targets]
        found.append(
            {
                "split": split,
                "n": max(row["n"] for row in cells.values()),
                "columns": [name for name, *_ in columns],
                "lines": [line for line in lines if any(line[1])],
                "means": [(told, cells["all", metric]) for metric, told in MEANS if ("all", metric) in cells],
                "notes": sorted({row["note"] for row in cells.values() if row["note"]}),
            }
        )
    return found


def _line(
    cells: dict[tuple[str, str], Figure], target: str, columns: Sequence[Column]
) -> list[tuple[Figure, Figure | None] | None]:
    """Return a figure a column, with that after calibration where there is one."""
    found = [
        (cells.get((target, of_all if target == "all" else of_one)), after) for _, of_one, of_all, after in columns
    ]
    return [(figure, cells.get((target, after or ""))) if figure else None for figure, after in found]


def _place(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)
