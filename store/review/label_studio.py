"""Curated labels from Label Studio's JSON export of tasks that `teachback export --format label-studio` wrote."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from teachback.errors import InputError, SettingError
from teachback.store.corpora.imported import Skipped
from teachback.store.exports.label_studio import CONTROLS, DISEASES, EVIDENCE, NOTE
from teachback.store.label import STATUSES, Evidence, Status, Task
from teachback.store.review.decisions import Decision
from teachback.store.review.incoming import same_review_id

__all__ = ["read_label_studio"]

_FINDINGS = {control: finding for finding, control in CONTROLS.items()}
_DISEASE = re.compile(
    r"(?P<name>.+?)(?: \((?P<code>[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?)\))?"
)  # "pleural effusion (J90)"
Annotation = Mapping[str, Any]


def read_label_studio(path: Path, reviewer: str | None = None) -> Iterator[tuple[Decision, Skipped] | Skipped]:
    """Yield a decision for each finding that an annotation gives a status, or why something is left out.

    Of a task that several people annotated, each one's decisions are taken. Cancelled (skipped) annotations, and tasks
    without any, are left out and counted. Evidence that was marked for a finding goes with its label.

    Args:
        path: Label Studio's JSON export.
        reviewer: Whose decisions they are; what the annotations say (`completed_by`) when not given.

    Raises:
        InputError: The file is no such export.
    """
    for number, task in enumerate(_tasks(path), start=1):
        about = task.get("data") if isinstance(task, dict) else None
        report_id = about.get("report_id") if isinstance(about, dict) else None
        if not isinstance(about, dict) or not isinstance(report_id, str):
            yield Skipped(path.name, number, "task without data.report_id", kind="labels")
            continue
        where = Skipped(path.name, number, "", report_id=report_id, kind="labels")
        annotations = [entry for entry in task.get("annotations") or [] if isinstance(entry, dict)]
        if not annotations:
            yield Skipped(path.name, number, "task that nobody annotated", "", report_id, "labels")
        for annotation in annotations:
            if annotation.get("was_cancelled"):
                yield Skipped(path.name, number, "annotation that was skipped", "", report_id, "labels")
                continue
            try:
                decisions = _decisions(report_id, about, annotation, reviewer)
            except (ValueError, SettingError, KeyError, TypeError) as error:
                yield Skipped(path.name, number, "annotation that cannot be read", str(error), report_id, "labels")
                continue
            if not decisions:
                yield Skipped(path.name, number, "annotation without a status", "", report_id, "labels")
            yield from ((decision, where) for decision in decisions)


def _tasks(path: Path) -> list[Any]:
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "name Label Studio's JSON export") from None
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}", "export from Label Studio as JSON") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
        raise InputError(f"{path} is no list of tasks", "export from Label Studio as JSON (not JSON-MIN)")
    return tasks


def _decisions(
    report_id: str, about: Mapping[str, Any], annotation: Annotation, reviewer: str | None
) -> list[Decision]:
    regions = [region for region in annotation.get("result") or [] if isinstance(region, dict)]
    evidence = _evidence(about, regions)
    notes = [text for region in regions if region.get("from_name") == NOTE for text in _listed(region, "text")]
    dated = annotation.get("updated_at") or annotation.get("created_at")
    moment = datetime.fromisoformat(dated) if dated else datetime.now(UTC)
    seconds = annotation.get("lead_time")
    decided = {
        finding: choices[0]
        for region in regions
        if (finding := _FINDINGS.get(region.get("from_name", ""))) and (choices := _listed(region, "choices"))
    }
    unknown = [status for status in decided.values() if status not in STATUSES]
    if unknown:
        raise ValueError(f"status {unknown[0]!r} is not one of {', '.join(STATUSES)}")
    targets: list[tuple[Task, str, str, str | None]] = [
        *(("findings", finding, status, None) for finding, status in decided.items()),
        *(("diseases", name, "present", code) for name, code in _diseases(regions)),
    ]
    return [
        same_review_id(
            Decision(
                report_id=report_id,
                reviewer=reviewer or _who(annotation.get("completed_by")),
                action="set",
                task=task,
                target=target,
                status=cast(Status, status),
                icd10=code,
                note="\n".join(notes) or None,
                why="label-studio",
                seconds=float(seconds) / len(targets) if isinstance(seconds, int | float) else None,
                evidence=tuple(evidence.get(target, ())),
                decided_at=moment if moment.tzinfo else moment.replace(tzinfo=UTC),
            ),
            dated=bool(dated),
        )
        for task, target, status, code in targets
    ]


def _diseases(regions: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    lines = [
        line
        for region in regions
        if region.get("from_name") == DISEASES
        for text in _listed(region, "text")
        for line in text.splitlines()
        if line.strip()
    ]
    found = [match for line in lines if (match := _DISEASE.fullmatch(" ".join(line.split())))]
    return [(match["name"].lower(), match["code"]) for match in found]


def _who(completed_by: Any) -> str:
    if isinstance(completed_by, dict):
        full = " ".join(str(completed_by.get(part) or "") for part in ("first_name", "last_name")).strip()
        completed_by = completed_by.get("email") or full or completed_by.get("id")
    if completed_by is None:
        raise ValueError("it does not say who annotated: use --reviewer")
    return completed_by if isinstance(completed_by, str) else f"label-studio-{completed_by}"


def _evidence(about: Mapping[str, Any], regions: list[dict[str, Any]]) -> dict[str, list[Evidence]]:
    """Return finding to the spans marked for it, in the sections' own offsets."""
    sections = [place for place in about.get("sections") or [] if isinstance(place, dict)]
    found: dict[str, list[Evidence]] = {}
    for region in regions:
        value = region.get("value")
        if region.get("from_name") != EVIDENCE or not isinstance(value, dict):
            continue
        start, end = int(value["start"]), int(value["end"])
        inside = next((place for place in sections if place["start"] <= start and end <= place["end"]), None)
        if inside is None:
            continue  # it reaches over a heading
        quote = str(about.get("text", ""))[start:end]
        span = Evidence(inside["name"], start - inside["start"], end - inside["start"], quote)
        for finding in _listed(region, "labels"):
            found.setdefault(finding, []).append(span)
    return found


def _listed(region: Mapping[str, Any], key: str) -> list[str]:
    value = region.get("value")
    listed = value.get(key) if isinstance(value, dict) else None
    return [str(entry) for entry in listed] if isinstance(listed, list) else []
