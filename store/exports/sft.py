"""Chat rows for supervised fine-tuning: what a labeler is asked about a report, and the answer that its labels make.

The rows are TRL's conversational prompt-completion form. They use a teacher's prompt file, so a model that is trained
on them can be served anywhere and asked by the `llm` labeler with that same prompt.
"""

import json
from pathlib import Path
from typing import Any, cast

from teachback.errors import SettingError
from teachback.prompts import Prompt, load_prompt
from teachback.store.exports.chosen import EVERYBODY, Chosen
from teachback.store.exports.labelled import Labelled, labelled_reports
from teachback.store.exports.written import Exported, Tick
from teachback.store.label import FINDINGS, TASKS, Task
from teachback.store.report import Scope

__all__ = ["write_sft"]

_PROMPTS = {("findings", "diseases"): "terse", ("findings",): "findings", ("diseases",): "diseases"}
NOT_ALL = "not all 13 findings are labelled"
NO_TEXT = "no text in the scope of its labels"


def write_sft(chosen: Chosen, path: Path, tick: Tick) -> Exported:
    """Write a JSON line a report: `prompt` and `completion` as messages, and where it comes from.

    A report shows the text that its labels were made from: the impression alone where all its labels read no more.

    Raises:
        SettingError: Several labelers were chosen.
    """
    if chosen.choice.labels == EVERYBODY:
        raise SettingError("a chat row has one answer", "choose whose with --labels")
    tasks = _tasks(chosen)
    prompt = load_prompt("llm_labeler", _PROMPTS[tasks])
    exported = Exported({"": 0})
    with path.open("w", encoding="utf-8") as file:
        for labelled in labelled_reports(chosen, tick):
            row, why = _row(labelled, prompt, tasks)
            if row is None:
                exported.left_out[why] = exported.left_out.get(why, 0) + 1
                continue
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            exported.files[""] += 1
    exported.reports = exported.files[""]
    exported.notes.append(f"asked with prompt llm_labeler/{prompt.name} ({prompt.prompt_id})")
    return exported


def _tasks(chosen: Chosen) -> tuple[Task, ...]:
    """Return what the rows ask for: diseases only where somebody listed some, else silence would read as health."""
    found = {task for (task,) in chosen.cursor().execute("SELECT DISTINCT task FROM chosen_labels").fetchall()}
    return cast(tuple[Task, ...], tuple(task for task in TASKS if task in found))


def _row(labelled: Labelled, prompt: Prompt, tasks: tuple[Task, ...]) -> tuple[dict[str, Any] | None, str]:
    findings = labelled.findings()
    if "findings" in tasks and len(findings) < len(FINDINGS):
        return None, NOT_ALL
    scope = _scope(labelled)
    text = labelled.report.text(scope)
    if not text:
        return None, NO_TEXT
    answer: dict[str, Any] = {}
    if "findings" in tasks:
        answer["findings"] = {
            name: {"status": findings[name]["status"], "evidence": _quote(findings[name])} for name in FINDINGS
        }
    if "diseases" in tasks:
        answer["diseases"] = [
            {"name": label["target"], "icd10": label["icd10"] or "", "evidence": _quote(label)}
            for label in labelled.diseases()
            if label["status"] == "present"
        ]
    said = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    return {
        "prompt": prompt.render(report=text, examples=[], findings=FINDINGS),
        "completion": [{"role": "assistant", "content": said}],
        "report_id": labelled.report.report_id,
        "split": labelled.split,
        "labelers": labelled.labelers(),
        "scope": scope,
    }, ""


def _scope(labelled: Labelled) -> Scope:
    scopes = {label["scope"] for label in labelled.labels}
    return cast(Scope, scopes.pop()) if len(scopes) == 1 else "full"


def _quote(label: dict[str, Any]) -> str:
    spans = label["evidence"] or []
    return str(spans[0]["quote"]) if spans else ""
