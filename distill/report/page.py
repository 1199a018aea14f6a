"""One HTML file from a campaign's record and its store; it needs no network, no script and no other file."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, PackageLoader, StrictUndefined

from teachback import __version__
from teachback.distill.report.calibrated import calibrated
from teachback.distill.report.costs import add_up
from teachback.distill.report.drift import rate_drift
from teachback.distill.report.examples import Disagreements, fetch_disagreements
from teachback.distill.report.figures import FEW_POSITIVES, as_change, as_figure, direction, list_subjects
from teachback.distill.report.provenance import find_caveats, flatten, trace
from teachback.distill.report.teachers import tell_teachers
from teachback.distill.report.verdict import feedback_sentences, headline
from teachback.distill.report.views import finding_rows, forest_panels, round_views
from teachback.store.quality.f1 import paired_difference
from teachback.store.quality.statuses import fetch_curated, fetch_labeler

__all__ = ["write_report"]


def write_report(
    record: Mapping[str, Any],
    connection: duckdb.DuckDBPyConnection,
    out: Path,
    *,
    title: str = "Teachback campaign",
) -> Path:
    """Write a campaign's report.

    Args:
        record: What `Campaign.run` returned, or its `campaign.json` as read.
        connection: The store or a snapshot of it; only read.
        out: The HTML file to write, replaced whole; its folder is made when missing.
        title: Heading of the page.

    Returns:
        The file.
    """
    page = _environment().get_template("report.html.j2").render(title=title, **_context(record, connection))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, out)
    return out


def _context(record: Mapping[str, Any], connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    subjects = list_subjects(record)
    over_linear = _over_linear(record, connection)
    head = headline(record, over_linear)
    splits = [split for split in ("test", "gate") if any(subject.on(split) for subject in subjects)]
    columns = [s for role in ("teacher", "champion", "baseline") for s in subjects if s.role == role]
    columns = [s for s in columns if s.role != "baseline" or s.name == "linear"]
    corpus, teacher_id = record["settings"]["corpus"], record["teacher"]["teacher_id"]
    rounds = round_views(record)
    return {
        "record": record,
        "version": __version__,
        "few": FEW_POSITIVES,
        "caveats": find_caveats(connection, teacher_id, corpus),
        "head": head,
        "subjects": subjects,
        "splits": splits,
        "panels": forest_panels(subjects, splits),
        "columns": columns,
        "findings": {split: finding_rows(columns, split, head.champion) for split in splits},
        "rounds": rounds,
        "against_champion": _against_champion(record, connection),
        "drifts": [drift for split in splits if (drift := rate_drift(subjects, split))],
        "calibrated": calibrated(record),
        "costs": add_up(record),
        "champion_round": next((view for view in rounds if view.is_champion), None),
        "feedback": feedback_sentences(record),
        "teachers": tell_teachers(connection, teacher_id, corpus),
        "disagreements": _disagreements(record, connection),
        "provenance": trace(connection, record),
        "settings": flatten(record["settings"]),
    }


def _champion(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((round_ for round_ in record["rounds"] if round_["name"] == record["champion"]), None)


def _over_linear(record: Mapping[str, Any], connection: duckdb.DuckDBPyConnection) -> dict[str, Any] | None:
    """Compare the champion with the bag-of-words student on `test`, from their labels in the store."""
    champion = _champion(record)
    linear = next((round_ for round_ in record["rounds"] if round_["arm"] == "linear"), None)
    if champion is None or linear is None or champion["arm"] in ("base", "linear"):
        return None
    return _on_test(record, connection, linear, champion)


def _against_champion(record: Mapping[str, Any], connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    """Return by name each other round's paired change over the champion on `test`; the base's labels are not kept."""
    champion = _champion(record)
    if champion is None or champion["arm"] == "base":
        return {}
    others = [round_ for round_ in record["rounds"] if round_["arm"] != "base" and round_ is not champion]
    changes = {round_["name"]: _on_test(record, connection, champion, round_) for round_ in others}
    return {name: change for name, change in changes.items() if change is not None}


def _on_test(
    record: Mapping[str, Any], connection: duckdb.DuckDBPyConnection, a: Mapping[str, Any], b: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return what round b gains over round a on the test reports that both labelled."""
    if a["test"] is None or b["test"] is None:
        return None
    truth = fetch_curated(connection, "test", record["settings"]["corpus"])
    codes = [fetch_labeler(connection, round_["labeler_id"], truth.report_ids) for round_ in (a, b)]
    both = (codes[0] >= 0).any(axis=1) & (codes[1] >= 0).any(axis=1)
    if not both.any():
        return None
    seed = record["settings"]["seed"]
    paired = paired_difference(truth.codes[both], codes[0][both], codes[1][both], truth.clusters[both], seed=seed)
    return paired.as_dict()


def _disagreements(record: Mapping[str, Any], connection: duckdb.DuckDBPyConnection) -> Disagreements | None:
    """Return None where the champion's labels are not in the store: the base model's are not kept."""
    champion = _champion(record)
    if champion is None or champion["arm"] == "base" or champion["test"] is None:
        return None
    return fetch_disagreements(
        connection,
        record["teacher"]["teacher_id"],
        champion["labeler_id"],
        record["campaign_id"],
        corpus=record["settings"]["corpus"],
        scope=record["settings"]["scope"],
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("teachback.distill.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "figure": lambda figure: _typeset(as_figure(figure)),
        "change": lambda figure: _typeset(as_change(figure)),
        "direction": direction,
        "count": lambda number: "-" if number is None else f"{number:,}",
        "share": lambda value: "-" if value is None else f"{100 * value:.1f}\u00a0%",
        "seconds": _seconds,
        "typeset": _typeset,
    }
    environment.filters.update(filters)
    return environment


def _typeset(text: str) -> str:
    """Put a true minus before numbers, and keep an interval in one piece."""
    for digit in "0123456789":
        text = text.replace(f" -{digit}", f" \u2212{digit}").replace(f"[-{digit}", f"[\u2212{digit}")
    if text[:1] == "-" and text[1:2].isdigit():
        text = f"\u2212{text[1:]}"
    return text


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
