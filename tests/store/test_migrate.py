import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import pytest

from teachback.errors import StoreError
from teachback.store.database import Store, open_snapshot, snapshot_path
from teachback.store.migrate import latest_version, migrate, schema_version


def test_a_new_store_has_every_migration_recorded_with_its_time(tmp_path: Path) -> None:
    with Store(tmp_path / "a.duckdb") as store:
        rows = store.connection.execute("SELECT version, epoch(applied_at) FROM migrations ORDER BY 1").fetchall()
    assert [version for version, _ in rows] == list(range(1, latest_version() + 1))
    assert all(0 <= time.time() - applied < 300 for _, applied in rows)


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "a.duckdb") as store:
        store.write({"corpora": [{"corpus": "c", "egress": "any"}]})
        recorded = "SELECT version, epoch(applied_at) FROM migrations"
        before = store.connection.execute(recorded).fetchall()
        assert migrate(store.connection) == latest_version()
        assert store.connection.execute(recorded).fetchall() == before
        assert store.connection.execute("SELECT corpus FROM corpora").fetchall() == [("c",)]


def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    Store(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO migrations VALUES (99, now())")
    with pytest.raises(StoreError, match=f"schema version 99, this Teachback knows {latest_version()}") as caught:
        Store(path)
    assert "pip install -U teachback" in caught.value.remedy
    with duckdb.connect(str(path)) as connection:
        assert schema_version(connection) == 99


def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE reports (i INTEGER)")
    with pytest.raises(StoreError, match="is no Teachback store: it holds reports"):
        Store(path)
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("reports",)]


FIRST = (resources.files("teachback.store") / "migrations" / "0001_initial.sql").read_text(encoding="utf-8")
# Three teachers as the first schema had them: rules alone, rules and a model, and these with an adjudicator.
TEACHERS = {"alone": ("rule", None, None), "pair": ("rule", "llm", None), "trio": ("rule", "llm", "judge")}
# Target to who says what of it, in which scope.
SAID = {
    "Edema": [("rule", "present", "full"), ("llm", "absent", "full"), ("judge", "uncertain", "full")],
    "Fracture": [("rule", "present", "full"), ("llm", "absent", "full")],
    "Pneumonia": [("rule", "present", "full"), ("llm", "unmentioned", "impression")],  # the model's is silence
    "Cardiomegaly": [("rule", "unmentioned", "impression"), ("llm", "unmentioned", "full")],
    "Atelectasis": [("rule", "unmentioned", "impression"), ("llm", "unmentioned", "impression")],
    "Lung Lesion": [("judge", "absent", "full")],
    "Support Devices": [("other", "present", "full")],  # whom none of the teachers asks
}
DECIDED = "SELECT teacher_id, report_id, target, status, labeler_id, decided_by FROM teacher_labels ORDER BY ALL"


def old_store(path: Path) -> Path:
    """Make a store, and its snapshot, as the first schema's Teachback left them."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE migrations (version INTEGER NOT NULL, applied_at TIMESTAMPTZ NOT NULL)")
        connection.execute(FIRST)
        connection.execute("INSERT INTO migrations VALUES (1, TIMESTAMPTZ '2026-01-02 03:04:05Z')")
        now = "now()"
        for teacher, members in TEACHERS.items():
            connection.execute(f"INSERT INTO teachers VALUES (?, ?, ?, ?, {now})", [teacher, *members])
            connection.execute(f"INSERT INTO committed VALUES ('r1', ?, 'run', {now})", [teacher])
        for name, kind in (("rule", "rule"), ("llm", "llm"), ("judge", "adjudicator"), ("other", "student")):
            values = f"(?, ?, ?, '1', NULL, NULL, NULL, {now})"
            connection.execute(f"INSERT INTO labelers VALUES {values}", [name, kind, name])
        for target, votes in SAID.items():
            for labeler, status, scope in votes:
                connection.execute(
                    "INSERT INTO labels BY NAME SELECT ? AS label_id, 'r1' AS report_id, 'findings' AS task, "
                    "? AS target, ? AS status, ? AS scope, ? AS labeler_id, now() AS created_at",
                    [f"{target} {labeler}", target, status, scope, labeler],
                )
        connection.execute(
            "INSERT INTO adjudications VALUES ('a1', 'r1', 'findings', 'Edema', 'judge', 'Edema judge', "
            "['Edema rule', 'Edema llm'], 'uncertain', 'it says so', 'call_1', 'run', now())"
        )
        for call, response, error in (("call_1", "{}", None), ("call_2", None, "HTTP 500")):
            connection.execute(
                "INSERT INTO llm_calls VALUES (?, 'run', 'r1', 'llm_labeler', 'm', 'p', ?, 5, 0, 7, 0.25, 1.5, 2, ?, "
                "TIMESTAMPTZ '2026-01-02 03:04:05.678901Z')",
                [call, response, error],
            )
    snapshot_path(path).write_bytes(path.read_bytes())
    return path


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return old_store(tmp_path / "old.duckdb")


def test_an_old_stores_teachers_keep_their_members_in_their_seats(old: Path) -> None:
    Store(old).close()
    assert rows(old, "SELECT version FROM migrations ORDER BY 1") == [(n,) for n in range(1, latest_version() + 1)]
    assert rows(old, "SELECT column_name FROM duckdb_columns() WHERE table_name = 'teachers' ORDER BY 1") == [
        ("created_at",),
        ("teacher_id",),
    ]
    assert rows(old, "SELECT * FROM teacher_members ORDER BY teacher_id, place") == [
        ("alone", "rule", "labeler", 0),
        ("pair", "rule", "labeler", 0),
        ("pair", "llm", "labeler", 1),
        ("trio", "rule", "labeler", 0),
        ("trio", "llm", "labeler", 1),
        ("trio", "judge", "adjudicator", 2),
    ]


def test_an_old_stores_teachers_say_what_they_said(old: Path) -> None:
    before = rows(old, DECIDED)
    # alone: five votes of the rules; pair: the model's five, but where it is silent; trio: two decided by the judge.
    assert [sum(row[0] == teacher for row in before) for teacher in TEACHERS] == [5, 5, 6]
    assert ("trio", "r1", "Edema", "uncertain", "judge", "adjudicated") in before
    assert ("pair", "r1", "Pneumonia", "present", "rule", "rule") in before
    Store(old).close()
    assert rows(old, DECIDED) == before


def test_an_old_stores_calls_verdicts_and_labels_are_all_there(old: Path) -> None:
    more = {"llm_calls": (None,) * 4, "labels": (None,), "adjudications": ()}  # columns that the second step adds
    query = "SELECT COLUMNS(*)::VARCHAR FROM {} ORDER BY ALL"
    kept = {table: rows(old, query.format(table)) for table in more}
    Store(old).close()
    for table, before in kept.items():
        assert rows(old, query.format(table)) == [(*row, *more[table]) for row in before]
    assert rows(old, "SELECT calls, failed, cost_usd FROM bill") == [(2, 1, 0.5)]
    assert rows(old, "SELECT * FROM review_queue") == []


def test_a_verdict_without_a_label_can_be_written_to_an_old_store(old: Path) -> None:
    verdict = {
        "adjudication_id": "a2",
        "report_id": "r1",
        "task": "findings",
        "target": "Edema",
        "labeler_id": "judge",
        "weighed": ["Edema rule"],
        "verdict": "cannot_tell",
    }
    with Store(old) as store:
        store.write({"adjudications": [verdict]})
    assert rows(old, "SELECT target, why FROM review_queue") == [("Edema", "cannot_tell")]
    # It was said later than the first verdict: the trio has nothing to say of it any more, the pair has.
    said = [row for row in rows(old, DECIDED) if row[2] == "Edema"]
    assert [row[0] for row in said] == ["alone", "pair"]


def test_a_reader_brings_an_old_store_and_its_snapshot_up_to_date(old: Path) -> None:
    connection, age = open_snapshot(old)
    with connection:
        assert schema_version(connection) == latest_version()
        assert connection.execute("SELECT count(*) FROM teacher_members").fetchall() == [(6,)]
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            connection.execute("DELETE FROM teacher_members")
    assert age < 60
    assert rows(old, "SELECT max(version) FROM migrations") == [(latest_version(),)]
    before = snapshot_path(old).stat().st_mtime_ns
    open_snapshot(old)[0].close()
    assert snapshot_path(old).stat().st_mtime_ns == before  # once is enough


def test_a_reader_of_an_old_store_that_is_being_written_is_told_so(old: Path) -> None:
    hold = f"import duckdb, sys; c = duckdb.connect({str(old)!r}); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match="another process is writing"):
            open_snapshot(old)
        holder.communicate()
    assert rows(old, "SELECT max(version) FROM migrations") == [(1,)]
    open_snapshot(old)[0].close()


def test_a_step_that_fails_leaves_the_store_at_the_step_before(old: Path) -> None:
    with duckdb.connect(str(old)) as connection:
        connection.execute("CREATE TABLE looks (mine INTEGER)")  # in the way of what the second step makes
    with pytest.raises(duckdb.CatalogException, match="looks"):
        Store(old)
    assert rows(old, "SELECT version FROM migrations") == [(1,)]
    assert rows(old, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'teacher_members'") == [(0,)]
    assert len(rows(old, "SELECT rule_labeler_id FROM teachers")) == 3
    with duckdb.connect(str(old)) as connection:
        connection.execute("DROP TABLE looks")
    Store(old).close()
    assert rows(old, "SELECT count(*) FROM teacher_members") == [(6,)]
