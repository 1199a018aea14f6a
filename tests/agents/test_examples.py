import json
import random

import pytest

from teachback.agents.calls import Answer
from teachback.agents.completion import read_completion
from teachback.agents.examples import PoolExamples, example_source, read_pool, strictest
from teachback.agents.forms import read_label_form
from teachback.agents.hedges import asserted
from teachback.agents.icd10 import check_code
from teachback.agents.nearest import NearestExamples
from teachback.agents.rules import packaged_engine
from teachback.errors import InputError, SettingError
from teachback.prompts import load_prompt
from teachback.store.database import Store
from teachback.store.label import FINDINGS, STATUSES, Label, Labeler
from teachback.store.report import Report
from teachback.store.rows import label_row, labeler_row, report_row

POOL = read_pool(load_prompt("llm_labeler", "few-shot").pool)
PERSON = Labeler("human", "person", "1")
CODER = Labeler("human", "coder", "1")


def sections_of(example):
    findings, impression = example.text.split("\nIMPRESSION: ")
    return [("findings", findings.removeprefix("FINDINGS: ")), ("impression", impression)]


@pytest.mark.parametrize("number", range(len(POOL)))
def test_an_example_says_what_its_report_says(number):
    example = POOL[number]
    read = packaged_engine().label_sections(sections_of(example))
    for finding, entry in example.findings.items():
        assert (entry.evidence == "") == (entry.status == "unmentioned")
        assert entry.evidence in example.text
        assert entry.status == read[finding][0], finding  # the rules, which know nothing of the pool, agree
    for disease in example.diseases:
        assert disease.name in example.text.lower()
        assert disease.evidence in example.text
        assert check_code(disease.icd10) == "billable"
        assert asserted(disease.name, disease.evidence, sections_of(example))[0] == "present"


def test_the_pool_shows_every_finding_and_every_status():
    shown = {(finding, entry.status) for example in POOL for finding, entry in example.findings.items()}
    assert len(POOL) >= 11
    assert {finding for finding, status in shown if status == "present"} == set(FINDINGS)
    assert {status for _, status in shown} == set(STATUSES)
    assert any(not example.diseases for example in POOL)


def test_an_examples_answer_follows_the_schema():
    for tasks in (("findings",), ("diseases",), ("findings", "diseases")):
        body = {"choices": [{"message": {"content": POOL[0].answer(tasks)}, "finish_reason": "stop"}]}
        read_label_form(Answer("c", "r", read_completion(json.dumps(body))), tasks)


def report(text, report_id="r", **more):
    return Report(report_id, "c", {"findings": text}, **more)


def test_a_draw_follows_from_the_text_and_the_seed_alone():
    source = PoolExamples(POOL, 3)
    drawn = source.pick(report("No effusion."))
    assert len({example.text for example in drawn}) == 3
    assert PoolExamples(POOL, 3).pick(report("No effusion.", "another id")) == drawn
    others = [source.pick(report(f"No effusion {n}.")) for n in range(20)]
    assert len({tuple(example.text for example in each) for each in [drawn, *others]}) > 10
    assert any(PoolExamples(POOL, 3, seed).pick(report("No effusion.")) != drawn for seed in (1, 2))
    versions = {PoolExamples(POOL, 3).version, PoolExamples(POOL, 2).version, PoolExamples(POOL[1:], 3).version}
    assert len(versions) == 3


def test_a_report_is_not_its_own_example():
    own = Report("r", "c", dict(sections_of(POOL[4])))
    drawn = PoolExamples(POOL, len(POOL)).pick(own)
    assert len(drawn) == len(POOL) - 1
    assert POOL[4] not in drawn


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- report: [", "not YAML"),
        ("report: x", "holds no examples"),
        ("- {report: x, findings: {Gout: {status: present, evidence: x}}}", "example 1: Gout is no finding"),
        ("- {report: x, findings: {Edema: {status: yes, evidence: x}}}", r"example 1: findings\.Edema\.status"),
        ("- {report: x}\n- {report: x, label: y}", "example 2: label"),
    ],
)
def test_what_is_no_pool_is_said(text, reason):
    with pytest.raises(InputError, match=reason):
        read_pool(text)


def test_the_strictest_policy_counts():
    assert strictest(["any", "local-only", "zero-retention"]) == "local-only"
    assert strictest(["any", "zero-retention"]) == "zero-retention"
    assert strictest(["any"]) == "any"


# report: its text, subject, group, split, corpus
TRAIN = {
    "a": ("Large left pleural effusion with compressive atelectasis.", "s1", "g1", "train", "open"),
    "b": ("Moderate left pleural effusion with compressive atelectasis.", "s2", "g2", "train", "closed"),
    "c": ("Heart size is normal. No pneumothorax.", "s3", "g3", "train", "open"),
    "d": ("Small left pleural effusion with compressive atelectasis.", "s4", "g4", "test", "open"),
    "e": ("Small left pleural effusion with compressive atelectasis today.", "s5", "g5", "train", "open"),
}
EFFUSION = {"Pleural Effusion": "present", "Atelectasis": "present"}
CURATED = {"a": EFFUSION, "b": EFFUSION, "c": {"Cardiomegaly": "absent", "Pneumothorax": "absent"}, "d": EFFUSION}


def fill(store, labeler=PERSON, curated=CURATED, texts=TRAIN):
    labels = [
        Label(name, "findings", finding, statuses.get(finding, "unmentioned"), labeler.labeler_id, "full")
        for name, statuses in curated.items()
        for finding in FINDINGS
    ]
    reports = [
        Report(name, corpus, {"findings": text}, subject) for name, (text, subject, _, _, corpus) in texts.items()
    ]
    store.write(
        {
            "corpora": [{"corpus": "open", "egress": "any"}, {"corpus": "closed", "egress": "local-only"}],
            "reports": [report_row(each) for each in reports],
            "splits": [
                {"report_id": name, "split": split, "group_id": group, "seed": 0}
                for name, (_, _, group, split, _) in texts.items()
            ],
            "labelers": [labeler_row(labeler)],
            "labels": [label_row(label) for label in labels],
        }
    )


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.duckdb") as opened:
        yield opened


def texts_of(examples):
    return [next(name for name, row in TRAIN.items() if row[0] == example.text) for example in examples]


def test_the_nearest_are_curated_train_reports_the_nearest_last(store):
    fill(store)
    source = NearestExamples(store.connection, 2)
    new = Report("n", "open", {"findings": "Large pleural effusion with atelectasis."}, "s9")
    picked = source.pick(new)
    # d is of the test split and e is not curated; a shares `large` with the report, b does not
    assert texts_of(picked) == ["b", "a"]
    assert [example.egress for example in picked] == ["local-only", "any"]
    assert picked[1].findings["Pleural Effusion"].evidence == "pleural effusion"
    assert picked == source.pick(new)


@pytest.mark.parametrize(
    ("name", "text", "subject"),
    [
        ("a", "Whatever pleural effusion.", "s9"),  # the report itself
        ("n", TRAIN["a"][0].upper(), "s9"),  # its text
        ("n", "Large left pleural effusion.", "s1"),  # its patient
        ("e", "Large left pleural effusion.", "s9"),  # its group, below
    ],
)
def test_nothing_that_would_give_the_answer_away_is_an_example(store, name, text, subject):
    fill(store, texts=TRAIN | {"e": (*TRAIN["e"][:2], "g1", *TRAIN["e"][3:])})
    picked = NearestExamples(store.connection, 3).pick(Report(name, "open", {"findings": text}, subject))
    assert "a" not in texts_of(picked)
    assert "b" in texts_of(picked)


def test_where_a_curator_codes_positives_only_the_rules_say_what_is_denied(store):
    texts = {
        "a": ("Small effusion. No pneumothorax. Possible edema.", "s1", "g1", "train", "open"),
        "b": ("Small effusion. Rib fracture.", "s2", "g2", "train", "open"),  # a fracture that nobody coded
        "c": ("Possible effusion.", "s3", "g3", "train", "open"),  # coded, and no words assert it
    }
    coded = {name: {"Pleural Effusion": "present"} for name in texts}
    fill(store, CODER, coded, texts)
    (example,) = NearestExamples(store.connection, 3).pick(report("Effusion, small."))
    said = {name: (entry.status, entry.evidence) for name, entry in example.findings.items() if entry.evidence}
    assert said == {
        "Pleural Effusion": ("present", "effusion"),
        "Pneumothorax": ("absent", "No pneumothorax"),
        "Edema": ("uncertain", "Possible edema"),
    }
    assert example.diseases is None  # nobody curated any
    assert "diseases" not in json.loads(example.answer(("findings", "diseases")))


def test_curated_diseases_come_along(store):
    fill(store)
    disease = Label("a", "diseases", "left pleural effusion", "present", PERSON.labeler_id, "full", icd10="J90")
    store.write({"labels": [label_row(disease)]})
    source = NearestExamples(store.connection, 1)
    (example,) = source.pick(report("Large left pleural effusion with atelectasis."))
    assert [(d.name, d.icd10, d.evidence) for d in example.diseases] == [
        ("left pleural effusion", "J90", "left pleural effusion")
    ]
    assert source.version != NearestExamples(store.connection, 2).version


def test_without_curated_reports_the_remedy_is_said(store):
    with pytest.raises(SettingError, match="no curated reports") as caught:
        NearestExamples(store.connection, 3)
    assert "few-shot" in caught.value.remedy
    with pytest.raises(SettingError, match="no store"):
        example_source(load_prompt("llm_labeler", "nearest"), None, "full")


def test_of_many_the_most_alike_is_picked(store):
    words = [f"word{n}" for n in range(500)]
    rng = random.Random(0)
    texts = {
        f"r{n}": (f"Small effusion. {' '.join(rng.choices(words, k=60))}", None, f"g{n}", "train", "open")
        for n in range(300)
    }
    fill(store, PERSON, {name: {"Pleural Effusion": "present"} for name in texts}, texts)
    source = NearestExamples(store.connection, 3)
    picked = source.pick(report(texts["r7"][0] + " today"))
    assert picked[-1].text == texts["r7"][0]
