"""Each two labelers, on the reports that both labelled."""

from pathlib import Path

import pytest
from tests.store.judged_store import judged_store

from teachback.store.database import open_snapshot
from teachback.store.quality.f1 import evaluate_statuses
from teachback.store.quality.pairs import compare_pairs
from teachback.store.quality.subjects import fetch_compared


def test_gains_are_differences_on_common_reports(tmp_path: Path) -> None:
    connection, _ = open_snapshot(judged_store(tmp_path))
    with connection:
        compared = fetch_compared(connection, split="gate")
    pairs = compare_pairs(compared, n_boot=200)
    assert len(pairs) == 6  # of rule, llm and two students each two
    assert [p.gain.micro.value for p in pairs] == sorted((p.gain.micro.value for p in pairs), reverse=True)
    for pair in pairs:
        both = compared.masks[pair.better] & compared.masks[pair.other]
        # the rules left out every seventh of the 30 reports
        assert pair.gain.n_reports == int(both.sum()) == (26 if "rule" in (pair.better.kind, pair.other.kind) else 30)
        truth = compared.truth.take(both)
        f1 = [
            evaluate_statuses(truth.codes, compared.codes[subject][both], truth.clusters, n_boot=0).micro.value
            for subject in (pair.better, pair.other)
        ]
        assert pair.gain.micro.value == pytest.approx(f1[0] - f1[1])
        assert pair.gain.micro.value >= 0
        assert len(pair.gain.wins) + len(pair.gain.ties) + len(pair.gain.losses) == 13
