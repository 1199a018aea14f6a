"""The rule labeler as a teacher: its labels, its identity, and when it abstains."""

import pytest

from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.rules import RuleSet
from teachback.store.label import FINDINGS
from teachback.store.report import Report, Scope

FULL = RuleLabeler()
REPORT = Report("r1", "c", {"indication": "Pneumonia?", "findings": "Small effusion.", "impression": "No edema."})


def test_report_gets_a_label_for_each_finding() -> None:
    labels = FULL.label(REPORT)
    assert tuple(label.target for label in labels) == FINDINGS
    by_finding = {label.target: label for label in labels}
    assert by_finding["Pleural Effusion"].status == "present"
    assert by_finding["Pleural Effusion"].evidence[0].section == "findings"
    assert by_finding["Edema"].status == "absent"
    assert by_finding["Pneumonia"].status == "unmentioned"
    assert {label.labeler_id for label in labels} == {FULL.spec.labeler_id}
    assert {label.task for label in labels} == {"findings"}


def test_label_has_no_confidence_and_says_why() -> None:
    for label in FULL.label(REPORT):
        assert label.confidence is None
        assert label.confidence_source is None
        assert label.confidence_note == "rules give no probability"


@pytest.mark.parametrize(
    ("scope", "effusion", "edema"),
    [("full", "present", "absent"), ("impression", "unmentioned", "absent"), ("mimic", "unmentioned", "absent")],
)
def test_scope_decides_what_is_read(scope: Scope, effusion: str, edema: str) -> None:
    labels = {label.target: label for label in RuleLabeler(scope).label(REPORT)}
    assert (labels["Pleural Effusion"].status, labels["Edema"].status) == (effusion, edema)
    assert labels["Edema"].scope == scope


def test_report_without_the_scope_is_abstained_on() -> None:
    only_findings = Report("r2", "c", {"findings": "Small effusion."})
    assert RuleLabeler("impression").label(only_findings) == []
    assert len(RuleLabeler("mimic").label(only_findings)) == 13
    assert FULL.label(Report("r3", "c", {"findings": "  "})) == []


def test_identity_is_the_rules_and_the_scope() -> None:
    spec = FULL.spec
    assert (spec.kind, spec.name, spec.version) == ("rule", "rule", RuleSet.load().version)
    assert spec.parameters == {"scope": "full"}
    assert spec.labeler_id != RuleLabeler("mimic").spec.labeler_id
    assert spec.labeler_id == RuleLabeler().spec.labeler_id


def test_same_report_gets_the_same_label_ids() -> None:
    assert [x.label_id for x in FULL.label(REPORT)] == [x.label_id for x in RuleLabeler().label(REPORT)]
