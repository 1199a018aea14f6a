"""The report page: what it says first, what it leaves out, and that it is one safe file."""

import copy
import html
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.console import Console

from teachback.distill.report import print_campaign
from teachback.store.label import FINDINGS

Campaign = tuple[dict[str, Any], Path]
PageOf = Callable[..., str]

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
# Chromium's window is never narrower than 500 pixels, so the page is measured in a frame.
FRAME = """<!doctype html><iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe><script>
onload = () => {{ const root = document.querySelector("iframe").contentDocument.documentElement;
document.title = JSON.stringify([root.clientWidth, root.scrollWidth]) }}</script>"""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def words(page: str) -> str:
    """The page as read aloud: no tags, single spaces, plain minus and spaces."""
    text = html.unescape(re.sub(r"<[^>]+>", " ", page.split("</style>")[1]))
    return re.sub(r"\s+", " ", text).replace("\u2212", "-")


def change(store: Path, *statements: str) -> None:
    with duckdb.connect(str(store)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture(scope="session")
def page(campaign: Campaign, tmp_path_factory: pytest.TempPathFactory) -> str:
    from teachback.distill.report import write_report

    with duckdb.connect(str(campaign[1]), read_only=True) as connection:
        return write_report(campaign[0], connection, tmp_path_factory.mktemp("page") / "r.html").read_text("utf-8")


def test_page_is_one_small_file_that_fetches_nothing(page: str) -> None:
    assert len(page.encode()) < 1_000_000
    assert not re.search(r"https?://|<script|<link|<img|<iframe|@import|url\(|\son\w+=", page)
    assert POLICY.search(page)


def test_headline_gives_champion_teacher_and_change_with_intervals(page: str, campaign: Campaign) -> None:
    judged = next(r for r in campaign[0]["rounds"] if r["name"] == "round 2 feedback")["test"]
    micro, gain = judged["figures"]["micro"], judged["over_teacher"]["micro"]
    assert gain["low"] > 0  # of the specimen, which makes mistakes in .5 % of targets
    said = words(page)
    assert "The student (round 2 feedback) scores above its teacher on test" in said
    assert f"{micro['value']:.3f} [{micro['low']:.3f}, {micro['high']:.3f}]" in said
    assert f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]" in said


def test_headline_admits_a_student_below_its_teacher(specimen: Any, page_of: PageOf) -> None:
    base = specimen.play(0, "base", 0.9)
    poor = specimen.play(1, "feedback", 0.5, against=base)
    said = words(page_of(specimen.record(poor), specimen.store.path))
    assert "The student (round 1) is worse than its teacher on test" in said
    assert "says nothing about feedback" in said


def test_feedback_is_told_in_right_statuses_too_where_curated_labels_know_all_four(
    campaign: Campaign, page_of: PageOf
) -> None:
    record = copy.deepcopy(campaign[0])
    (compared,) = record["feedback_over_control"]
    compared["test"]["accuracy"] = {"value": 0.008, "low": 0.002, "high": 0.013}
    assert "share of right statuses +0.008 [+0.002, +0.013] (shown to be better)" in words(page_of(record, campaign[1]))
    for split in ("gate", "test"):
        compared[split]["accuracy"] = {"value": None, "low": None, "high": None}
    assert "right statuses" not in words(page_of(record, campaign[1]))
    for split in ("gate", "test"):
        del compared[split]["accuracy"]  # as an earlier version recorded it
    assert "Feedback against its control arm" in words(page_of(record, campaign[1]))


def test_a_round_whose_control_arm_went_to_the_gate_says_why(campaign: Campaign, page_of: PageOf) -> None:
    record = copy.deepcopy(campaign[0])
    fed = next(r for r in record["rounds"] if r["name"] == "round 2 feedback")
    fed["decision"], fed["passed_over"] = None, "not put to the gate: round 2 control is better on calibration"
    record["champion"], record["feedback_over_control"][0]["to_the_gate"] = "round 1", "control"
    said = words(page_of(record, campaign[1]))
    assert "passed over" in said
    assert "Not put to the gate: round 2 control is better on calibration." in said
    assert "Round 2 put its control arm to the gate" in said
    out = io.StringIO()
    print_campaign(record, Console(file=out, width=100))
    assert "round 2 feedback: not put to the gate: round 2 control is better" in " ".join(out.getvalue().split())


def test_headline_says_when_a_difference_is_not_shown(campaign: Campaign, page_of: PageOf) -> None:
    record = copy.deepcopy(campaign[0])
    champion = next(r for r in record["rounds"] if r["name"] == record["champion"])
    champion["test"]["over_teacher"]["micro"] = {"value": 0.01, "low": -0.02, "high": 0.04}
    said = words(page_of(record, campaign[1]))
    assert "It is not shown that the student (round 2 feedback) differs from its teacher on test" in said
    assert "+0.010 [-0.020, +0.040]: not shown" in said


def test_base_as_champion_is_no_success(specimen: Any, page_of: PageOf) -> None:
    base = specimen.play(0, "base", 0.9)
    specimen.play(1, "feedback", 0.9, against=base)
    said = words(page_of(specimen.record(base, diseases=None), specimen.store.path))
    assert "No round was promoted: the base model, untrained, is still the champion" in said
    assert "The champion has no adapter, so there is no lineage to query" in said
    assert "No disease figures: the champion has no adapter" in said


def test_stand_in_and_fictitious_reports_are_told_before_anything_else(page: str) -> None:
    said = words(page)
    first = said.index("The LLM was a stand-in")
    assert first < said.index("The reports are fictitious") < said.index("The student (round 2")
    assert "Nothing here says anything about GPT-4o" in said
    assert "cost nothing, because a stand-in gave them" in said


def test_no_banner_over_real_reports_and_a_real_model(campaign: Campaign, store_copy: Path, page_of: PageOf) -> None:
    record = copy.deepcopy(campaign[0])
    change(
        store_copy,
        "UPDATE labelers SET model = 'gpt-4o' WHERE model = 'stand-in'",
        "UPDATE llm_calls SET model = 'gpt-4o', cost_usd = 0.01",
        "UPDATE reports SET corpus = 'clinic', report_id = 'x' || report_id",
    )
    said = words(page_of(record, store_copy))
    assert "The LLM was a stand-in" not in said
    assert "fictitious" not in said
    assert "per 1,000 reports" in said  # the answers have a price now


def test_every_subject_stands_on_both_splits(page: str, campaign: Campaign) -> None:
    names = [s["name"] for s in campaign[0]["teacher"]["subjects"]] + [r["name"] for r in campaign[0]["rounds"]]
    for split in ("On test", "On gate"):
        table = next(t for t in re.findall(r"<table>.*?</table>", page, re.S) if f"<caption>{split}" in t)
        assert [name for name in names if f'<th scope="row">{name}' not in table] == []
        assert table.count("reports<span") == len(names)


def test_each_finding_is_there_and_rare_ones_are_marked(page: str, campaign: Campaign) -> None:
    table = next(t for t in re.findall(r"<table>.*?</table>", page, re.S) if "F1 by finding on test" in t)
    rows = re.findall(r'<tr><th scope="row">(.*?)</th><td>(\d+) of \d+(.*?)</td>', table)
    assert [finding for finding, _, _ in rows] == list(FINDINGS)
    assert all(("few" in mark) == (int(positives) < 10) for _, positives, mark in rows)


def test_what_was_fed_back_is_held_against_its_promise(page: str, campaign: Campaign) -> None:
    pseudo = next(r for r in campaign[0]["rounds"] if r["pseudo"])["pseudo"]
    assert pseudo["selected"] > 0
    said = words(page)
    assert f"{pseudo['selected']:,} of {pseudo['predictions']:,} predictions on unlabelled training reports" in said
    assert "at most 30.0\u00a0% wrong" in said or "at most 30.0 % wrong" in said
    assert f"{pseudo['wrong']:,} are wrong" in said
    refused = said.split("refused because predictions")[1].split("round 2 control")[0]
    assert "no threshold certified" in refused
    assert "#" not in refused
    assert "Feedback against its control arm, round 2 on test" in said


def test_examples_show_both_sides_of_the_disagreement(page: str) -> None:
    section = page.split('id="examples"')[1].split("</section>")[0]
    assert 1 <= section.count("<details") <= 10
    assert "champion is right" in section
    assert "<mark>" in section


def test_report_text_is_escaped(campaign: Campaign, store_copy: Path, page_of: PageOf) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    change(
        store_copy,
        *(f"UPDATE reports SET {name} = {name} || '{attack}'" for name in ("findings", "impression", "text")),
    )
    made = page_of(campaign[0], store_copy, title=f"A {attack}")
    assert "<script" not in made
    assert "<img" not in made
    assert made.count("&lt;script&gt;alert(1)") >= 3  # twice in the title, and in the examples


def test_local_only_text_is_left_out_and_counted(campaign: Campaign, store_copy: Path, page_of: PageOf) -> None:
    change(store_copy, "UPDATE corpora SET egress = 'local-only'")
    section = page_of(campaign[0], store_copy).split('id="examples"')[1].split("</section>")[0]
    assert "<details" not in section
    assert 'class="text"' not in section
    assert "local-only" in section
    assert "text is left out" in section


def test_corpus_without_a_policy_is_treated_as_local_only(
    campaign: Campaign, store_copy: Path, page_of: PageOf
) -> None:
    change(store_copy, "DELETE FROM corpora")
    section = page_of(campaign[0], store_copy).split('id="examples"')[1].split("</section>")[0]
    assert "<details" not in section
    assert "not on record" in section


def test_lineage_query_runs_and_finds_the_training_rows(page: str, campaign: Campaign) -> None:
    typed = re.search(r"<pre>teachback sql labels\.duckdb &#34;(.*?)&#34;</pre>", page) or re.search(
        r'<pre>teachback sql labels\.duckdb "(.*?)"</pre>', page
    )
    assert typed
    with duckdb.connect(str(campaign[1]), read_only=True) as connection:
        found = connection.execute(html.unescape(typed[1])).fetchall()
    champion = next(r for r in campaign[0]["rounds"] if r["name"] == campaign[0]["champion"])
    assert len(found) >= sum(champion["labels_by_source"].values()) > 0


def test_report_is_written_again_the_same(campaign: Campaign, page: str, page_of: PageOf) -> None:
    assert page_of(campaign[0], campaign[1]) == page


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_sideways(page: str, tmp_path: Path, width: int) -> None:
    opened = POLICY.sub("", page).replace("<details>", "<details open>")
    (tmp_path / "page.html").write_text(opened, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
        "--disable-sync --no-first-run --hide-scrollbars --allow-file-access-from-files --window-size=1400,1000"
    )
    made = subprocess.run(
        [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", frame.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    title = re.search(r"<title>\[(\d+),(\d+)\]</title>", made.stdout)
    assert title
    assert int(title[2]) <= int(title[1]) == width


def part(page: str, name: str) -> str:
    """One section, as read aloud."""
    return words("</style>" + page.split(f'<section id="{name}"')[1].split("</section>")[0])


def test_each_decision_is_told_with_every_condition(page: str, campaign: Campaign) -> None:
    said = part(page, "rounds")
    for round_ in campaign[0]["rounds"]:
        if not round_["decision"]:
            continue
        asked = [check for check in round_["decision"]["checks"] if check["passed"] is not None]
        told = (
            f"Promoted: {round_['name']} takes the place of {round_['decision']['against']}; it meets all {len(asked)}"
        )
        assert told in said
        for check in round_["decision"]["checks"]:
            assert check["words"] in said
    assert "Look 2 at the gate reports (after promoted)" in said
    assert said.count("not asked list length") == 2


def test_a_refusal_names_the_conditions_that_failed(specimen: Any, page_of: PageOf) -> None:
    first = specimen.play(1, "feedback", 0.01, against=specimen.play(0, "base", 0.9))
    specimen.play(2, "feedback", 0.4, against=first)
    said = part(page_of(specimen.record(first), specimen.store.path), "rounds")
    assert "Rolled back: round 1 stays champion; round 2 feedback fails" in said
    assert re.search(r"fails \d of \d conditions \(micro-F1, ", said)
    assert "not met micro-F1 asked: a gain shown: its lower bound at or above 0" in said


def test_each_round_stands_against_teacher_and_champion(page: str, campaign: Campaign) -> None:
    table = next(t for t in re.findall(r"<table class=\"tight\">.*?</table>", page, re.S))
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr.*?</tr>", table, re.S)[1:]]
    assert len(rows) == len(campaign[0]["rounds"])
    over = next(row for row in rows if row[:3] == ["round", "2", "control"])
    assert over[-3].startswith("\u2212")  # the specimen's control makes more mistakes than the champion


def test_what_the_bounds_let_through_on_gate_is_held_against_the_promise(page: str, campaign: Campaign) -> None:
    held_out = next(r for r in campaign[0]["rounds"] if r["pseudo"])["pseudo"]["held_out"]
    assert held_out["known"] > 0
    said = part(page, "rounds")
    assert f"the same bounds let through {held_out['known']:,} predictions on gate" in said
    assert f"{held_out['wrong']:,} of them are wrong, {100 * held_out['realised_error']:.1f}" in said


def test_rates_of_every_finding_are_told_round_by_round(page: str, campaign: Campaign) -> None:
    section = page.split('<section id="drift"')[1].split("</section>")[0]
    table = re.findall(r"<table>.*?</table>", section, re.S)[0]
    rows = re.findall(r'<tr[^>]*><th scope="row">(.*?)</th>(.*?)</tr>', table)
    assert [name for name, _ in rows] == ["all findings", *FINDINGS]
    figures = next(r for r in campaign[0]["rounds"] if r["name"] == campaign[0]["champion"])["test"]["figures"]
    first = figures["findings"][0]
    assert f"{100 * first['predicted_positives'] / first['n']:.1f}\u00a0%" in rows[1][1]
    assert f"<td>{100 * first['positives'] / first['n']:.1f}\u00a0%</td>" in rows[1][1]


def test_calibration_is_shown_by_finding_before_and_after_on_reports_that_it_was_not_fitted_on(page: str) -> None:
    section = page.split('<section id="calibration"')[1].split("</section>")[0]
    assert section.count('class="curve small"') == 13
    assert section.count('class="curve square"') == 2
    said = part(page, "calibration")
    assert "Probability of present , on test" in said
    assert "error, calibration (fitted)" in said


def test_an_old_record_without_conditions_or_calibration_by_finding_still_has_its_page(
    campaign: Campaign, page_of: PageOf
) -> None:
    record = copy.deepcopy(campaign[0])
    for round_ in record["rounds"]:
        round_["reliability"] = {side: round_["reliability"][side] for side in ("before", "after")}
        if round_["pseudo"]:
            del round_["pseudo"]["held_out"]
        if round_["decision"]:
            for name in ("checks", "alpha", "look"):
                round_["decision"].pop(name, None)
    said = words(page_of(record, campaign[1]))
    assert "Expected calibration error and Brier score of decided statuses" in said
    assert "Promoted: round 1 takes the place of base model." in said


def test_time_energy_and_cost_stand_together(page: str, campaign: Campaign, page_of: PageOf) -> None:
    record = copy.deepcopy(campaign[0])
    trained = [round_["training"] for round_ in record["rounds"] if round_["training"]["steps"]]
    for training in trained:
        training |= {"energy_joules": None, "energy_source": None, "energy_missing": "there is no counter"}
    assert "No energy is on record: there is no counter." in part(page_of(record, campaign[1]), "cost")
    for training in trained:
        training |= {"energy_joules": 5400.0, "energy_source": "CPU packages (RAPL)", "energy_missing": None}
    trained[0] |= {"out_of_memory": [{"step": 3, "micro_batch": 16, "now": 8}], "steps_planned": 1000, "best_step": 2}
    said = part(page_of(record, campaign[1]), "cost")
    assert "out of memory at step 3: micro-batches of 8; stopped early, of 1000 steps" in said
    assert "the adapter of step 2 stands; energy: CPU packages (RAPL)" in said
    assert f"all trainings {100 * len(trained)} - 24 s - {1.5 * len(trained):.2f} Wh" in said
    assert "The bill" in said
    trained[0] |= {"cut_reports": 7, "cut_tokens": 1200, "long_lists": 3}
    said = part(page_of(record, campaign[1]), "lineage")
    assert "2 reports were too long for" in said
    assert "round 1 was trained on 7 reports that lost 1,200 tokens in all, and without 3 lists" in said


def test_labels_that_were_carried_to_another_section_are_told_on_page_and_terminal(
    campaign: Campaign, store_copy: Path, page_of: PageOf
) -> None:
    record = copy.deepcopy(campaign[0])
    pseudo = next(r for r in record["rounds"] if r["pseudo"])["pseudo"]
    counted = {"known": 800, "wrong": 20, "realised_error": 0.025, "realised_interval": [0.0153, 0.0384]}
    pseudo["carried"] = {"labels": 900, "read_otherwise": 45, **counted}
    said = words(page_of(record, store_copy))
    assert "Carried: 900 labels were taught on a sentence of another section too" in said
    assert "it read 45 of these sentences otherwise" in said
    assert "20 are wrong, 2.5" in said
    out = io.StringIO()
    print_campaign(record, Console(file=out, width=100))
    printed = " ".join(out.getvalue().split())
    assert (
        "900 labels carried to other sections, of 800 with a curated label 20 (2.5% [1.5%, 3.8%]) are wrong" in printed
    )
    pseudo["carried"] = {"labels": 9, "read_otherwise": 0, "known": 0, "wrong": 0} | dict.fromkeys(
        ("realised_error", "realised_interval")
    )
    out = io.StringIO()
    print_campaign(record, Console(file=out, width=100))
    assert "9 labels carried to other sections" in " ".join(out.getvalue().split())
