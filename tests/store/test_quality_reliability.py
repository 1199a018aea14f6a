"""Calibration error and Brier score, against arithmetic by hand and scikit-learn; and their plot."""

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.store.judged_store import LLM, judged_store

from teachback.store.database import open_snapshot
from teachback.store.quality.reliability import judge_confidence, measure_reliability
from teachback.store.quality.reliability_plot import reliability_svg
from teachback.store.quality.subjects import fetch_compared

shares = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def measured(cells: list[tuple[float, bool]], bins: int = 10):
    confidence = np.array([[c] for c, _ in cells])
    right = np.array([[r] for _, r in cells])
    return measure_reliability(confidence, right, np.arange(len(cells)), bins=bins, n_boot=50)


def test_figures_by_hand() -> None:
    found = measured([(0.9, True), (0.95, False), (0.3, False), (1.0, True)], bins=2)
    # from 0: one label, sure .3, none right: off by .3. From .5: .9 + .95 + 1 = 2.85 sure, 2 right: off by .85
    assert found.ece.value == pytest.approx((0.3 + 0.85) / 4)
    assert found.brier.value == pytest.approx((0.01 + 0.9025 + 0.09 + 0) / 4)
    assert [(b.low, b.n, b.right.value) for b in found.bins] == [(0.0, 1, 0.0), (0.5, 3, pytest.approx(2 / 3))]
    assert (found.confidence, found.right, found.n) == (pytest.approx(3.15 / 4), 0.5, 4)
    assert found.ece.low <= found.ece.value <= found.ece.high


@given(shares)
def test_brier_is_that_of_scikit_learn(cells: list[tuple[float, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    expected = metrics.brier_score_loss([r for _, r in cells], [c for c, _ in cells], pos_label=True)
    assert measured(cells).brier.value == pytest.approx(expected, abs=1e-6)


@given(shares)
def test_the_curve_is_that_of_scikit_learn(cells: list[tuple[float, bool]]) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    # scikit-learn closes bins on the right, and ours are closed on the left: equal where no confidence is on an edge.
    cells = [(min(max(c, 0.001), 0.999) + 1e-5 * (c * 5 == int(c * 5)), r) for c, r in cells]
    right, confidence = calibration.calibration_curve([r for _, r in cells], [c for c, _ in cells], n_bins=5)
    found = measured(cells, bins=5)
    assert [b.right.value for b in found.bins] == pytest.approx(list(right))
    assert [b.confidence for b in found.bins] == pytest.approx(list(confidence), abs=1e-5)


def test_cells_without_a_confidence_are_left_out_and_nothing_is_undefined() -> None:
    assert math.isnan(measured([(math.nan, True)]).ece.value)
    with pytest.raises(ValueError, match="not in"):
        measured([(1.5, True)])


def test_a_labelers_confidences_are_those_of_its_labels(tmp_path: Path) -> None:
    connection, _ = open_snapshot(judged_store(tmp_path))
    with connection:
        compared = fetch_compared(connection)
        subject = next(s for s in compared.masks if s.subject_id == LLM.labeler_id)
        found = judge_confidence(connection, compared, subject, n_boot=20)
        rows = connection.execute(
            "SELECT confidence, (status = 'present') = (curated = 'present') FROM judged_labels WHERE labeler_id = ?",
            [LLM.labeler_id],
        ).fetchall()
        edema = judge_confidence(connection, compared, subject, finding="Edema", n_boot=0)
        nobody = next(s for s in compared.masks if s.kind == "rule")
        assert judge_confidence(connection, compared, nobody) is None
    known = [(c, r) for c, r in rows if c is not None]
    assert found is not None
    assert (found.n, found.without) == (len(known), len(rows) - len(known))
    assert found.brier.value == pytest.approx(np.mean([(c - r) ** 2 for c, r in known]), abs=1e-6)
    assert edema is not None
    assert edema.n < found.n / 10


def test_the_plot_shows_every_labeler_and_escapes_names() -> None:
    figures = measured([(0.9, True), (0.2, False), (0.7, True)])
    root = ElementTree.fromstring(reliability_svg({"llm <a&b>": figures, "student": figures}))
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("llm <a&b>: calibration error") for text in texts)
    curves = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert [len(curve.attrib["points"].split()) for curve in curves] == [3, 3]
    assert len({curve.attrib["stroke"] for curve in curves}) == 2
