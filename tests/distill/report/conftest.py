"""A finished campaign for the tests of its report: a store that the real teachers labelled, and rounds whose
predictions are drawn from the truth at a chosen rate of mistakes, judged, gated and summed up by the real code."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from teachback.agents.assemble import TeacherSettings, teach_store
from teachback.agents.selection import Selection
from teachback.agents.settings import LLMSettings
from teachback.agents.teach import TeachConfig
from teachback.distill.assemble import TrainingRow, assemble
from teachback.distill.calibrate import fit_calibration
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, freeze
from teachback.distill.gate import decide
from teachback.distill.judge import Bench, align, calibration_error, compare_codes
from teachback.distill.pseudo import feed_back, student_labels, summarise
from teachback.distill.record import RoundRecord, round_rows, run_row
from teachback.distill.report import write_report
from teachback.distill.round import Round, Scored
from teachback.store.corpora.synthetic import generate
from teachback.store.database import Store
from teachback.store.label import FINDINGS, STATUSES, Label, Labeler
from teachback.store.quality.diseases import evaluate_diseases, fetch_diseases
from teachback.store.rows import label_row, labeler_row, report_row
from teachback.store.splits import assign_splits

SETTINGS = CampaignSettings.model_validate({"student": "tiny", "select": {"error": 0.3, "confidence": 0.9}})
SHARES = {"train": 0.4, "calibration": 0.2, "gate": 0.2, "test": 0.2}


def label_reports(path: Path, n: int = 120) -> None:
    """Make a store of fictitious reports with their truth, labelled by rules and stand-in; some stay in the pool."""
    human = Labeler("human", "truth", "1")
    written = list(generate(n, seed=4))
    truth = [
        Label(w.report.report_id, "findings", finding, w.statuses[finding], human.labeler_id, "full")
        for w in written
        for finding in FINDINGS
    ]
    truth += [
        Label(w.report.report_id, "diseases", d.name, "present", human.labeler_id, "full", icd10=d.icd10)
        for w in written
        for d in w.diseases
    ]
    with Store(path) as store:
        store.write(
            {
                "corpora": [{"corpus": "synthetic", "egress": "any", "licence": "CC0"}],
                "reports": [report_row(w.report) for w in written],
                "labelers": [labeler_row(human)],
                "labels": [label_row(label) for label in truth],
            }
        )
        assign_splits(store, SHARES)
    settings = TeacherSettings("stand-in", LLMSettings())
    for selection in (Selection(splits=("calibration", "gate", "test")), Selection(splits=("train",), limit=25)):
        teach_store(path, settings, TeachConfig(selection))


class Specimen:
    """Rounds on a labelled store.

    Args:
        store: The store, open for writing.
        seed: Of the mistakes.
    """

    def __init__(self, store: Store, seed: int = 0) -> None:
        self.store, self.rng = store, np.random.default_rng(seed)
        self.frozen: Frozen = freeze(store.connection, SETTINGS)
        names = ("train", "calibration", "gate", "test")
        teacher = self.frozen.teacher_id
        self.bench = {name: Bench(store.connection, name, None, teacher) for name in names}
        self.run_id = f"run_{self.frozen.campaign_id[4:]}"
        store.write({"runs": [run_row(self.run_id, "teachback distill labels.duckdb", SETTINGS)]})
        self.records: list[RoundRecord] = []

    def truth(self, split: str) -> NDArray[np.int8]:
        """Return the curated codes of a split's reports; the pool is a part of `train`."""
        known = self.bench["train" if split == "pool" else split].truth
        return align([r.report_id for r in self.frozen.reports[split]], known.report_ids, known.codes)

    def play(
        self,
        number: int,
        arm: str,
        mistakes: float,
        *,
        against: Round | None = None,
        fed_by: Round | None = None,
    ) -> Round:
        """Let a round predict with mistakes, and keep it as a campaign does."""
        adapter = f"{number:02}{arm}" if arm in ("feedback", "control") else None
        losses = [(step, 2.0 / step) for step in range(5, 105, 5)] if adapter else []
        training = {"adapter_hash": adapter, "steps": len(losses) * 5, "rows": 25, "seconds": 8.0, "losses": losses}
        raw = {split: self._probabilities(split, mistakes) for split in ("calibration", "gate", "pool", "test")}
        calibration = fit_calibration(raw["calibration"], self.truth("calibration"))
        labeler = Labeler("student", "student:tiny", f"{number}{arm}", "bag of words" if arm == "linear" else "tiny")
        scored = {}
        for split, given in raw.items():
            ids, calibrated = tuple(r.report_id for r in self.frozen.reports[split]), calibration.apply(given)
            scored[split] = Scored(ids, given, calibrated, calibration.decide(calibrated))
        folder = self.store.path.parent / "campaigns"
        round_ = Round(f"rnd_{number}{arm}", number, arm, folder, labeler, training, calibration, scored)
        pseudo, summary = self._feed_back(fed_by, number) if fed_by else ([], None)
        rows = [] if arm == "base" else assemble(self.frozen, SETTINGS, pseudo)
        self._keep(round_, rows, summary, against)
        return round_

    def record(self, champion: Round, **changes: Any) -> dict[str, Any]:
        """Return the campaign's record, as JSON would give it back."""
        record = {
            "campaign_id": self.frozen.campaign_id,
            "settings": SETTINGS.model_dump(),
            "environment": {"python": "3.11", "device": "CPU"},
            "seconds": 61.0,
            "splits": {split: len(reports) for split, reports in self.frozen.reports.items()},
            "training_labels": len(self.frozen.taught),
            "cut_reports": 2,
            "teacher": self._teacher(),
            "rounds": [record.as_dict() for record in self.records],
            "champion": champion.name,
            "champion_adapter": None,
            "stopped": "all 2 rounds are done",
            "feedback_over_control": self._feedback_over_control(),
            "diseases": self._diseases(champion),
        }
        as_read: dict[str, Any] = json.loads(json.dumps(record | changes))
        return as_read

    def _probabilities(self, split: str, mistakes: float) -> NDArray[np.float32]:
        truth = self.truth(split)
        slip = self.rng.random(truth.shape) < mistakes
        said = np.where(slip, self.rng.integers(0, len(STATUSES), truth.shape), truth)
        sure = self.rng.uniform(0.6, 0.97, truth.shape)
        given = np.repeat(((1 - sure) / (len(STATUSES) - 1))[..., None], len(STATUSES), axis=-1)
        np.put_along_axis(given, said[..., None], sure[..., None], axis=-1)
        return given.astype(np.float32)

    def _feed_back(self, champion: Round, number: int) -> tuple[list[TrainingRow], dict[str, Any]]:
        selection, rows = feed_back(champion, self.frozen, SETTINGS, self.truth("calibration"), number)
        held_out = champion.scored["gate"], self.truth("gate")
        return rows, summarise(selection, champion.scored["pool"], self.truth("pool"), held_out)

    def _codes(self, round_: Round, split: str) -> NDArray[np.int8]:
        scored = round_.scored[split]
        return align(self.bench[split].truth.report_ids, scored.report_ids, scored.codes)

    def _keep(
        self, round_: Round, rows: list[TrainingRow], pseudo: dict[str, Any] | None, against: Round | None
    ) -> None:
        gate, calibration, truth = self.bench["gate"], round_.scored["calibration"], self.truth("calibration")
        decision = None
        if against is not None:
            codes = (self._codes(against, "gate"), self._codes(round_, "gate"))
            earlier = [record.decision.promoted for record in self.records if record.decision]
            decision = decide(gate.truth.codes, *codes, gate.truth.clusters, against.name, earlier=earlier)
        raw_codes = calibration.raw.argmax(-1).astype(np.int8)
        record = RoundRecord(
            round_=round_,
            rows=rows,
            decision=decision,
            pseudo=pseudo,
            gate=gate.judge(self._codes(round_, "gate")),
            reliability={
                "before": calibration_error(calibration.raw, raw_codes, truth),
                "after": calibration_error(calibration.probabilities, calibration.codes, truth),
            },
            test=self.bench["test"].judge(self._codes(round_, "test")),
            calibrated={n: self.bench[n].judge_calibration(round_.scored[n]) for n in ("calibration", "gate", "test")},
        )
        self.records.append(record)
        labels = [label for scored in round_.scored.values() for label in student_labels(round_, scored)]
        self.store.write(
            {
                "labelers": [labeler_row(round_.labeler)],
                "labels": [label_row(label, self.run_id) for label in labels] if round_.arm != "base" else [],
                **round_rows(record.round_, record.rows, record.decision, self.frozen, SETTINGS, self.run_id),
            }
        )

    def _teacher(self) -> dict[str, Any]:
        subjects: dict[str, dict[str, Any]] = {}
        for split in ("gate", "test"):
            bench = self.bench[split]
            for name, kind, codes in [*bench.members(), ("teacher", "teacher", bench.teacher)]:
                judged = bench.judge(codes, is_teacher=name == "teacher").as_dict()
                subjects.setdefault(name, {"name": name, "kind": kind})[split] = judged
        return {"teacher_id": self.frozen.teacher_id, "subjects": list(subjects.values())}

    def _feedback_over_control(self) -> list[dict[str, Any]]:
        arms: Mapping[tuple[int, str], Round] = {(r.round_.number, r.round_.arm): r.round_ for r in self.records}
        compared = []
        for (number, arm), control in arms.items():
            if arm == "control":
                on = {}
                for split in ("gate", "test"):
                    truth = self.bench[split].truth
                    codes = (self._codes(control, split), self._codes(arms[number, "feedback"], split))
                    on[split] = compare_codes(truth, *codes)
                compared.append({"round": number, **on})
        return compared

    def _diseases(self, champion: Round) -> dict[str, Any]:
        truth = self.bench["test"].truth
        curated = fetch_diseases(self.store.connection, truth.report_ids)
        judged = evaluate_diseases(curated, [diseases[:1] for diseases in curated], truth.clusters)
        return {"n": len(truth), champion.name: {of.rule: of.as_dict() for of in judged.rules}}


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labelled") / "labels.duckdb"
    label_reports(path)
    return path


@pytest.fixture
def specimen(labelled: Path, tmp_path: Path) -> Iterator[Specimen]:
    path = tmp_path / "labels.duckdb"
    shutil.copy(labelled, path)
    with Store(path) as store:
        yield Specimen(store)


@pytest.fixture(scope="session")
def campaign(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Two rounds with all arms, the second promoted over the first; its record and its store."""
    path = tmp_path_factory.mktemp("campaign") / "labels.duckdb"
    shutil.copy(labelled, path)
    with Store(path) as store:
        specimen = Specimen(store)
        base = specimen.play(0, "base", 0.9)
        first = specimen.play(1, "feedback", 0.3, against=base)
        second = specimen.play(2, "feedback", 0.005, against=first, fed_by=first)
        specimen.play(2, "control", 0.2)
        specimen.play(1, "linear", 0.4)
        record = specimen.record(second)
    return record, path


@pytest.fixture
def store_copy(campaign: tuple[dict[str, Any], Path], tmp_path: Path) -> Path:
    return Path(shutil.copy(campaign[1], tmp_path / "labels.duckdb"))


@pytest.fixture
def page_of(tmp_path: Path) -> Callable[..., str]:
    """Write the report of a record and a store, and read it."""

    def write(record: Mapping[str, Any], store: Path, **options: Any) -> str:
        with duckdb.connect(str(store)) as connection:
            out = write_report(record, connection, tmp_path / "made" / "report.html", **options)
        return out.read_text(encoding="utf-8")

    return write
