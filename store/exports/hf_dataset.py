"""A folder that `datasets.load_dataset` reads: Parquet files with typed features, and a card that says what they are.

A row is a report: its sections, a class label a finding (null where nobody labelled it) and its diseases. The files
carry their features in the metadata that the `datasets` library writes itself, so nothing has to be guessed.
"""

import json
from collections.abc import Iterator
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq

from teachback.errors import SettingError
from teachback.store.exports.chosen import EVERYBODY, Chosen
from teachback.store.exports.labelled import Labelled, labelled_reports
from teachback.store.exports.written import Exported, Tick, sql_path
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import SECTIONS

__all__ = ["write_hf_dataset"]

ROWS_A_FILE = 50_000
ROWS_AT_ONCE = 1_000
UNSPLIT = "unsplit"  # reports that have no split
_PLAIN = ("report_id", "subject_id", "corpus", *SECTIONS)
_DISEASE = ("name", "icd10", "status")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_hf_dataset(chosen: Chosen, path: Path, tick: Tick) -> Exported:
    """Write the folder: `data/<split>-00000-of-00001.parquet` for each split, and `README.md`.

    Raises:
        SettingError: Several labelers were chosen.
    """
    if chosen.choice.labels == EVERYBODY:
        raise SettingError("a row of the dataset has one status a finding", "choose whose with --labels")
    (path / "data").mkdir(parents=True)
    found = chosen.cursor().execute(
        f"SELECT coalesce(split, '{UNSPLIT}') AS name, count(*) FROM chosen_reports GROUP BY 1 ORDER BY 1"
    )
    splits: dict[str, int] = dict(found.fetchall())
    exported = Exported()
    done = 0
    for split, count in splits.items():
        condition = "split IS NULL" if split == UNSPLIT else f"split = {sql_path(Path(split))}"
        share, before = count / chosen.reports, done / chosen.reports
        rows = map(_row, labelled_reports(chosen, lambda part, b=before, s=share: tick(b + part * s), condition))  # type: ignore[misc]
        files = -(-count // ROWS_A_FILE)
        for number in range(files):
            name = f"data/{split}-{number:05}-of-{files:05}.parquet"
            exported.files[name] = _write(path / name, islice(rows, ROWS_A_FILE))
        done += count
    exported.reports = done
    (path / "README.md").write_text(_card(chosen, splits), encoding="utf-8")
    return exported


def _row(labelled: Labelled) -> dict[str, Any]:
    report, findings = labelled.report, labelled.findings()
    return {
        "report_id": report.report_id,
        "subject_id": report.subject_id,
        "corpus": report.corpus,
        **{name: report.sections.get(name) for name in SECTIONS},
        **{name: STATUSES.index(findings[name]["status"]) if name in findings else None for name in FINDINGS},
        "diseases": [
            {"name": label["target"], "icd10": label["icd10"], "status": label["status"]}
            for label in labelled.diseases()
        ],
        "labelers": labelled.labelers(),
    }


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    written, schema = 0, _schema()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            written += len(batch)
    return written


def _schema() -> pa.Schema:
    disease = pa.struct([(name, pa.string()) for name in _DISEASE])
    string = {"dtype": "string", "_type": "Value"}
    features: dict[str, Any] = dict.fromkeys(_PLAIN, string)
    features |= {finding: {"names": list(STATUSES), "_type": "ClassLabel"} for finding in FINDINGS}
    features["diseases"] = {"feature": dict.fromkeys(_DISEASE, string), "_type": "List"}
    features["labelers"] = {"feature": string, "_type": "List"}
    fields = [(name, pa.string()) for name in _PLAIN] + [(name, pa.int64()) for name in FINDINGS]
    said = json.dumps({"info": {"features": features}})
    return pa.schema(
        [*fields, ("diseases", pa.list_(disease)), ("labelers", pa.list_(pa.string()))], metadata={"huggingface": said}
    )


def _card(chosen: Chosen, splits: dict[str, int]) -> str:
    cursor = chosen.cursor()
    corpora = cursor.execute(
        "SELECT corpus, licence, egress, source FROM corpora WHERE corpus IN (SELECT unnest(?::VARCHAR[])) ORDER BY 1",
        [list(chosen.corpora)],
    ).fetchall()
    labelers = cursor.execute(
        "SELECT b.name, b.kind, b.model, count(*) FROM chosen_labels l JOIN labelers b USING (labeler_id) "
        "GROUP BY ALL ORDER BY count(*) DESC, b.name"
    ).fetchall()
    statuses = cursor.execute(
        "SELECT target, " + ", ".join(f"count(*) FILTER (status = '{status}')" for status in STATUSES) + " "
        "FROM chosen_labels WHERE task = 'findings' GROUP BY target ORDER BY target"
    ).fetchall()
    source = (resources.files("teachback.store.exports") / "dataset_card.md.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["yaml"] = lambda text: json.dumps(str(text), ensure_ascii=False)
    size = next((name for limit, name in _SIZES if chosen.reports < limit), "1M<n<10M")
    return environment.from_string(source).render(
        choice=chosen.choice,
        splits=splits,
        reports=chosen.reports,
        counts=chosen.corpora,
        corpora=corpora,
        labelers=labelers,
        statuses=statuses,
        size=size,
        restricted=[corpus for corpus, _, egress, _ in corpora if egress != "any"],
    )
