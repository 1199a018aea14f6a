"""Which labels flip between two rule sets, counted by hand on six reports."""

from pathlib import Path

import pytest

from teachback.agents.rule_diff import RuleDiff, diff_rules
from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.rules import RuleSet
from teachback.store.report import Report, Scope

FINDINGS = "findings:\n  Edema: {terms: [edema]}\n  Effusion: {terms: [effusion]}\n"
CUES = "rules:\n  - {name: negated, says: absent, reads: forward, phrases: [no]}\n"
# The new rules know another word for an effusion, no longer know `no`, and leave advice aside.
NEW_FINDINGS = FINDINGS.replace("[effusion]", "[effusion, fluid]")
NEW_CUES = (
    "rules:\n"
    "  - {name: advice, says: ignored, reads: forward, phrases: [evaluate for]}\n"
    "  - {name: negated, says: absent, reads: forward, phrases: [without]}\n"
)
REPORTS = [
    Report("r1", "c", {"findings": "No edema."}),  # Edema absent -> present
    Report("r2", "c", {"findings": "No edema.", "impression": "Fluid."}),  # the same, Effusion unmentioned -> present
    Report("r3", "c", {"findings": "Evaluate for effusion."}),  # Effusion present -> unmentioned
    Report("r4", "c", {"findings": "Effusion."}),  # as before
    Report("r5", "c", {"indication": "Edema?"}),  # no text in the scope
    Report("r6", "c", {"impression": "No edema, no effusion."}),  # Edema and Effusion absent -> present
]


def labeler(folder: Path, findings: str = FINDINGS, cues: str = CUES, scope: Scope = "full") -> RuleLabeler:
    folder.mkdir()
    (folder / "findings.yaml").write_text(findings, "utf-8")
    (folder / "cues.yaml").write_text(cues, "utf-8")
    return RuleLabeler(scope, RuleSet.load(folder))


def differ(tmp_path: Path, examples: int = 3, scope: Scope = "full") -> RuleDiff:
    old, new = labeler(tmp_path / "old", scope=scope), labeler(tmp_path / "new", NEW_FINDINGS, NEW_CUES, scope)
    return diff_rules(iter(REPORTS), old, new, examples)


def test_flips_are_counted_by_finding_and_kind(tmp_path: Path) -> None:
    diff = differ(tmp_path)
    assert diff.flips == {
        "Edema": {("absent", "present"): 3},  # r1, r2, r6
        "Effusion": {("unmentioned", "present"): 1, ("present", "unmentioned"): 1, ("absent", "present"): 1},
    }
    assert (diff.reports, diff.without_text) == (6, 1)
    assert diff.total == 6
    assert diff.touched == 4  # r1, r2, r3, r6: two flips of one report touch one
    assert diff.touched_share == pytest.approx(4 / 6)
    assert (diff.only_old, diff.only_new) == ((), ())


def test_scope_decides_what_can_flip(tmp_path: Path) -> None:
    diff = differ(tmp_path, scope="impression")
    assert diff.flips == {
        "Effusion": {("unmentioned", "present"): 1, ("absent", "present"): 1},  # r2, r6
        "Edema": {("absent", "present"): 1},  # r6 alone has it in its impression
    }
    assert list(diff.flips) == ["Effusion", "Edema"]  # most flips first
    assert (diff.reports, diff.without_text) == (6, 4)


def test_examples_show_what_each_side_rests_on(tmp_path: Path) -> None:
    flips = {(flip.report_id, flip.finding): flip for flip in differ(tmp_path).examples}
    first = flips["r1", "Edema"]
    assert (first.old, first.new) == ("absent", "present")
    assert first.old_mention is not None
    assert first.new_mention is not None
    assert (first.old_mention.quote, first.old_mention.cue, first.old_mention.rule) == ("edema", "No", "negated")
    assert (first.new_mention.quote, first.new_mention.cue, first.new_mention.rule) == ("edema", "", "stated")
    found = flips["r2", "Effusion"]
    assert found.old_mention is None  # the old rules see no word for it
    assert found.new_mention is not None
    assert (found.new_mention.section, found.new_mention.quote) == ("impression", "Fluid")
    left_aside = flips["r3", "Effusion"].new_mention
    assert left_aside is not None
    assert (left_aside.status, left_aside.cue, left_aside.rule) == ("unmentioned", "Evaluate for", "advice")


@pytest.mark.parametrize(
    ("examples", "ids"),
    [
        (0, []),
        (1, ["r1", "r2"]),  # one a finding
        (2, ["r1", "r2", "r2", "r3"]),
        (9, ["r1", "r2", "r6", "r2", "r3", "r6"]),
    ],
)
def test_so_many_examples_of_each_finding_are_kept(tmp_path: Path, examples: int, ids: list[str]) -> None:
    assert [flip.report_id for flip in differ(tmp_path, examples).examples] == ids


def test_examples_show_as_many_kinds_as_there_is_room_for(tmp_path: Path) -> None:
    reports = [*(Report(f"a{n}", "c", {"text": "No effusion."}) for n in range(5)), REPORTS[2]]
    old, new = labeler(tmp_path / "old"), labeler(tmp_path / "new", NEW_FINDINGS, NEW_CUES)
    diff = diff_rules(reports, old, new, examples=2)
    assert diff.flips == {"Effusion": {("absent", "present"): 5, ("present", "unmentioned"): 1}}
    assert [flip.report_id for flip in diff.examples] == ["a0", "r3"]  # not a0 and a1


def test_the_deciding_mention_is_shown_not_the_first(tmp_path: Path) -> None:
    report = Report("r", "c", {"text": "No edema. Later, edema is there."})
    cues = CUES + "  - {name: doubted, says: uncertain, reads: backward, phrases: [is there]}\n"
    diff = diff_rules([report], labeler(tmp_path / "old"), labeler(tmp_path / "new", cues=cues))
    (flip,) = diff.examples
    assert (flip.old, flip.new) == ("present", "uncertain")
    assert flip.old_mention is not None
    assert flip.new_mention is not None
    assert flip.old_mention.start == flip.new_mention.start == len("No edema. Later, ")
    assert flip.new_mention.rule == "doubted"


def test_a_mention_of_the_same_status_that_does_not_decide_is_passed_over(tmp_path: Path) -> None:
    heart = FINDINGS + (
        "  Cardiomegaly: {}\n"
        "measured: [{finding: Cardiomegaly, subjects: [heart], uncertain: [borderline], unchanged: [unchanged]}]\n"
    )
    # Both mentions are uncertain, but one that tells of a comparison alone gives way.
    report = Report("r", "c", {"text": "Heart unchanged. Heart borderline."})
    certain = heart.replace("uncertain: [borderline]", "present: [borderline]")
    diff = diff_rules([report], labeler(tmp_path / "old", heart), labeler(tmp_path / "new", certain))
    (flip,) = diff.examples
    assert (flip.old, flip.new) == ("uncertain", "present")
    assert flip.old_mention is not None
    assert flip.old_mention.quote == "Heart borderline"


def test_a_finding_of_one_rule_set_is_unmentioned_by_the_other(tmp_path: Path) -> None:
    old = labeler(tmp_path / "old")
    new = labeler(tmp_path / "new", "findings:\n  Edema: {terms: [edema]}\n  Hernia: {terms: [hernia]}\n")
    reports = [Report("r1", "c", {"text": "Effusion. Hernia. No edema."}), Report("r2", "c", {"text": "Edema."})]
    diff = diff_rules(reports, old, new)
    assert (diff.only_old, diff.only_new) == (("Effusion",), ("Hernia",))
    assert diff.flips == {
        "Effusion": {("present", "unmentioned"): 1},
        "Hernia": {("unmentioned", "present"): 1},
    }
    lost, won = diff.examples
    assert (lost.new_mention, won.old_mention) == (None, None)
    assert won.new_mention is not None
    assert won.new_mention.quote == "Hernia"


def test_no_reports_flip_nothing(tmp_path: Path) -> None:
    diff = diff_rules([], labeler(tmp_path / "old"), labeler(tmp_path / "new", cues=NEW_CUES))
    assert (diff.total, diff.touched_share, diff.examples) == (0, 0.0, [])
