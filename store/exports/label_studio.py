"""Label Studio: tasks with every labeler's labels as pre-annotations, and the labeling config that shows them.

A report is one text, its sections headed by their names, so that evidence can be marked in it; `data.sections` says
where each section's own text stands, and by it spans find their way back (`teachback.store.review.label_studio`).
"""

import json
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from teachback.store.exports.chosen import Chosen
from teachback.store.exports.labelled import Labelled, labelled_reports
from teachback.store.exports.written import Exported, Tick
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import SECTIONS, Report

__all__ = ["CONTROLS", "DISEASES", "EVIDENCE", "NOTE", "TEXT", "labeling_config", "layout", "write_label_studio"]

TEXT, EVIDENCE, NOTE, DISEASES = "report", "evidence", "note", "diseases"
# A finding's control in the config.
CONTROLS: dict[str, str] = {finding: finding.lower().replace(" ", "_") for finding in FINDINGS}


def write_label_studio(chosen: Chosen, path: Path, tick: Tick) -> Exported:
    """Write a folder: `tasks.json`, to be imported, and `config.xml`, to be pasted as the labeling interface."""
    path.mkdir()
    (path / "config.xml").write_text(labeling_config(), encoding="utf-8")
    tasks = spans_lost = 0
    with (path / "tasks.json").open("w", encoding="utf-8") as file:
        file.write("[")
        for labelled in labelled_reports(chosen, tick):
            task, lost = _task(labelled)
            file.write(("," if tasks else "") + "\n" + json.dumps(task, ensure_ascii=False))
            tasks, spans_lost = tasks + 1, spans_lost + lost
        file.write("\n]\n")
    exported = Exported({"tasks.json": tasks, "config.xml": 1}, tasks)
    if spans_lost:
        exported.notes.append(f"{spans_lost:,} evidence quotes do not stand in their report and are not marked")
    return exported


def labeling_config() -> str:
    """Return the labeling interface: the report, evidence to mark in it, a choice a finding, diseases and a note."""
    lines = ["<View>", f'  <Labels name="{EVIDENCE}" toName="{TEXT}">']
    lines += [f"    <Label value={quoteattr(finding)}/>" for finding in FINDINGS]
    lines += ["  </Labels>", f'  <Text name="{TEXT}" value="$text"/>']
    for finding, control in CONTROLS.items():
        lines += [f"  <Header value={quoteattr(finding)}/>"]
        lines += [f'  <Choices name="{control}" toName="{TEXT}" choice="single-radio" showInline="true">']
        lines += [f'    <Choice value="{status}"/>' for status in STATUSES]
        lines += ["  </Choices>"]
    lines += ['  <Header value="Diseases, one a line, with code"/>']
    lines += [f'  <TextArea name="{DISEASES}" toName="{TEXT}" rows="3" editable="true"/>']
    lines += ['  <Header value="Note"/>', f'  <TextArea name="{NOTE}" toName="{TEXT}" rows="2" editable="true"/>']
    return "\n".join([*lines, "</View>", ""])


def layout(report: Report) -> tuple[str, list[dict[str, Any]]]:
    """Return a report as one text, and where each section's own text stands in it: `name`, `start`, `end`."""
    text, places = "", []
    for name in SECTIONS:
        own = report.sections.get(name)
        if own is None:
            continue
        text += f"{chr(10) * 2 if text else ''}{name.upper()}:\n"
        places.append({"name": name, "start": len(text), "end": len(text) + len(own)})
        text += own
    return text, places


def _task(labelled: Labelled) -> tuple[dict[str, Any], int]:
    text, places = layout(labelled.report)
    starts = {place["name"]: place["start"] for place in places}
    predictions = []
    lost = 0
    for labeler, labels in groupby(sorted(labelled.labels, key=itemgetter("labeler")), key=itemgetter("labeler")):
        own = list(labels)
        regions = [region for label in own for region in _regions(label, starts, text)]
        lost += sum(len(label["evidence"] or []) for label in own if label["task"] == "findings")
        lost -= sum(region["type"] == "labels" for region in regions)
        said = [label["confidence"] for label in own if label["confidence"] is not None]
        listed = [_disease(label) for label in own if label["task"] == "diseases" and label["status"] == "present"]
        if listed:
            regions.append({"from_name": DISEASES, "to_name": TEXT, "type": "textarea", "value": {"text": listed}})
        predictions.append(
            {
                "model_version": labeler,
                **({"score": round(min(said), 4)} if said else {}),
                "result": [{"id": f"{place}", **region} for place, region in enumerate(regions)],
            }
        )
    task = {
        "data": {
            "report_id": labelled.report.report_id,
            "corpus": labelled.report.corpus,
            "split": labelled.split,
            "text": text,
            "sections": places,
        },
        "predictions": predictions,
    }
    return task, lost


def _regions(label: dict[str, Any], starts: dict[str, int], text: str) -> list[dict[str, Any]]:
    if label["task"] != "findings":
        return []
    finding = label["target"]
    regions: list[dict[str, Any]] = [
        {
            "from_name": CONTROLS[finding],
            "to_name": TEXT,
            "type": "choices",
            "value": {"choices": [label["status"]]},
            **({} if label["confidence"] is None else {"score": round(label["confidence"], 4)}),
        }
    ]
    for span in label["evidence"] or []:
        if span["start"] < 0 or span["section"] not in starts:
            continue
        start = starts[span["section"]] + span["start"]
        end = starts[span["section"]] + span["end"]
        value = {"start": start, "end": end, "text": text[start:end], "labels": [finding]}
        regions.append({"from_name": EVIDENCE, "to_name": TEXT, "type": "labels", "value": value})
    return regions


def _disease(label: dict[str, Any]) -> str:
    return f"{label['target']} ({label['icd10']})" if label["icd10"] else str(label["target"])
