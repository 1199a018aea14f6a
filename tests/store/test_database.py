import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from teachback.errors import StoreError
from teachback.store.database import GOOD_GROUP, Rows, Store, open_snapshot, snapshot_path
from teachback.store.label import Label, Labeler
from teachback.store.rows import label_row, labeler_row


def reports(*report_ids: str) -> list[dict[str, Any]]:
    return [{"report_id": report_id, "corpus": "c", "text": "Clear."} for report_id in report_ids]


def ids_of(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT report_id FROM reports ORDER BY ALL").fetchall()]


def snapshot_ids(path: Path) -> list[str]:
    connection, _ = open_snapshot(path)
    with connection:
        return ids_of(connection)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.duckdb"


def test_a_row_is_written_once_however_often_it_comes(path: Path) -> None:
    with Store(path) as store:
        assert store.write({"reports": reports("a", "b", "a")}) == {"reports": 2}
        assert store.write({"reports": reports("b", "c")}) == {"reports": 1}
        assert store.write({"reports": reports("a", "b", "c"), "corpora": []}) == {"reports": 0, "corpora": 0}
        assert ids_of(store.connection) == ["a", "b", "c"]


@pytest.mark.parametrize("columns", [False, True])
def test_of_rows_that_are_the_same_the_last_is_written(path: Path, columns: bool) -> None:
    # (a, 1), (b, 1), (a, 2): the key of `splits` is the report alone, that of `slices` has the slice as well.
    named = [("a", "1"), ("b", "1"), ("a", "2")]
    splits = [{"report_id": r, "split": "train", "group_id": name, "seed": 0} for r, name in named]
    slices = [{"report_id": r, "slice": "sex", "value": name} for r, name in named]
    others = [{"report_id": r, "slice": "site", "value": name} for r, name in named[:2]]
    given: Rows = {"splits": splits, "slices": [*slices, *others]}
    if columns:
        given = {table: pa.Table.from_pylist(list(rows)) for table, rows in given.items()}
    with Store(path) as store:
        assert store.write(given) == {"splits": 2, "slices": 4}
        kept = store.connection.execute("SELECT report_id, group_id FROM splits ORDER BY ALL").fetchall()
        cut = store.connection.execute("SELECT report_id, slice, value FROM slices ORDER BY ALL").fetchall()
    assert kept == [("a", "2"), ("b", "1")]
    assert cut == [("a", "sex", "2"), ("a", "site", "1"), ("b", "sex", "1"), ("b", "site", "1")]


@pytest.mark.parametrize(("rows", "groups"), [(GOOD_GROUP // 10, 1), (GOOD_GROUP, 4)])
def test_only_small_groups_of_rows_are_put_together(path: Path, rows: int, groups: int) -> None:
    columns = ("report_id", "labeler_id", "run_id", "reason")
    # Each publication closes a group. Four of 3,000 fit into one; four of 30,000 are left alone, and so are cheap.
    with Store(path) as store:
        for number in range(4):
            texts = pa.repeat(pa.scalar(f"failed {number}"), rows)
            store.write({"failures": pa.table(dict.fromkeys(columns, texts))})
            store.publish()
        found = store.connection.execute("SELECT DISTINCT row_group_id FROM pragma_storage_info('failures')").fetchall()
        assert len(found) == groups
        assert store.connection.execute("SELECT count(*) FROM failures").fetchone() == (4 * rows,)


def test_a_table_without_a_key_takes_every_row(path: Path) -> None:
    row = {"report_id": "a", "labeler_id": "l", "run_id": "r", "reason": "empty"}
    with Store(path) as store:
        assert store.write({"failures": [row, row]}) == {"failures": 2}


def test_rows_are_stamped_unless_they_bring_their_time(path: Path) -> None:
    with Store(path) as store:
        store.write({"corpora": [{"corpus": "c", "egress": "any"}]})
        stamped = store.connection.execute("SELECT epoch(imported_at) FROM corpora").fetchone()
    assert stamped is not None
    assert 0 <= time.time() - stamped[0] < 60


def test_an_unknown_column_is_an_error_that_names_it(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(StoreError, match="table reports has no column colour"):
            store.write({"reports": [*reports("a"), {**reports("b")[0], "colour": "red"}]})
        assert ids_of(store.connection) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"splits": [{"report_id": "a", "split": "dev", "group_id": "g", "seed": 0}]},  # a CHECK
        {"labelers": [{"labeler_id": "l", "kind": "rule"}]},  # a NOT NULL
        {"nowhere": [{"x": 1}]},
        {"runs": [{"run_id": "r", "command": 3}]},
    ],
)
def test_a_failed_transaction_leaves_nothing(path: Path, bad: dict[str, Any]) -> None:
    with Store(path) as store:
        store.write({"reports": reports("a")})
        with pytest.raises((duckdb.Error, ValueError, TypeError)):
            store.write({"reports": reports("b"), **bad})
        assert ids_of(store.connection) == ["a"]
        store.write({"reports": reports("b")})  # the store goes on
    assert snapshot_ids(path) == ["a", "b"]


def test_readers_see_what_was_published_and_its_age(path: Path) -> None:
    with Store(path) as store:
        store.write({"reports": reports("a")})
        assert store.publish()
        store.write({"reports": reports("b")})
        assert snapshot_ids(path) == ["a"]
        assert not store.publish(min_interval=60)
        assert store.publish()
        assert not store.publish()  # nothing new
        connection, age = open_snapshot(path)
        with connection:
            assert ids_of(connection) == ["a", "b"]
            with pytest.raises(duckdb.Error, match="read-only"):
                connection.execute("DELETE FROM reports")
    assert 0 <= age < 60


def test_closing_publishes(path: Path) -> None:
    with Store(path) as store:
        store.write({"reports": reports("a")})
    assert snapshot_ids(path) == ["a"]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["labels.duckdb", "labels.snapshot.duckdb"]


def test_a_lost_snapshot_is_published_again(path: Path) -> None:
    with Store(path) as store:
        store.write({"reports": reports("a")})
    snapshot_path(path).unlink()
    Store(path).close()
    assert snapshot_ids(path) == ["a"]


WRITER = """
import sys
from teachback.store.database import Store
with Store(sys.argv[1]) as store:
    for number in range(40):  # each pair of rows in one transaction, and a snapshot after each
        name = f"{number:04}"
        store.write({"reports": [{"report_id": name, "corpus": "c"}], "corpora": [{"corpus": name, "egress": "any"}]})
        store.publish()
"""


def test_readers_always_get_a_whole_snapshot_while_a_writer_publishes(path: Path) -> None:
    Store(path).close()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    seen = [0]
    while writer.poll() is None:
        connection, _ = open_snapshot(path)
        with connection:
            names = ids_of(connection)
            corpora = connection.execute("SELECT corpus FROM corpora ORDER BY ALL").fetchall()
        assert names == [f"{number:04}" for number in range(len(names))]
        assert [name for (name,) in corpora] == names
        seen.append(len(names))
    assert writer.returncode == 0
    assert seen == sorted(seen)  # never an older one after a newer one
    assert len(set(seen)) > 3
    assert len(snapshot_ids(path)) == 40


def open_in_another_process(path: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from teachback.store.database import Store; Store(sys.argv[1]).close()"
    return subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)


def test_the_lock_survives_publishing(path: Path) -> None:
    with Store(path) as store:
        for name in ("a", "b"):
            store.write({"reports": reports(name)})
            assert store.publish()
            assert snapshot_ids(path)[-1] == name
            refused = open_in_another_process(path)
            assert f"another process is writing {path}" in refused.stderr
            assert refused.returncode == 1
    assert open_in_another_process(path).returncode == 0


def test_a_missing_store_names_itself_and_the_remedy(path: Path) -> None:
    for opening in (lambda: Store(path, create=False), lambda: open_snapshot(path)):
        with pytest.raises(StoreError, match=f"there is no store at {path}") as caught:
            opening()
        assert "teachback import --help" in caught.value.remedy
    assert not path.exists()


@pytest.mark.parametrize("folder", ["plain", "lock-and-key"])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "labels.duckdb"
    path.parent.mkdir()
    path.write_text("report_id,text\n" * 500)
    shutil.copyfile(path, snapshot_path(path))
    for opening in (lambda: Store(path), lambda: open_snapshot(path)):
        with pytest.raises(StoreError, match="is not a DuckDB store"):
            opening()
    assert path.read_text().startswith("report_id")


def test_a_damaged_store_is_named(path: Path) -> None:
    Store(path).close()
    damaged = bytearray(path.read_bytes())
    damaged[4096:60_000] = b"x" * (60_000 - 4096)
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match="is not a DuckDB store"):
        Store(path)


def test_a_refused_store_is_let_go(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE other (i INTEGER)")
    with pytest.raises(StoreError, match="is no Teachback store"):
        Store(path)
    assert "is no Teachback store" in open_in_another_process(path).stderr  # not: another process is writing it


def test_a_snapshot_that_cannot_be_written_says_so_and_the_store_is_let_go(path: Path) -> None:
    store = Store(path)
    store.write({"reports": reports("a")})
    blocked = snapshot_path(path).with_name(f".{snapshot_path(path).name}.{os.getpid()}")
    (blocked / path.name).mkdir(parents=True)  # a folder stands where the copy goes
    with pytest.raises(StoreError, match="cannot publish"):
        store.close()
    shutil.rmtree(blocked)
    assert open_in_another_process(path).returncode == 0
    assert snapshot_ids(path) == ["a"]


RULE = Labeler("rule", "rules", "1")
LLM = Labeler("llm", "m", "1", model="m", prompt_id="prm_llm")
JUDGE = Labeler("adjudicator", "m", "1", model="m", prompt_id="prm_judge")
HUMAN = Labeler("human", "reader", "1")


def vote(labeler: Labeler, target: str, status: str, scope: str = "full", report_id: str = "r1", **more: Any) -> Label:
    return Label(report_id, "findings", target, status, labeler.labeler_id, scope, **more)  # type: ignore[arg-type]


def taught_store(path: Path, votes: list[Label]) -> Store:
    """A store in which one teacher of all three members is done with report r1."""
    store = Store(path)
    members = [(RULE, "labeler"), (LLM, "labeler"), (JUDGE, "adjudicator")]
    store.write(
        {
            "reports": reports("r1"),
            "labelers": [labeler_row(labeler) for labeler in (RULE, LLM, JUDGE, HUMAN)],
            "teachers": [{"teacher_id": "t"}],
            "teacher_members": [
                {"teacher_id": "t", "labeler_id": member.labeler_id, "seat": seat, "place": place}
                for place, (member, seat) in enumerate(members)
            ],
            "committed": [{"report_id": "r1", "teacher_id": "t", "run_id": "run_1"}],
            "labels": [label_row(label, "run_1") for label in votes],
        }
    )
    return store


def test_a_teacher_says_the_verdict_else_the_models_vote_else_the_rules(path: Path) -> None:
    votes = [
        # Silence in a narrower scope: the rules read the impression alone and found no word of it.
        vote(RULE, "Edema", "unmentioned", "mimic"),
        vote(LLM, "Edema", "present"),
        # The model read less than the rules.
        vote(RULE, "Fracture", "absent"),
        vote(LLM, "Fracture", "unmentioned", "impression"),
        # A verdict beats both, even by `unmentioned` in a narrower scope.
        vote(RULE, "Pneumonia", "present", "mimic"),
        vote(LLM, "Pneumonia", "uncertain"),
        vote(JUDGE, "Pneumonia", "unmentioned", "impression"),
        # Both speak: the model's vote counts, `unmentioned` in the full scope too.
        vote(RULE, "Atelectasis", "present", "mimic"),
        vote(LLM, "Atelectasis", "unmentioned"),
        vote(RULE, "Cardiomegaly", "present", "mimic"),
        vote(LLM, "Cardiomegaly", "present"),
        # One member alone; both silent.
        vote(RULE, "Lung Lesion", "uncertain", "mimic"),
        vote(RULE, "Consolidation", "unmentioned", "mimic"),
        vote(LLM, "Consolidation", "unmentioned", "impression"),
    ]
    with taught_store(path, votes) as store:
        rows = store.connection.execute("SELECT target, status, decided_by FROM teacher_labels").fetchall()
    assert sorted(rows) == [
        ("Atelectasis", "unmentioned", "llm"),
        ("Cardiomegaly", "present", "llm"),
        ("Consolidation", "unmentioned", "llm"),
        ("Edema", "present", "llm"),
        ("Fracture", "absent", "rule"),
        ("Lung Lesion", "uncertain", "rule"),
        ("Pneumonia", "unmentioned", "adjudicated"),
    ]


def test_a_teacher_says_nothing_of_a_report_that_it_is_not_done_with(path: Path) -> None:
    with taught_store(path, [vote(LLM, "Edema", "present", report_id="r2")]) as store:
        assert store.connection.execute("FROM teacher_labels").fetchall() == []


def test_other_labelers_are_no_part_of_a_teacher_and_only_humans_curate(path: Path) -> None:
    votes = [vote(RULE, "Edema", "absent", "mimic"), vote(HUMAN, "Edema", "present")]
    with taught_store(path, votes) as store:
        taught = store.connection.execute("SELECT status FROM teacher_labels").fetchall()
        curated = store.connection.execute("SELECT report_id, target, status FROM curated_labels").fetchall()
    assert taught == [("absent",)]
    assert curated == [("r1", "Edema", "present")]


def test_a_later_curated_label_supersedes_an_earlier_one(path: Path) -> None:
    with taught_store(path, [vote(HUMAN, "Edema", "present")]) as store:
        store.write({"labels": [label_row(vote(HUMAN, "Edema", "absent"))]})
        assert store.connection.execute("SELECT status FROM curated_labels").fetchall() == [("absent",)]
        assert store.connection.execute("SELECT count(*) FROM labels").fetchone() == (2,)  # nothing is lost


def test_lineage_goes_from_the_adapter_to_call_prompt_and_rationale(path: Path) -> None:
    asked = vote(LLM, "Edema", "present", llm_call_id="call_1")
    judged = vote(JUDGE, "Fracture", "absent", llm_call_id="call_2")
    refused = vote(RULE, "Pneumonia", "present", "mimic")
    call = {"model": "m", "attempts": 1, "response": "{}", "cost_usd": 0.25}
    trained = [
        {
            "round_id": "rnd_1",
            **{name: getattr(label, name) for name in ("report_id", "task", "target", "label_id", "scope", "status")},
            "source": "teacher",
            "weight": 1.0,
            "selected": label is not refused,
            "reason": "teacher label",
        }
        for label in (asked, judged, refused)
    ]
    verdict = {
        **{name: trained[1][name] for name in ("report_id", "task", "target", "label_id")},
        "adjudication_id": "adj_1",
        "labeler_id": JUDGE.labeler_id,
        "weighed": [asked.label_id],
        "verdict": "absent",
        "rationale": "healed",
    }
    round_ = {
        "round_id": "rnd_1",
        "campaign_id": "cmp_1",
        "round": 1,
        "arm": "feedback",
        "labeler_id": "lab_student",
        "adapter_hash": "abc",
    }
    with taught_store(path, [asked, judged, refused]) as store:
        store.write(
            {
                "prompts": [
                    {"prompt_id": "prm_llm", "role": "llm_labeler", "name": "default", "text": "Label this."},
                    {"prompt_id": "prm_judge", "role": "adjudicator", "name": "default", "text": "Judge this."},
                ],
                "llm_calls": [
                    {"llm_call_id": "call_1", "prompt_id": "prm_llm", **call},
                    {"llm_call_id": "call_1", "prompt_id": "prm_llm", **call, "response": None, "error": "timeout"},
                    {"llm_call_id": "call_2", "prompt_id": "prm_judge", **call},
                ],
                "adjudications": [verdict],
                "rounds": [round_],
                "training_rows": trained,
            }
        )
        rows = store.connection.execute(
            """SELECT target, labeler_kind, cost_usd, prompt_text, rationale, findings_text FROM adapter_lineage('abc')
            ORDER BY target"""
        ).fetchall()
    # One row a training label: the failed attempt of call_1 and the refused row are not among them.
    assert rows == [
        ("Edema", "llm", 0.25, "Label this.", None, "Clear."),
        ("Fracture", "adjudicator", 0.25, "Judge this.", "healed", "Clear."),
    ]


def test_a_newer_snapshot_is_seen_beside_an_older_one_that_is_still_open(tmp_path: Path) -> None:
    with Store(tmp_path / "labels.duckdb") as store:
        store.write({"reports": reports("r1")})
        store.publish()
        older, _ = open_snapshot(store.path)
        store.write({"reports": reports("r2")})
        store.publish()
        newer, _ = open_snapshot(store.path)
        counts = [connection.execute("SELECT count(*) FROM reports").fetchall() for connection in (older, newer)]
        older.close()
        newer.close()
    assert counts == [[(1,)], [(2,)]]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["labels.duckdb", "labels.snapshot.duckdb"]
