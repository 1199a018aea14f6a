"""Splits: groups stay together, what has a split keeps it, and the fractions come out."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teachback.errors import SettingError
from teachback.store.database import Store
from teachback.store.label import Label, Labeler
from teachback.store.near_duplicates import near_duplicates, normalise
from teachback.store.report import Report
from teachback.store.rows import label_row, labeler_row, report_row
from teachback.store.splits import DEFAULT_FRACTIONS, MAX_GROUP, SplitReport, assign_splits, plan_splits

WORDS = ["heart", "lungs", "clear", "normal", "effusion", "edema", "small", "left", "right", "base", "opacity", "no"]


def settle(reports: Sequence[SplitReport], seed: int = 0) -> list[SplitReport]:
    plan = plan_splits(reports, seed=seed)
    return [
        replace(r, split=plan[r.report_id][0], group_id=plan[r.report_id][1]) if r.report_id in plan else r
        for r in reports
    ]


reports_of = st.lists(
    st.builds(
        SplitReport,
        report_id=st.integers(0, 10_000).map(str),
        text=st.integers(0, 12).map(lambda n: f"text {'abcdefghijklm'[n]}"),
        subject=st.none() | st.integers(0, 8).map(str),
        curated=st.booleans(),
    ),
    max_size=MAX_GROUP,  # below the ceiling every join is made
    unique_by=lambda report: report.report_id,
)


@given(reports_of, st.integers(0, 3))
def test_no_patient_and_no_text_straddles_splits(reports: list[SplitReport], seed: int) -> None:
    settled = settle(reports, seed)
    assert all(report.split for report in settled)
    by_subject, by_text, by_group = defaultdict(set), defaultdict(set), defaultdict(set)
    for report in settled:
        by_subject[report.subject or f"no patient {report.report_id}"].add(report.split)
        by_text[report.text].add(report.split)
        by_group[report.group_id].add(report.split)
    for splits in (*by_subject.values(), *by_text.values(), *by_group.values()):
        assert len(splits) == 1


@given(reports_of, st.integers(0, 50), st.randoms(use_true_random=False))
def test_what_has_a_split_keeps_it_and_patients_stay_together(
    reports: list[SplitReport], cut: int, order: random.Random
) -> None:
    first = settle(reports[:cut])
    late = settle([*first, *reports[cut:]])
    before = {report.report_id: report for report in first}
    assert all(before[r.report_id] == r for r in late if r.report_id in before)
    by_subject = defaultdict(set)
    for report in late:
        if report.subject:
            by_subject[report.subject].add(report.split)
    assert all(len(splits) == 1 for splits in by_subject.values())
    by_text = defaultdict(set)  # where no patient is known, the text decides
    for report in late:
        if not any(r.subject for r in late):
            by_text[report.text].add(report.split)
    assert all(len(splits) == 1 for splits in by_text.values())
    shuffled = list(reports)
    order.shuffle(shuffled)
    assert plan_splits(shuffled) == plan_splits(reports)


def test_a_group_without_a_curated_label_goes_to_train() -> None:
    reports = [SplitReport(str(i), f"text {i} " + "abcdefg"[i % 7] * (i + 1)) for i in range(200)]
    assert {split for split, _ in plan_splits(reports).values()} == {"train"}


def test_fractions_come_out_among_curated_groups() -> None:
    # The standard error of a share of 4,000 is at most sqrt(.55 * .45 / 4000) = 0.008; four of them are 0.032.
    reports = [SplitReport(str(i), "", subject=str(i), curated=True) for i in range(4000)]
    reports = [replace(report, text=f"unique {_spell(int(report.report_id))}") for report in reports]
    shares = Counter(split for split, _ in plan_splits(reports, seed=3).values())
    for split, share in DEFAULT_FRACTIONS.items():
        assert shares[split] / 4000 == pytest.approx(share, abs=0.032)


def test_another_seed_draws_other_splits() -> None:
    reports = [SplitReport(str(i), _spell(i), curated=True) for i in range(300)]
    assert plan_splits(reports, seed=0) != plan_splits(reports, seed=1)
    assert plan_splits(reports, seed=0) == plan_splits(reports, seed=0)


def test_a_template_that_all_patients_share_does_not_chain_them() -> None:
    reports = [SplitReport(str(i), "no acute process", subject=str(i), curated=True) for i in range(1000)]
    settled = settle(reports)
    assert max(Counter(report.group_id for report in settled).values()) <= MAX_GROUP
    assert len({report.split for report in settled}) == 4


def test_a_text_without_patients_stays_together_however_often() -> None:
    settled = settle([SplitReport(str(i), "no acute process", curated=True) for i in range(1000)])
    assert len({report.split for report in settled}) == 1


def test_a_near_duplicate_follows_its_twin() -> None:
    words = [f"{a}{b}" for a in "abcdefgh" for b in "klmnopqrst"]  # 80 words, 76 shingles
    one = SplitReport("1", " ".join(words), curated=True, group_id="grp_x", split="test")
    twin = SplitReport("2", " ".join([*words[:-1], "other"]), curated=True)  # 75 of 77 shingles: 0.97
    cousin = SplitReport("3", " ".join([*words[:40], *(f"z{w}" for w in words[40:])]), curated=True)
    plan = plan_splits([one, twin, cousin])
    assert plan["2"] == ("test", "grp_x")
    assert plan["3"][1] != "grp_x"


def test_normalising_folds_case_numbers_masks_and_space() -> None:
    assert normalise("The 3.5 cm  nodule,\nseen on XXXX.") == normalise("the 12 cm nodule seen on ___")
    assert normalise("on [**2101-3-4**]: clear") == "on # clear"
    assert normalise("maxillary") == "maxillary"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=40).map(" ".join), unique=True, max_size=12))
def test_near_duplicates_are_near(texts: list[str]) -> None:
    for one, other in near_duplicates(texts):
        assert one < other
        assert _jaccard(texts[one], texts[other]) >= 0.8


def test_nearly_all_near_duplicates_are_found() -> None:
    draw = random.Random(5)
    originals = [" ".join(f"w{draw.randrange(5000)}" for _ in range(100)) for _ in range(300)]
    copies = [text.rsplit(" ", 1)[0] + " changed" for text in originals]  # 95 of 97 shingles shared
    found = set(near_duplicates(originals + copies))
    assert {(i, i + 300) for i in range(300)} == found


def test_fractions_that_are_none_are_refused() -> None:
    for fractions in ({"train": 0.5}, {"train": 0.5, "dev": 0.5}, {"train": 1.5, "test": -0.5}):
        with pytest.raises(SettingError, match="sum to 1"):
            plan_splits([SplitReport("1", "a")], fractions)


def test_splits_are_written_once(tmp_path: Path) -> None:
    human = Labeler("human", "someone", "1")
    reports = [Report(str(i), "c", {"findings": _spell(i)}) for i in range(60)]
    labels = [Label(r.report_id, "findings", "Edema", "present", human.labeler_id, "full") for r in reports]
    with Store(tmp_path / "s.duckdb") as store:
        store.write(
            {
                "reports": [report_row(report) for report in reports[:40]],
                "labelers": [labeler_row(human)],
                "labels": [label_row(label) for label in labels],
            }
        )
        sizes = assign_splits(store)
        before = store.connection.execute("SELECT report_id, split FROM splits").fetchall()
        assert assign_splits(store) == sizes
        store.write({"reports": [report_row(report) for report in reports[40:]]})
        assert sum(assign_splits(store).values()) == 60
        after = store.connection.execute("SELECT report_id, split FROM splits").fetchall()
    assert sum(sizes.values()) == 40
    assert len(sizes) == 4
    assert set(before) <= set(after)


def _spell(number: int) -> str:
    return " ".join("abcdefghij"[int(digit)] * 3 for digit in f"{number:05d}")


def _jaccard(one: str, other: str) -> float:
    a, b = ({tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))} for words in (one.split(), other.split()))
    return len(a & b) / len(a | b)
