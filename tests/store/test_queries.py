"""The example queries, on a store of which every figure can be counted by hand (`audited_store`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.store import audited_store

from teachback.errors import SettingError
from teachback.store.asking import ask, lock_down
from teachback.store.database import Store, open_snapshot
from teachback.store.queries import Parameter, example_queries, find_query, parse_query


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    connection, _ = open_snapshot(audited_store.build(tmp_path_factory.mktemp("audited") / "labels.duckdb"))
    lock_down(connection)
    with connection:
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, name: str, *columns: str, **values: str) -> list[tuple[Any, ...]]:
    asked = ask(connection, find_query(name).sql(values))
    found = [dict(zip(asked.names, row, strict=True)) for row in asked.rows()]
    return [tuple(row[column] for column in columns) for row in found]


def test_there_are_25_with_a_title_and_a_question_each() -> None:
    queries = example_queries()
    assert len(queries) == 25
    assert len({query.title for query in queries}) == 25
    assert all(query.question.endswith("?") for query in queries)
    assert sum(query.waits for query in queries) >= 5


def test_every_parameter_is_used_and_every_place_has_one() -> None:
    for query in example_queries():
        for parameter in query.parameters:
            assert f"${parameter.name}" in query.template, query.name
        assert "$" not in query.sql(), query.name
        assert query.sql().startswith(("SELECT", "WITH")), query.name  # else a shell would take it for an option


@pytest.mark.parametrize("name", [query.name for query in example_queries()])
def test_query_finds_something_on_a_locked_snapshot(snapshot: duckdb.DuckDBPyConnection, name: str) -> None:
    asked = ask(snapshot, find_query(name).sql())
    assert len(list(asked.rows())) > 0
    assert len(asked.names) == len(set(asked.names))


def test_error_rates_count_missed_and_claimed(snapshot: duckdb.DuckDBPyConnection) -> None:
    # Curated: r1 Edema present (bob, last), r1 Pneumonia absent, r2 Edema present, r2 Pneumonia absent, r5 Edema
    # present, r5 Pneumonia absent. The rules miss r1 Edema and claim r1 Pneumonia; the old prompt misses r2 Edema and
    # claims r1 Pneumonia; the new one misses both Edemas and claims r1 Pneumonia; the student claims r5 Pneumonia.
    # The rules' silence on r5 is no miss.
    found = rows(snapshot, "error_rates", "labeler", "silent", "judged", "missed", "claimed", "wrong")
    assert sorted(found) == [
        ("adjudicator:m", 0, 1, 0, 0, 0.0),
        ("llm:m", 0, 4, 1, 1, 0.5),
        ("llm:m", 0, 4, 2, 1, 0.75),
        ("rule", 1, 4, 1, 1, 0.5),
        ("student:tiny", 0, 2, 0, 1, 0.5),
    ]
    assert rows(snapshot, "error_rates", "judged", split="test") == []


def test_wrong_labels_are_those_of_the_error_rates_the_surest_first(snapshot: duckdb.DuckDBPyConnection) -> None:
    # 2 + 2 + 3 + 1 of the test above; rules have no confidence and come last.
    found = rows(snapshot, "wrong_labels", "target", "labeler", "said", "curated", "confidence")
    assert len(found) == 8
    assert found[0] == ("Edema", "llm:m", "absent", "present", 0.95)
    assert [labeler for _, labeler, *_ in found[-2:]] == ["rule", "rule"]
    assert len(rows(snapshot, "wrong_labels", "target", target="Pneumonia", most="3")) == 3


def test_disagreements_name_who_is_right(snapshot: duckdb.DuckDBPyConnection) -> None:
    # Edema: rule and model differ on both; the model is right on r1, the rules on r2. Pneumonia: they agree twice.
    found = rows(snapshot, "disagreements", "target", "targets", "differ", "share", "first_right", "other_right")
    assert found == [("Edema", 2, 2, 1.0, 1, 1), ("Pneumonia", 2, 0, 0.0, 0, 0)]


def test_disagreements_count_two_labelers_once_however_many_teachers_they_sit_in(tmp_path: Path) -> None:
    path = audited_store.build(tmp_path / "labels.duckdb")
    with Store(path) as store:
        members = [
            {"teacher_id": "again", "labeler_id": one.labeler_id, "seat": "labeler", "place": place}
            for place, one in enumerate((audited_store.RULE, audited_store.OLD, audited_store.NEW))
        ]
        store.write({"teachers": [{"teacher_id": "again"}], "teacher_members": members})
    connection, _ = open_snapshot(path)
    with connection:
        found = rows(connection, "disagreements", "target", "labeler", "other", "targets", "differ")
    # The two prompts of one model have one name, and are two labelers all the same. Edema: the rules differ from the
    # old prompt on both reports, from the new one on r2, and the two prompts from each other on r1.
    assert sorted(found) == [
        ("Edema", "llm:m", "llm:m", 2, 1),
        ("Edema", "rule", "llm:m", 2, 1),
        ("Edema", "rule", "llm:m", 2, 2),
        ("Pneumonia", "llm:m", "llm:m", 2, 0),
        ("Pneumonia", "rule", "llm:m", 2, 0),
        ("Pneumonia", "rule", "llm:m", 2, 0),
    ]


def test_overruled_counts_verdicts_not_left_open(snapshot: duckdb.DuckDBPyConnection) -> None:
    found = rows(snapshot, "overruled", "voter", "disputes", "overruled", "curated", "rightly", "wrongly")
    assert found == [("rule", 1, 1, 1, 1, 0), ("llm:m", 1, 0, 0, 0, 0)]


def test_bill_adds_up_by_day_and_prompt(snapshot: duckdb.DuckDBPyConnection) -> None:
    # Old prompt: 100 + 10 and 200 + 20 tokens, one failed attempt; judge 50 + 5; new prompt 2 x (300 + 30) a day later.
    found = rows(snapshot, "bill_by_day", "day", "prompt", "calls", "failed", "tokens", "usd", "usd_per_answer")
    first, second = audited_store.DAY.date(), audited_store.DAY.date().replace(day=2)
    assert found == [
        (first, "judge", 1, 0, 55, 0.05, 0.05),
        (first, "old", 3, 1, 330, 0.03, 0.015),
        (second, "new", 2, 0, 660, 0.06, 0.03),
    ]


def test_calibration_puts_labels_into_bins(snapshot: duckdb.DuckDBPyConnection) -> None:
    # The student's 0.9 (right) and 0.8 (wrong), in two bins of 0.5 both in the upper one: (0.9 + 0.8) / 2, one of two.
    found = rows(snapshot, "calibration", "labeler", "from", "labels", "mean_confidence", "right", "gap", bins="2")
    assert ("student:tiny", 0.5, 2, 0.85, 0.5, -0.35) in found


def test_failed_reports_tell_what_was_done_since(snapshot: duckdb.DuckDBPyConnection) -> None:
    # r3 failed and was committed later, r7 failed twice and never was.
    assert rows(snapshot, "failed_reports", "reason", "reports", "done_since") == [("no JSON", 2, 1)]


def test_prompt_flips_are_labels_that_changed(snapshot: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        snapshot, "prompt_flips", "report_id", "target", "prompt", "said", "other_prompt", "other_said", "curated"
    )
    assert found == [("r1", "Edema", "old", "present", "new", "absent", "present")]


def test_fed_back_counts_taken_refused_and_wrong(snapshot: duckdb.DuckDBPyConnection) -> None:
    # Round 2 took r5 Edema (right) and r5 Pneumonia (wrong) and refused r6 Edema; round 3 took r6 Edema, not curated.
    found = rows(snapshot, "fed_back", "round", "target", "taken", "refused", "curated", "wrong", "promoted")
    assert found == [
        (2, "Edema", 1, 1, 1, 0, False),
        (2, "Pneumonia", 1, 0, 1, 1, False),
        (3, "Edema", 1, 0, 0, 0, None),
    ]


def test_drift_is_against_the_round_before(snapshot: duckdb.DuckDBPyConnection) -> None:
    # Edema: round 1 present on one of two, round 2 on one of one.
    found = rows(snapshot, "drift", "target", "round", "labels", "positives", "change")
    assert found[:2] == [("Edema", 1, 2, 0.5, None), ("Edema", 2, 1, 1.0, 0.5)]


def test_reviewers_agree_on_one_of_two(snapshot: duckdb.DuckDBPyConnection) -> None:
    # ann and bob: r1 Edema absent and present, r2 Edema present (her second word) and present.
    found = rows(snapshot, "reviewer_agreement", "reviewer", "other", "both_decided", "same", "share")
    assert ("ann", "bob", 2, 1, 0.5) in found


def test_reviewer_changes_leave_out_what_was_taken_back(snapshot: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        snapshot, "reviewer_changes", "report_id", "target", "labelers", "said", "set_to", "note", reviewer="ann"
    )
    assert ("r1", "Edema", "adjudicator:m, llm:m", "present", "absent", "chronic") in found
    assert not any(target == "Pneumonia" for _, target, *_ in found)


def test_adapter_diet_pays_each_call_once(snapshot: duckdb.DuckDBPyConnection) -> None:
    # Calls 1 and 2 gave the model's two labels (0.01 + 0.02), one call the judge's (0.05).
    found = rows(snapshot, "adapter_diet", "labeler", "labels", "positives", "mean_weight", "usd", adapter="abc")
    assert [(*row[:4], round(row[4], 6)) for row in found] == [
        ("llm:m", 2, 1, 1.0, 0.03),
        ("adjudicator:m", 1, 1, 1.0, 0.05),
    ]


def test_unfinished_runs_count_what_they_left(snapshot: duckdb.DuckDBPyConnection) -> None:
    # Run 2 was interrupted with four labels on two reports, run 3 never ended: four labels on r5 and r6.
    found = rows(snapshot, "unfinished_runs", "run_id", "ended", "labels", "reports", "not_committed")
    assert found == [("run_2", "interrupted", 4, 2, 0), ("run_3", "running, or killed", 4, 2, 2)]


def test_egress_names_what_a_policy_forbids(snapshot: duckdb.DuckDBPyConnection) -> None:
    found = rows(snapshot, "egress", "corpus", "policy", "model", "reports_sent", "calls")
    assert found == [("closed", "local-only", "m", 1, 3), ("open", "any", "m", 1, 3)]


def test_doubtful_labels_are_found_by_quote_and_code(snapshot: duckdb.DuckDBPyConnection) -> None:
    assert rows(snapshot, "ungrounded", "report_id", "quote") == [("r2", "no oedema at all")]
    assert rows(snapshot, "wrong_codes", "code", "what") == [("J18.999", "unknown"), ("J81", "category")]
    assert rows(snapshot, "repeated_reports", "reports", "splits", "such_as") == [(2, 2, ["r5", "r6"])]


def test_values_are_literals_whatever_they_hold(snapshot: duckdb.DuckDBPyConnection) -> None:
    assert rows(snapshot, "wrong_labels", "target", target="'; DROP TABLE labels; --") == []
    assert "'it''s'" in find_query("wrong_labels").sql({"target": "it's"})


@given(st.text())
def test_a_text_comes_back_as_it_was_given(text: str) -> None:
    literal = Parameter("p", "''", "").literal(text.replace("\x00", ""))
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT {literal}").fetchall() == [(text.replace("\x00", ""),)]


def test_wrong_name_and_wrong_value_are_explained() -> None:
    with pytest.raises(SettingError, match="no example query") as caught:
        find_query("wrong_label")
    assert "wrong_labels" in caught.value.remedy
    with pytest.raises(SettingError, match="'x' is no number"):
        find_query("wrong_labels").sql({"most": "x"})
    with pytest.raises(SettingError, match="no parameter corpus") as caught:
        find_query("wrong_labels").sql({"corpus": "x"})
    assert caught.value.remedy == "it takes target, most"


def test_a_dollar_in_a_text_is_no_place() -> None:
    query = parse_query("q", "-- title: T\n-- question: Q?\n-- waits: no\n-- param a = 1: n\nSELECT '$a', $a\n")
    assert query.sql({"a": "2"}) == "SELECT '$a', 2"


def test_files_are_found_beside_the_package() -> None:
    folder = Path(__file__).resolve().parents[2] / "store" / "queries"
    assert {file.stem for file in folder.glob("*.sql")} == {query.name for query in example_queries()}
