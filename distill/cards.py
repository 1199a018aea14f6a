"""Model cards for a campaign's adapters and a dataset card for what they were trained on, as the hub reads them.

A card says what a stranger must know before using an adapter: whose labels it learned (a stand-in's, if it was one),
how it was judged and by how much it may be off, and what it is not for. It claims nothing that the record and the store
do not hold. The licence is left to whoever publishes: that of the base, of the corpora and of their labels bind it.

The rows that were trained on lie beside the dataset's card, without the reports' text: text may not go everywhere.
"""

import filecmp
import json
import os
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import yaml

from teachback import __version__
from teachback.distill.artefacts import load_json
from teachback.distill.prompt import load_student_prompt
from teachback.distill.report.costs import add_up
from teachback.distill.report.figures import FEW_POSITIVES, as_change, as_figure, list_subjects
from teachback.distill.report.gates import gate_view
from teachback.distill.report.provenance import Caveats, find_caveats
from teachback.store.exports.written import sql_path
from teachback.store.identity import content_id
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["DATASET", "ROWS", "write_cards", "write_dataset_card", "write_model_card"]

CARD = "README.md"
DATASET = "dataset"  # folder of the rows and their card, in the campaign's folder
ROWS = "training_rows.parquet"
_MEMBERS = """
    SELECT b.name, b.kind, coalesce(b.model, '') AS model, coalesce(p.name, '') AS prompt,
        coalesce(b.prompt_id, '') AS prompt_id
    FROM teacher_members m JOIN labelers b USING (labeler_id) LEFT JOIN prompts p ON p.prompt_id = b.prompt_id
    WHERE m.teacher_id = ? ORDER BY m.place
"""
_TAUGHT = """
    SELECT source, task, scope, status, count(*) AS n, count(DISTINCT report_id) AS reports
    FROM training_rows WHERE round_id = ? AND selected GROUP BY ALL ORDER BY source, task, scope, n DESC
"""
_ROWS = """
    SELECT r."round", r.arm, w.report_id, x.corpus, w.task, w.target, l.icd10, w.status, w.scope, w.source,
        b.name AS labeler, l.confidence, w.weight, w.selected, w.reason, w.label_id
    FROM rounds r JOIN training_rows w USING (round_id) JOIN reports x USING (report_id)
    LEFT JOIN labels l ON l.label_id = w.label_id LEFT JOIN labelers b ON b.labeler_id = l.labeler_id
    WHERE r.campaign_id = $campaign AND r.adapter_hash IS NOT NULL
"""
_CORPORA = """
    SELECT r.corpus AS name, count(*) AS reports, any_value(k.licence) AS licence, any_value(k.egress) AS egress
    FROM reports r LEFT JOIN corpora k USING (corpus) WHERE $corpus IS NULL OR r.corpus = $corpus
    GROUP BY r.corpus ORDER BY r.corpus
"""
_ORDER = 'ORDER BY "round", arm, report_id, task, target, label_id'


def write_cards(record: Mapping[str, Any], connection: duckdb.DuckDBPyConnection, folder: Path) -> list[Path]:
    """Write a card into every adapter of a campaign, and the rows that they were trained on with theirs.

    Args:
        record: What `Campaign.run` returned, or its `campaign.json` as read.
        connection: The store or a snapshot of it; only read.
        folder: The campaign's folder, wherever it lies now.

    Returns:
        The cards, adapters' first; none where nothing was trained.
    """
    written = []
    for round_ in record["rounds"]:
        adapter = folder / Path(round_["folder"]).name / "adapter"
        if round_["training"].get("adapter_hash") and adapter.is_dir():
            written.append(write_model_card(record, round_, connection, adapter))
    return [*written, write_dataset_card(record, connection, folder / DATASET)] if written else []


def write_model_card(
    record: Mapping[str, Any], round_: Mapping[str, Any], connection: duckdb.DuckDBPyConnection, adapter: Path
) -> Path:
    """Write the card of one round's adapter, in place of the empty one that PEFT leaves there.

    Args:
        record: The campaign's record.
        round_: One of its rounds.
        connection: The store or a snapshot.
        adapter: The adapter's folder.
    """
    told = _told(record, connection)
    splits = [split for split in ("test", "gate") if round_[split] is not None]
    by_split = {split: round_[split]["figures"] for split in splits}
    prompt = record["settings"]["prompt"]
    parts = load_student_prompt(prompt)
    shape = load_json(adapter / "adapter_config.json") or {}
    page = _render(
        "model_card.md.jinja",
        **told,
        header=_header(_model_header(record, round_, told)),
        round=round_,
        rank=shape.get("r", record["settings"]["train"]["lora_r"]),  # an average has the ranks of both
        is_champion=round_["name"] == record["champion"],
        gate=gate_view(round_["name"], round_["decision"]) if round_["decision"] else None,
        splits=splits,
        subjects=[s for s in list_subjects(record) if s.role in ("labeler", "teacher") or s.name == round_["name"]],
        findings={split: dict(zip(FINDINGS, of["findings"], strict=True)) for split, of in by_split.items()},
        calibrated=round_["reliability"].get("splits", {}),
        methods=round_["reliability"].get("methods", []),
        taught=_rows(connection, _TAUGHT, [round_["round_id"]]),
        refused=_one(
            connection,
            "SELECT count(*) FROM training_rows WHERE round_id = ? AND NOT selected",
            [round_["round_id"]],
        ),
        cost=next((row for row in add_up(record).rows if row.name == round_["name"]), None),
        prompt={"name": prompt, "hash": content_id("prm", parts), **parts},
    )
    return _replace(adapter / CARD, page)


def write_dataset_card(record: Mapping[str, Any], connection: duckdb.DuckDBPyConnection, folder: Path) -> Path:
    """Write the rows that a campaign's adapters were trained on, refused ones with their reason, and their card.

    Args:
        record: The campaign's record.
        connection: The store or a snapshot.
        folder: The dataset's folder, made when missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    campaign = {"campaign": record["campaign_id"]}
    temporary = folder.with_name(f".{ROWS}.{os.getpid()}")
    connection.execute(f"COPY ({_ROWS} {_ORDER}) TO {sql_path(temporary)} (FORMAT parquet)", campaign)
    if (folder / ROWS).exists() and filecmp.cmp(temporary, folder / ROWS, shallow=False):
        temporary.unlink()
    else:
        os.replace(temporary, folder / ROWS)
    told = _told(record, connection)
    by_round = _rows(
        connection,
        f'SELECT "round", arm, source, count(*) FILTER (selected) AS taken, count(*) FILTER (NOT selected) AS refused, '
        f'count(DISTINCT report_id) AS reports FROM ({_ROWS}) GROUP BY ALL ORDER BY "round", arm, source DESC',
        campaign,
    )
    counted = ", ".join(f"count(*) FILTER (status = '{status}') AS {status}" for status in STATUSES)
    taken = f"FROM ({_ROWS}) WHERE task = 'findings' AND selected"
    statuses = _rows(connection, f"SELECT target, {counted} {taken} GROUP BY target ORDER BY target", campaign)
    rows = sum(row["taken"] + row["refused"] for row in by_round)
    header = {
        "pretty_name": f"Training rows of Teachback campaign {record['campaign_id']}",
        "language": ["en"],
        "task_categories": ["text-classification"],
        "tags": ["radiology", "weak-supervision", "pseudo-labels", "teachback", *_warnings(told["caveats"])],
        "size_categories": [_size(rows)],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": ROWS}]}],
    }
    page = _render(
        "dataset_card.md.jinja", **told, header=_header(header), rows=rows, by_round=by_round, statuses=statuses
    )
    return _replace(folder / CARD, page)


def _told(record: Mapping[str, Any], connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return what both cards tell."""
    settings, teacher = record["settings"], record["teacher"]["teacher_id"]
    corpora = _rows(connection, _CORPORA, {"corpus": settings["corpus"]})
    student = str(settings["student"])
    return {
        "record": record,
        "settings": settings,
        "version": __version__,
        "few": FEW_POSITIVES,
        "base": Path(student).name if _is_folder(student) else student,
        "base_is_folder": _is_folder(student),
        "teacher_id": teacher,
        "members": _rows(connection, _MEMBERS, [teacher]),
        "caveats": find_caveats(connection, teacher, settings["corpus"]),
        "corpora": corpora,
        "restricted": [corpus["name"] for corpus in corpora if corpus["egress"] != "any"],
    }


def _model_header(record: Mapping[str, Any], round_: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    train = record["settings"]["train"]
    corpora = [corpus["name"] for corpus in told["corpora"]]
    measured = [
        {
            "task": {"type": "text-classification", "name": "13 chest X-ray findings, present or not"},
            "dataset": {"name": ", ".join(corpora), "type": "-".join(corpora), "split": split},
            "metrics": [
                {"type": kind, "name": _metric(name, round_[split]["figures"][figure]), "value": value}
                for kind, name, figure in (
                    ("f1", "micro-F1", "micro"),
                    ("f1", "macro-F1", "macro"),
                    ("precision", "precision, micro", "precision"),
                    ("recall", "recall, micro", "recall"),
                )
                if (value := round_[split]["figures"][figure]["value"]) is not None
            ],
        }
        for split in ("test", "gate")
        if round_[split] is not None
    ]
    return {
        "base_model": told["base"],
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "language": ["en"],
        "datasets": corpora,
        "tags": [
            *("radiology", "chest-x-ray", "weak-supervision", "distillation", "lora"),
            *(["qlora"] if train["quantize"] else []),
            "teachback",
            *_warnings(told["caveats"]),
        ],
        "model-index": [
            {"name": f"{told['base']}, {round_['name']}", "results": [of for of in measured if of["metrics"]]}
        ],
    }


def _metric(name: str, figure: Mapping[str, Any]) -> str:
    if figure["low"] is None:
        return name
    return f"{name} (95 % interval {figure['low']:.3f} to {figure['high']:.3f})"


def _warnings(caveats: Caveats) -> list[str]:
    fictitious = ["fictitious-reports"] if caveats.fictitious else []
    return [*(["stand-in-teacher"] if caveats.stand_in_teaches else []), *fictitious]


def _header(fields: Mapping[str, Any]) -> str:
    licence = "# license: choose one; those of the base, the corpora and their labels bind it\n"
    return licence + yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=1000)


def _size(rows: int) -> str:
    sizes = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for limit, name in sizes if rows < limit), "1M<n<10M")


def _is_folder(student: str) -> bool:
    return Path(student).is_absolute() or student.startswith(".") or Path(student).is_dir()


def _rows(connection: duckdb.DuckDBPyConnection, query: str, parameters: Any) -> list[dict[str, Any]]:
    found = connection.execute(query, parameters)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _one(connection: duckdb.DuckDBPyConnection, query: str, parameters: Any) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def _render(name: str, **context: Any) -> str:
    source = (resources.files("teachback.distill") / name).read_text(encoding="utf-8")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    filters: dict[str, Callable[..., str]] = {
        "count": lambda number: "-" if number is None else f"{number:,}",
        "figure": as_figure,
        "change": as_change,
        "share": lambda value: "-" if value is None else f"{100 * value:.1f} %",
        "literal": json.dumps,
        "cell": lambda text: str(text).replace("|", "\\|").replace("\n", " "),
    }
    environment.filters.update(filters)
    return environment.from_string(source).render(**context)


def _replace(path: Path, text: str) -> Path:
    """Write a card; one that says the same already is left as it is."""
    text = text.strip() + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    return path
