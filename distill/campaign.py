"""A campaign: round after round from the same base, each gated against the champion, each beside its control arm.

The base model is the first champion. Round 1 learns from the teacher. From round 2 on, the champion's certain
predictions on reports that no teacher labelled come back as labels, and a control arm of the same budget and seed
trains without them, so that what more steps bring does not pass for what feedback brings. Of the two the better one on
`calibration` goes to the gate: trainings differ, and feedback that did less than nothing need not be shipped for being
feedback. A candidate that failed may stand once more, as an average with the champion. Pseudo-labels are void unless
the student that trained on them becomes champion. `test` is opened once, after the last decision.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.artefacts import save_json
from teachback.distill.assemble import TrainingRow, assemble, scoped_texts
from teachback.distill.base import load_tokenizer
from teachback.distill.carry import carry, sentences_to_read, summarise_carried
from teachback.distill.config import CampaignSettings
from teachback.distill.control import choose_arm, feedback_over_control
from teachback.distill.folds import Fold, cut_folds, feed_fold, summarise_fold
from teachback.distill.freeze import Frozen, freeze
from teachback.distill.gate import Decision, align_present, decide
from teachback.distill.judge import Bench, Judged, align, calibration_error
from teachback.distill.labeler import write_card
from teachback.distill.lessons import write_lessons
from teachback.distill.list_lengths import list_lengths
from teachback.distill.plan import steps_of
from teachback.distill.prompt import load_student_prompt
from teachback.distill.pseudo import feed_back, student_labels, summarise
from teachback.distill.questions import Questions
from teachback.distill.record import RoundRecord, disease_figures, environment, record_look, round_rows, run_row
from teachback.distill.round import Progress, Round, average_round, open_test, read_sentences, run_round
from teachback.distill.routing import fetch_opinions
from teachback.store.database import Store
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.statuses import StatusMatrix
from teachback.store.quality.tables import evaluation_rows
from teachback.store.rows import label_row, labeler_row

__all__ = ["Campaign", "campaign_folder"]

FEWEST_CHANGES = 0.01  # stop when a round changes less than this share of the gate's labels


def campaign_folder(store: Path) -> Path:
    """Return where a store's campaigns lie: `labels.duckdb` -> `labels-campaigns/`."""
    return store.with_name(f"{store.stem}-campaigns")


class Campaign:
    """Runs a campaign to its end, or goes on with one that was killed.

    Args:
        store: The store, open for writing.
        settings: The campaign's settings.
        progress: Told what is going on.
        teacher_id: Which teacher to distil; the one that has labelled most if not given.
        command: The command line, for the record.
    """

    def __init__(
        self,
        store: Store,
        settings: CampaignSettings,
        progress: Progress = lambda what, done, total: None,
        *,
        teacher_id: str | None = None,
        command: str = "distill",
    ) -> None:
        self.store, self.settings, self.progress = store, settings, progress
        self.started = time.monotonic()
        self.frozen: Frozen = freeze(store.connection, settings, teacher_id)
        self.folder = campaign_folder(store.path) / self.frozen.campaign_id[4:16]
        self.run_id = f"run_{self.frozen.campaign_id[4:]}"
        self.store.write({"runs": [run_row(self.run_id, command, settings)]})
        self.questions = Questions(
            load_tokenizer(settings.student),
            max_length=settings.train.max_length,
            **load_student_prompt(settings.prompt),
        )
        bench = {
            split: Bench(store.connection, split, settings.corpus, self.frozen.teacher_id, seed=settings.seed)
            for split in ("calibration", "gate", "test")
        }
        self.calibration, self.gate, self.test = bench["calibration"], bench["gate"], bench["test"]
        self.records: list[RoundRecord] = []

    def run(self) -> dict[str, Any]:
        """Run all rounds.

        Returns:
            The campaign's record, which is also written to `campaign.json` in its folder.
        """
        rows = assemble(self.frozen, self.settings)
        champion, stopped = self._base(rows), ""
        fed: list[TrainingRow] = []  # what earlier rounds that passed the gate were fed
        for number in range(1, self.settings.rounds + 1):
            pseudo, summary = ([], None) if number == 1 else self._pseudo(champion, number, fed)
            taught = assemble(self.frozen, self.settings, [*fed, *pseudo])
            if summary is not None and self.settings.unit == "sentence" and self.settings.select.carry is not None:
                taught, summary["carried"] = self._carry(champion, taught)
            if number > 1 and not any(row.selected for row in pseudo) and not any(row.carried for row in taught):
                stopped = f"round {number} has no certified prediction to feed back"
                break
            steps = steps_of(self._count_lessons(taught), self.settings.train, self._count_lessons(rows))
            candidate = fed_back = self._round(number, "feedback", taught, steps, champion)
            control, why = None, None
            if number > 1 and self.settings.control:
                control = self._round(number, "control", rows, steps, champion)
                candidate, why = choose_arm(fed_back, control, self.calibration)
            decision = self._decide(champion, candidate)
            self._keep(fed_back, taught, decision if candidate is fed_back else None, summary, passed_over=why)
            if control is not None:
                self._keep(control, rows, decision if candidate is control else None, None)
            standing = candidate
            if not decision.promoted and self.settings.gate.average and champion.training["adapter_hash"]:
                standing = self._average(champion, candidate)
                decision = self._decide(champion, standing)
                self._keep(standing, taught if candidate is fed_back else rows, decision, None)
            changed = self._changed(champion, standing)
            if not decision.promoted:
                stopped = f"round {number} did not pass the gate; its pseudo-labels are void"
                break
            champion = standing
            if standing is fed_back:
                fed += [row for row in pseudo if row.selected]
            if changed < FEWEST_CHANGES:
                stopped = f"round {number} changed {changed:.1%} of the gate's labels, under {FEWEST_CHANGES:.0%}"
                break
        if self.settings.linear:
            self._keep(self._round(1, "linear", rows, 0), rows, None, None)
        return self._close(champion, stopped or f"all {self.settings.rounds} rounds are done")

    def _base(self, rows: Sequence[TrainingRow]) -> Round:
        base = self._round(0, "base", [], 0)
        self._keep(base, [], None, None)
        return base

    def _round(
        self, number: int, arm: str, rows: Sequence[TrainingRow], steps: int, champion: Round | None = None
    ) -> Round:
        truth = align(self._ids("calibration"), self.calibration.truth.report_ids, self.calibration.truth.codes)
        return run_round(
            self.frozen,
            self.settings,
            rows,
            self.questions,
            truth,
            self.folder,
            number=number,
            arm=arm,
            steps=steps,
            champion=champion,
            progress=self.progress,
        )

    def _average(self, champion: Round, candidate: Round) -> Round:
        truth = align(self._ids("calibration"), self.calibration.truth.report_ids, self.calibration.truth.codes)
        return average_round(
            champion, candidate, self.frozen, self.settings, self.questions, truth, progress=self.progress
        )

    def _ids(self, split: str) -> list[str]:
        return [r.report_id for r in self.frozen.reports[split] if r.text(self.settings.scope)]

    def _count_lessons(self, rows: Sequence[TrainingRow]) -> int:
        return len(write_lessons(rows, self.frozen, self.settings))

    def _pseudo(
        self, champion: Round, number: int, fed: Sequence[TrainingRow]
    ) -> tuple[list[TrainingRow], dict[str, Any]]:
        truth = align(self._ids("calibration"), self.calibration.truth.report_ids, self.calibration.truth.codes)
        pool, gate = champion.scored["pool"], champion.scored["gate"]
        opinions = fetch_opinions(self.store.connection, pool.report_ids)
        selection, rows = feed_back(champion, self.frozen, self.settings, truth, number, opinions)
        known = Bench(self.store.connection, "train", self.settings.corpus, self.frozen.teacher_id).truth
        held_out = gate, align(gate.report_ids, self.gate.truth.report_ids, self.gate.truth.codes)
        in_pool = align(pool.report_ids, known.report_ids, known.codes)
        summary = summarise(selection, pool, in_pool, held_out)
        if self.settings.select.folds < 2:
            return rows, summary
        for fold in cut_folds(assemble(self.frozen, self.settings, fed), self.frozen, self.settings):
            more, told = self._read_fold(fold, number, truth, known)
            rows += more
            summary.setdefault("folds", []).append(told)
        return rows, summary

    def _read_fold(
        self, fold: Fold, number: int, truth: NDArray[np.int8], known: StatusMatrix
    ) -> tuple[list[TrainingRow], dict[str, Any]]:
        """Train a fold's student, let it read its fold, keep what it says, and select from it."""
        student = run_round(
            fold.frozen,
            self.settings,
            fold.rows,
            self.questions,
            truth,
            self.folder,
            number=number,
            arm="fold",
            steps=steps_of(len(write_lessons(fold.rows, fold.frozen, self.settings)), self.settings.train),
            progress=lambda what, done, total: self.progress(f"{fold.name}: {what}", done, total),
        )
        pool = student.scored["pool"]
        self.store.write(
            {
                "labelers": [labeler_row(student.labeler)],
                "labels": [label_row(label, self.run_id) for label in student_labels(student, pool)],
                **round_rows(student, fold.rows, None, self.frozen, self.settings, self.run_id),
            }
        )
        opinions = fetch_opinions(self.store.connection, pool.report_ids)
        selection, rows = feed_fold(student, fold, self.frozen, self.settings, truth, opinions)
        return rows, summarise_fold(selection, fold, pool, align(pool.report_ids, known.report_ids, known.codes))

    def _carry(self, champion: Round, rows: list[TrainingRow]) -> tuple[list[TrainingRow], dict[str, Any]]:
        sentences = sentences_to_read(self.frozen, self.settings)
        read = read_sentences(champion, self.frozen, self.settings, self.questions, sentences, self.progress)
        taught = carry(rows, self.frozen, self.settings, sentences, read, champion.name)
        known = Bench(self.store.connection, "train", self.settings.corpus, self.frozen.teacher_id).truth
        truth = {
            (report_id, finding): STATUSES[code]
            for report_id, codes in zip(known.report_ids, known.codes, strict=True)
            for finding, code in zip(FINDINGS, codes, strict=True)
            if code >= 0
        }
        return taught, summarise_carried(taught, truth, sentences, read, self.frozen)

    def _present(self, round_: Round) -> Any:
        scored = round_.scored["gate"]
        return align_present(self.gate.truth.report_ids, scored.report_ids, scored.probabilities)

    def _decide(self, champion: Round, candidate: Round) -> Decision:
        truth = self.gate.truth
        return decide(
            truth.codes,
            self.gate.codes_of(champion.scored),
            self.gate.codes_of(candidate.scored),
            truth.clusters,
            champion.name,
            seed=self.settings.seed,
            settings=self.settings.gate,
            earlier=[record.decision.promoted for record in self.records if record.decision is not None],
            probabilities=(self._present(champion), self._present(candidate)),
            lists=list_lengths(
                champion,
                candidate,
                self.frozen,
                self.settings,
                self.questions,
                self.store.connection,
                self.progress,
            ),
        )

    def _changed(self, champion: Round, candidate: Round) -> float:
        return float((self.gate.codes_of(champion.scored) != self.gate.codes_of(candidate.scored)).mean())

    def _keep(
        self,
        round_: Round,
        rows: Sequence[TrainingRow],
        decision: Decision | None,
        pseudo: dict[str, Any] | None,
        passed_over: str | None = None,
    ) -> None:
        """Write what a round made to the store: its labels, rows, figures and what was decided of it."""
        gate = self.gate.judge(self.gate.codes_of(round_.scored))
        calibration = round_.scored["calibration"]
        truth = align(calibration.report_ids, self.calibration.truth.report_ids, self.calibration.truth.codes)
        raw_codes = calibration.raw.argmax(-1).astype(np.int8)
        record = RoundRecord(
            round_=round_,
            rows=rows,
            decision=decision,
            passed_over=passed_over,
            pseudo=pseudo,
            gate=gate,
            reliability={
                "before": calibration_error(calibration.raw, raw_codes, truth),
                "after": calibration_error(calibration.probabilities, calibration.codes, truth),
            },
            calibrated={b.split: b.judge_calibration(round_.scored[b.split]) for b in (self.calibration, self.gate)},
        )
        self.records.append(record)
        write_card(round_, self.settings)
        labels = [
            label_row(label, self.run_id)
            for scored in round_.scored.values()
            for label in student_labels(round_, scored)
        ]
        self.store.write(
            {
                "labelers": [labeler_row(round_.labeler)],
                "labels": labels if round_.arm != "base" else [],
                **round_rows(round_, rows, decision or passed_over, self.frozen, self.settings, self.run_id),
                "evaluations": [
                    *self._evaluations(round_, gate, "gate"),
                    *record.calibration_rows(("calibration", "gate")),
                ],
            }
        )
        self.store.publish()

    def _evaluations(self, round_: Round, judged: Judged, split: str) -> list[dict[str, Any]]:
        names = {"split": split, "labeler_id": round_.labeler.labeler_id, "round_id": round_.round_id}
        rows = evaluation_rows(judged.figures, subject=round_.name, **names)
        if judged.over_teacher is not None:
            rows += evaluation_rows(judged.over_teacher, subject=round_.name, note="over the teacher", **names)
        return rows

    def _close(self, champion: Round, stopped: str) -> dict[str, Any]:
        """Open `test` for every subject at once, and write the campaign's record."""
        rows = {record.round_.round_id: record.rows for record in self.records}
        judged = [record.round_.labeler.labeler_id for record in self.records]
        before = record_look(self.store, self.frozen.campaign_id, judged, len(self.test.truth.report_ids))
        codes = {}
        for record in self.records:
            round_ = record.round_
            scored = open_test(round_, self.frozen, self.settings, rows[round_.round_id], self.questions, self.progress)
            codes[round_.name] = align(self.test.truth.report_ids, scored.report_ids, scored.codes)
            record.test = self.test.judge(codes[round_.name])
            record.calibrated["test"] = self.test.judge_calibration(scored)
            labels = [label_row(label, self.run_id) for label in student_labels(round_, scored)]
            self.store.write(
                {
                    "labels": labels if round_.arm != "base" else [],
                    "evaluations": self._evaluations(round_, record.test, "test") + record.calibration_rows(("test",)),
                }
            )
        record_ = {
            "campaign_id": self.frozen.campaign_id,
            "settings": self.settings.model_dump(),
            "environment": environment(),
            "seconds": time.monotonic() - self.started,
            "splits": {split: len(reports) for split, reports in self.frozen.reports.items()},
            "training_labels": len(self.frozen.taught),
            "cut_reports": self._cut_reports(),
            "teacher": self._teacher(),
            "rounds": [record.as_dict() for record in self.records],
            "champion": champion.name,
            "champion_adapter": str(champion.folder / "adapter") if champion.training["adapter_hash"] else None,
            "stopped": stopped,
            "test_looked_at_before": before,
            "feedback_over_control": feedback_over_control(self.records, self.gate, self.test, codes),
            "diseases": disease_figures(
                champion, self.frozen, self.settings, self.questions, self.store, self.test, self.progress
            ),
        }
        save_json(self.folder / "campaign.json", record_)
        self.store.write({"run_ends": [{"run_id": self.run_id, "status": "finished"}]})
        self.store.publish()
        return record_

    def _cut_reports(self) -> int:
        """Count the reports that are too long for the student, whatever a resumed campaign has still encoded."""
        before = self.questions.cut_reports
        for members in self.frozen.reports.values():
            for text in scoped_texts(members, self.settings)[1]:
                self.questions.row(text)
        return self.questions.cut_reports - before

    def _teacher(self) -> dict[str, Any]:
        """Judge the teacher and its labelers on `gate` and `test`, and write their figures."""
        subjects: dict[str, dict[str, Any]] = {}
        for bench in (self.gate, self.test):
            for name, kind, codes in [*bench.members(), ("teacher", "teacher", bench.teacher)]:
                judged = bench.judge(codes, is_teacher=name == "teacher")
                subjects.setdefault(name, {"name": name, "kind": kind})[bench.split] = judged.as_dict()
                self.store.write({"evaluations": evaluation_rows(judged.figures, subject=name, split=bench.split)})
        return {"teacher_id": self.frozen.teacher_id, "subjects": list(subjects.values())}
