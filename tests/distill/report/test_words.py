"""How figures read: directions, promises, evidence marks, and the table in the terminal."""

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from teachback.distill.report import print_campaign
from teachback.distill.report.examples import highlight
from teachback.distill.report.figures import as_change, as_figure, direction, promise_kept, wilson
from teachback.distill.report.plots import Scale, interval_scale, interval_track, loss_curve
from teachback.distill.report.provenance import flatten

Campaign = tuple[dict[str, Any], Path]


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (figure(0.04, 0.01, 0.07), "better"),
        (figure(-0.04, -0.07, -0.01), "worse"),
        (figure(0.04, -0.01, 0.09), "not shown"),
        (figure(0.04, 0.0, 0.09), "not shown"),  # an interval that touches zero shows nothing
        (figure(0.04), "undefined"),
        (None, "undefined"),
    ],
)
def test_direction_needs_the_whole_interval_on_one_side(change: Any, shown: str) -> None:
    assert direction(change) == shown


def test_figures_read_with_their_interval_or_not_at_all() -> None:
    assert as_figure(figure(0.7123, 0.69, 0.7333)) == "0.712 [0.690, 0.733]"
    assert as_change(figure(0.0412, -0.002, 0.084)) == "+0.041 [-0.002, +0.084]"
    assert as_figure(figure(0.5)) == "0.500"
    assert as_figure(figure(None)) == as_change(None) == "-"


def test_wilson_interval_by_hand() -> None:
    # 0 of 10: the middle is z2/(2n) / (1 + z2/n) = 0.19207 / 1.38415 = 0.13877, and so is half the width
    found = wilson(0, 10)
    assert found["low"] == pytest.approx(0.0, abs=1e-9)
    assert found["high"] == pytest.approx(0.27753, abs=1e-4)
    assert wilson(0, 0)["value"] is None


def test_promise_is_only_kept_or_broken_where_the_interval_says_so() -> None:
    assert promise_kept(1, 400, 0.05) == "kept"
    assert promise_kept(60, 400, 0.05) == "broken"
    assert promise_kept(1, 20, 0.05) == "unsettled"  # exactly the promise, but 20 cells settle nothing
    assert promise_kept(0, 0, 0.05) == "unknown"


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(-5, 70), st.integers(-5, 70)), max_size=6))
def test_highlight_keeps_the_text_and_marks_just_its_spans(text: str, spans: list[tuple[int, int]]) -> None:
    segments = highlight(text, spans)
    assert "".join(segment.text for segment in segments) == text
    assert all(a.marked != b.marked for a, b in pairwise(segments))
    marked = [segment.marked for segment in segments for _ in segment.text]
    fitting = [(start, end) for start, end in spans if 0 <= start < end <= len(text)]
    assert marked == [any(start <= i < end for start, end in fitting) for i in range(len(text))]


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_scale_holds_its_figures_and_has_ticks(ends: list[float]) -> None:
    low, value, high = sorted(ends)
    scale = interval_scale([figure(value, low, high)])
    assert all(scale.holds(end) for end in (low, value, high))
    assert 2 <= len(scale.ticks) <= 7


def test_what_lies_beyond_the_scale_becomes_an_arrow_without_interval() -> None:
    track = interval_track(figure(0.1, 0.05, 0.2), Scale(0.5, 1.0), "baseline")
    assert 'class="ci' not in track
    assert 'x="0.0%"' in track


def test_long_loss_curves_are_thinned_but_keep_their_end() -> None:
    curve = loss_curve([(step, 1 / step) for step in range(1, 5001)])
    assert len(curve) < 10_000
    assert "at step 5000" in curve
    assert loss_curve([(5, 1.0)]) == ""


@pytest.mark.parametrize("width", [100, 80, 200])
def test_terminal_stays_within_100_columns(campaign: Campaign, width: int) -> None:
    out = io.StringIO()
    print_campaign(campaign[0], Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= min(width, 100)


def test_terminal_names_every_subject_decision_and_the_page(campaign: Campaign) -> None:
    out = io.StringIO()
    print_campaign(campaign[0], Console(file=out, width=100), Path("made/report.html"))
    said = " ".join(out.getvalue().split())
    for name in ("rule", "llm:stand-in", "teacher", "base model", "linear", "round 2 feedback *", "round 2 control"):
        assert name in said
    assert "round 1: promoted over base model" in said
    assert "Feedback against its control arm, round 2 on gate" in said
    assert "Report: made/report.html" in said


def test_settings_are_named_in_full_but_folders_by_their_end() -> None:
    settings = {"student": "/srv/models/base-8b", "tasks": ["findings", "diseases"], "train": {"lora_r": 16}}
    assert flatten(settings) == [
        ("student", ".../base-8b"),
        ("tasks", "findings, diseases"),
        ("train.lora_r", "16"),
    ]
