"""Seven example queries as a pandas user writes them: only the columns that are needed, filters pushed into Parquet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["PANDAS"]

CELL = ["report_id", "task", "target"]


def _read(folder: Path, table: str, columns: list[str] | None = None, filters: Any = None) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{table}.parquet", columns=columns, filters=filters)


def report_votes(folder: Path, report_id: str) -> pd.DataFrame:
    """Every vote on a report."""
    chosen = [("report_id", "==", report_id), ("status", "!=", "unmentioned")]
    return _read(folder, "labels", None, chosen).merge(_read(folder, "labelers"), on="labeler_id")


def low_confidence(folder: Path, _: str) -> pd.DataFrame:
    """Labels that their labeler is least sure of."""
    columns = ["label_id", "report_id", "target", "status", "labeler_id", "confidence"]
    unsure = _read(folder, "labels", columns, [("confidence", "<", 0.6)])
    return unsure.sort_values(["confidence", "label_id"]).head(50).merge(_read(folder, "labelers"), on="labeler_id")


def bill_by_day(folder: Path, _: str) -> pd.DataFrame:
    """What was spent on which day, model and prompt."""
    calls = _read(folder, "llm_calls").merge(_read(folder, "prompts"), on="prompt_id", how="left")
    grouped = calls.groupby(["day", "model", "name", "agent"], as_index=False)
    bill = grouped.agg(
        calls=("model", "size"),
        failed=("error", "count"),
        sent=("prompt_tokens", "sum"),
        returned=("completion_tokens", "sum"),
        usd=("cost_usd", "sum"),
    )
    return bill.assign(usd_per_answer=bill["usd"] / (bill["calls"] - bill["failed"]))


def wrong_labels(folder: Path, _: str) -> pd.DataFrame:
    """Labels that contradict the curated one, the surest first."""
    cells = _judged(folder, ["label_id", "confidence", "quote"])
    wrong = (cells["status"] == "present") != (cells["status_curated"] == "present")
    found = cells[wrong & _spoken(cells)]
    return found.sort_values(["confidence", "target", "name", "label_id"], ascending=[False, True, True, True]).head(50)


def error_rates(folder: Path, _: str) -> pd.DataFrame:
    """How often each labeler is wrong."""
    cells = _judged(folder, [])
    is_present, should_be = cells["status"] == "present", cells["status_curated"] == "present"
    flags = {"judged": _spoken(cells), "claimed": is_present & ~should_be, "missed": should_be & ~is_present}
    return cells.assign(**flags).groupby(["name", "labeler_id"], as_index=False)[list(flags)].sum()


def calibration(folder: Path, _: str) -> pd.DataFrame:
    """Of labels of each confidence, how many are right."""
    cells = _judged(folder, ["confidence"], people=True).dropna(subset=["confidence"])
    bins = (cells["confidence"].clip(upper=0.999999) * 10).astype(int)
    cells = cells.assign(bin=bins, right=cells["status"] == cells["status_curated"])
    grouped = cells.groupby(["name", "labeler_id", "bin"], as_index=False)
    return grouped.agg(labels=("right", "size"), confidence=("confidence", "mean"), right=("right", "mean"))


def disagreements(folder: Path, _: str) -> pd.DataFrame:
    """Where a teacher's labelers disagree, finding by finding."""
    members = _read(folder, "members")
    members = members[members["seat"] == "labeler"].sort_values("place")
    columns = ["report_id", "target", "status", "scope", "labeler_id"]
    chosen = [("task", "==", "findings"), ("labeler_id", "in", list(members["labeler_id"]))]
    labels = _read(folder, "labels", columns, chosen)
    labels = labels[_spoken(labels)]
    curated = _read(folder, "curated", None, [("task", "==", "findings")])
    votes = [labels[labels["labeler_id"] == name] for name in members["labeler_id"]]
    found = [_pair(one, other, curated) for place, one in enumerate(votes) for other in votes[place + 1 :]]
    return pd.concat(found)


def _pair(one: pd.DataFrame, other: pd.DataFrame, curated: pd.DataFrame) -> pd.DataFrame:
    both = one.merge(other, on=["report_id", "target"], suffixes=("", "_other"))
    both = both.merge(curated, on=["report_id", "target"], how="left", suffixes=("", "_curated"))
    differ = both["status"] != both["status_other"]
    flags = {
        "differ": differ,
        "first_right": differ & (both["status"] == both["status_curated"]),
        "other_right": differ & (both["status_other"] == both["status_curated"]),
    }
    keys = ["target", "labeler_id", "labeler_id_other"]
    grouped = both.assign(targets=1, **flags).groupby(keys, as_index=False)
    return grouped[["targets", *flags]].sum()


def _judged(folder: Path, columns: list[str], *, people: bool = False) -> pd.DataFrame:
    labels = _read(folder, "labels", [*CELL, "status", "scope", "labeler_id", *columns], [("task", "==", "findings")])
    cells = labels.merge(_read(folder, "curated"), on=CELL, suffixes=("", "_curated"))
    cells = cells.merge(_read(folder, "labelers"), on="labeler_id")
    return cells if people else cells[cells["kind"] != "human"]


def _spoken(cells: pd.DataFrame) -> "pd.Series[bool]":
    # What a labeler does not mention in part of a report is silence.
    return (cells["status"] != "unmentioned") | (cells["scope"] == "full")


PANDAS: dict[str, Callable[[Path, str], pd.DataFrame]] = {
    "report_votes": report_votes,
    "low_confidence": low_confidence,
    "bill_by_day": bill_by_day,
    "wrong_labels": wrong_labels,
    "error_rates": error_rates,
    "calibration": calibration,
    "disagreements": disagreements,
}
