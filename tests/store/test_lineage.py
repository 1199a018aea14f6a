"""Lineage on a store of which every step is known (`audited_store`)."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from tests.store import audited_store as known

from teachback.errors import SettingError
from teachback.store.asking import lock_down
from teachback.store.database import Store, open_snapshot
from teachback.store.lineage import fetch_adapter, fetch_impact, fetch_label


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return known.build(tmp_path_factory.mktemp("lineage") / "labels.duckdb")


@pytest.fixture
def snapshot(store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection, _ = open_snapshot(store)
    lock_down(connection)
    with connection:
        yield connection


def test_a_verdict_leads_to_report_prompt_answer_cost_and_votes(snapshot: duckdb.DuckDBPyConnection) -> None:
    label = fetch_label(snapshot, known.JUDGE_EDEMA.label_id)
    assert (label["report_id"], label["findings"], label["split"]) == ("r1", "Edema.", "train")
    assert (label["prompt"], label["prompt_text"], label["raw_answer"]) == ("judge", "Judge.", "answer judge")
    assert (label["prompt_tokens"], label["completion_tokens"], label["cost_usd"]) == (50, 5, 0.05)
    assert (label["run_id"], label["command"]) == ("run_1", "label")
    (decided,) = label["adjudications"]
    assert (decided["part"], decided["verdict"], decided["rationale"]) == ("decided", "present", "it says edema")
    assert decided["cost_usd"] == 0.05
    votes = [(vote["labeler"], vote["status"], vote["confidence"], vote["quote"]) for vote in decided["votes"]]
    assert votes == [("llm:m", "present", 0.9, "Edema."), ("rule", "absent", None, None)]
    # What truth, ann and bob say, in the order of time.
    later = [(entry["how"], entry["labeler"], entry["status"], entry["agrees"]) for entry in label["superseded_by"]]
    assert later == [
        ("curated", "truth", "present", True),
        ("curated", "ann", "absent", False),
        ("curated", "bob", "present", True),
    ]
    (accepted,) = label["reviews"]
    assert (accepted["reviewer"], accepted["part"], accepted["undone"]) == ("bob", "accepted it", False)
    assert label["current"]


def test_the_label_whose_first_call_failed_has_the_answer_that_came(snapshot: duckdb.DuckDBPyConnection) -> None:
    label = fetch_label(snapshot, known.OLD_NO_PNEUMONIA.label_id)
    assert (label["raw_answer"], label["cost_usd"]) == ("answer 2", 0.02)


def test_a_weighed_vote_tells_what_was_decided_on_it(snapshot: duckdb.DuckDBPyConnection) -> None:
    label = fetch_label(snapshot, known.RULE_EDEMA.label_id)
    assert [(entry["part"], entry["verdict"]) for entry in label["adjudications"]] == [("weighed", "present")]
    by_judge = [entry for entry in label["superseded_by"] if entry["how"] == "adjudication"]
    assert [(entry["label_id"], entry["agrees"]) for entry in by_judge] == [(known.JUDGE_EDEMA.label_id, False)]
    assert (label["llm_call_id"], label["prompt_id"], label["reviews"]) == (None, None, None)
    assert label["current"]  # the rules still say so


def test_a_verdict_left_open_has_no_label(snapshot: duckdb.DuckDBPyConnection) -> None:
    label = fetch_label(snapshot, known.OLD_R2.label_id)
    by_judge = [entry for entry in label["superseded_by"] if entry["how"] == "adjudication"]
    assert [(entry["label_id"], entry["status"]) for entry in by_judge] == [(None, "cannot_tell")]


def test_of_a_reviewers_words_the_last_holds_and_what_was_taken_back_does_not(
    snapshot: duckdb.DuckDBPyConnection,
) -> None:
    steps = {decision.review_id: decision for decision in known.decisions()}

    def of(review_id: str) -> str:
        given = steps[review_id].label()
        assert given is not None
        return given.label_id

    first, second, undone = (fetch_label(snapshot, of(number)) for number in ("rev_01", "rev_02", "rev_03"))
    assert (first["current"], second["current"], undone["current"]) == (False, True, False)
    assert [entry["label_id"] for entry in first["superseded_by"] if entry["how"] == "labeler"] == [of("rev_02")]
    assert [entry for entry in second["superseded_by"] if entry["how"] == "labeler"] == []
    assert [(entry["part"], entry["undone"]) for entry in undone["reviews"]] == [
        ("set it", True),
        ("took that back", False),
    ]
    current = snapshot.execute(
        """SELECT report_id, target, status FROM current_labels
        WHERE labeler = 'ann' AND labeler_kind = 'human' ORDER BY ALL"""
    ).fetchall()
    assert current == [("r1", "Edema", "absent"), ("r2", "Edema", "present")]


def test_macro_gives_a_row_for_every_label_and_none_for_another(snapshot: duckdb.DuckDBPyConnection) -> None:
    (labels,) = snapshot.execute("SELECT count(*) FROM labels").fetchall()[0]
    for (label_id,) in snapshot.execute("SELECT label_id FROM labels").fetchall():
        assert len(snapshot.sql("FROM label_lineage(?)", params=[label_id]).to_arrow_table()) == 1
    assert labels == snapshot.execute("SELECT count(*) FROM label_votes").fetchall()[0][0]
    assert len(snapshot.sql("FROM label_lineage('none')").to_arrow_table()) == 0


@pytest.mark.parametrize("macro", ["label_lineage", "label_impact"])
def test_who_names_the_report_too_gets_the_same_of_it_and_nothing_of_another(
    snapshot: duckdb.DuckDBPyConnection, macro: str
) -> None:
    label = known.OLD_PNEUMONIA
    found = snapshot.sql(f"FROM {macro}(?)", params=[label.label_id]).to_arrow_table()
    named = snapshot.sql(f"FROM {macro}(?, report := ?)", params=[label.label_id, label.report_id]).to_arrow_table()
    other = snapshot.sql(f"FROM {macro}(?, report := ?)", params=[label.label_id, "r2"]).to_arrow_table()
    assert sorted(map(str, named.to_pylist())) == sorted(map(str, found.to_pylist()))
    assert (len(found) > 0, len(other)) == (True, 0)


@pytest.mark.parametrize("name", ["abd222", "abd", "/runs/cmp/2-feedback/adapter", "2-feedback/adapter/", "rnd_2"])
def test_an_adapter_is_found_by_hash_prefix_path_and_round(snapshot: duckdb.DuckDBPyConnection, name: str) -> None:
    query = "SELECT source, labeler, weight, prompt_text, rationale, made_in FROM adapter_lineage(?) ORDER BY ALL"
    assert snapshot.execute(query, [name]).fetchall() == [
        ("pseudo", "student:tiny", 0.32, None, None, "rnd_1"),
        ("pseudo", "student:tiny", 0.36, None, None, "rnd_1"),
        ("teacher", "adjudicator:m", 1.0, "Judge.", "it says edema", None),
        ("teacher", "llm:m", 1.0, "Label this.", None, None),
        ("teacher", "llm:m", 1.0, "Label this.", None, None),
    ]


def test_an_adapters_making_is_counted_and_each_call_paid_once(snapshot: duckdb.DuckDBPyConnection) -> None:
    made = fetch_adapter(snapshot, "abd222")
    assert [(round_["round_id"], round_["promoted"], round_["decision"]) for round_ in made.rounds] == [
        ("rnd_2", False, "not shown to be better")
    ]
    sources = {(row["source"], row["labeler"]): (row["labels"], row["weight_sum"]) for row in made.sources}
    assert sources == {
        ("teacher", "llm:m"): (2, 2.0),
        ("teacher", "adjudicator:m"): (1, 1.0),
        ("pseudo", "student:tiny"): (2, pytest.approx(0.68)),
    }
    assert [(row["prompt"], row["calls"], row["cost_usd"]) for row in made.calls] == [
        ("old", 2, pytest.approx(0.03)),
        ("judge", 1, pytest.approx(0.05)),
    ]
    # r1 and r5 are open, r2 is closed; r6 was refused.
    assert [(row["corpus"], row["reports"]) for row in made.corpora] == [("closed", 1), ("open", 2)]


@pytest.mark.parametrize("name", ["ab", "zzz", "", "/"])
def test_an_adapter_that_is_not_one_is_an_error_that_lists_them(snapshot: duckdb.DuckDBPyConnection, name: str) -> None:
    with pytest.raises(SettingError, match="several adapters" if name == "ab" else "no adapter") as caught:
        fetch_adapter(snapshot, name)
    assert "abc111 (round 1 feedback)" in caught.value.remedy


def test_impact_reaches_on_through_pseudo_labels(snapshot: duckdb.DuckDBPyConnection) -> None:
    impact = fetch_impact(snapshot, known.OLD_PNEUMONIA.label_id)
    assert impact.verdicts == []
    # Rounds 1, linear and 2 trained on it; round 3 on a pseudo-label of round 2's student.
    reached = {row["round_id"]: (row["direct"], row["weight"], row["promoted"]) for row in impact.adapters}
    assert reached == {
        "rnd_1": (True, 1.0, True),
        "rnd_linear": (True, 1.0, None),
        "rnd_2": (True, 1.0, False),
        "rnd_3": (False, None, None),
    }
    given = {(row["label_id"], row["used_in"], row["selected"]) for row in impact.pseudo_labels}
    assert given == {
        (known.FED_EDEMA.label_id, "rnd_2", True),
        (known.FED_PNEUMONIA.label_id, "rnd_2", True),
        (known.REFUSED.label_id, "rnd_2", False),
        (known.FED_LATER.label_id, "rnd_3", True),
    }


def test_impact_goes_through_the_verdict_that_followed_a_vote_only(snapshot: duckdb.DuckDBPyConnection) -> None:
    followed = fetch_impact(snapshot, known.OLD_EDEMA.label_id)
    assert [row["label_id"] for row in followed.verdicts] == [known.JUDGE_EDEMA.label_id]
    assert {row["round_id"] for row in followed.adapters} == {"rnd_1", "rnd_linear", "rnd_2", "rnd_3"}
    overruled = fetch_impact(snapshot, known.RULE_EDEMA.label_id)
    assert (overruled.verdicts, overruled.adapters, overruled.pseudo_labels) == ([], [], [])


def test_a_pseudo_label_that_was_refused_had_no_impact(snapshot: duckdb.DuckDBPyConnection) -> None:
    assert fetch_impact(snapshot, known.REFUSED.label_id).adapters == []
    assert {row["round_id"] for row in fetch_impact(snapshot, known.FED_LATER.label_id).adapters} == {"rnd_3"}


def test_an_unknown_label_is_an_error_that_says_where_labels_are(snapshot: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SettingError, match="no label 'lab_x'") as caught:
        fetch_label(snapshot, "lab_x")
    assert "FROM label_votes WHERE report_id = 'REPORT'" in caught.value.remedy
    with pytest.raises(SettingError) as caught:
        fetch_impact(snapshot, "r1")
    assert "report_id = 'r1'" in caught.value.remedy


def test_a_store_without_rounds_says_so(tmp_path: Path) -> None:
    Store(tmp_path / "labels.duckdb").close()
    connection, _ = open_snapshot(tmp_path / "labels.duckdb")
    lock_down(connection)
    with connection, pytest.raises(SettingError, match="no adapter") as caught:
        fetch_adapter(connection, "abc")
    assert "teachback distill" in caught.value.remedy
