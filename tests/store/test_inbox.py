import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from teachback.errors import StoreError
from teachback.store.database import Store, open_snapshot
from teachback.store.inbox import Posted, inbox_path, post, posted, refuse, remove
from teachback.store.review.decisions import deliver
from teachback.store.writer import Writer

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
PATIENCE_S = 20.0  # for a writer that looks twice a second


def reports(*report_ids: str) -> dict[str, list[dict[str, Any]]]:
    return {
        "reports": [{"report_id": name, "corpus": "c", "text": "Clear.", "imported_at": MOMENT} for name in report_ids]
    }


def ids_of(path: Path) -> list[str]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return [row[0] for row in connection.execute("SELECT report_id FROM reports ORDER BY ALL").fetchall()]


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in inbox_path(path).iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with nothing in it."""
    store = tmp_path / "labels.duckdb"
    Store(store).close()
    return store


def test_what_is_posted_waits_as_it_was_given_and_in_order(path: Path) -> None:
    files = [post(path, reports("a", "b")), post(path, {"looks": [{"look_id": "é\n", "compared": ["x", None]}]})]
    waiting = list(posted(path))
    assert [entry.path for entry in waiting] == files
    assert waiting[0].rows == reports("a", "b")
    assert waiting[1].rows == {"looks": [{"look_id": "é\n", "compared": ["x", None]}]}
    assert ids_of(path) == []


def test_a_store_without_an_inbox_has_nothing_waiting(path: Path) -> None:
    assert list(posted(path)) == []
    with Store(path) as opened:
        assert opened.take_in() == 0
    assert not inbox_path(path).exists()


def test_what_json_cannot_hold_is_refused_at_once_and_leaves_nothing_to_take_in(path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be posted"):
        post(path, {"reports": [{"report_id": b"a"}]})
    assert list(posted(path)) == []


def test_a_running_writer_takes_in_what_others_post(path: Path) -> None:
    with Writer(path, publish_interval=0.05) as writer:
        writer.write(reports("own"))
        post(path, reports("posted"))
        until = time.monotonic() + PATIENCE_S
        while names(path) and time.monotonic() < until:
            time.sleep(0.02)
        assert names(path) == []
        connection, _ = open_snapshot(path)
        while time.monotonic() < until:  # and publishes it, although nobody submits anything more
            with connection:
                found = connection.execute("SELECT count(*) FROM reports").fetchone()
            if found == (2,):
                break
            time.sleep(0.02)
            connection, _ = open_snapshot(path)
        assert found == (2,)


def test_a_writer_that_ends_takes_in_what_is_left(path: Path) -> None:
    with Writer(path, publish_interval=60.0):
        post(path, reports("late"))
    assert ids_of(path) == ["late"]
    assert names(path) == []


def test_what_waits_is_delivered_where_nobody_writes(path: Path) -> None:
    post(path, reports("a"))
    post(path, reports("b"))
    assert deliver(path)
    assert names(path) == []
    connection, _ = open_snapshot(path)
    with connection:
        rows = connection.execute("SELECT report_id, epoch_us(imported_at) FROM reports ORDER BY ALL").fetchall()
    moment = round(MOMENT.timestamp() * 1e6)
    assert rows == [("a", moment), ("b", moment)]


HOLDER = """
import sys
from teachback.store.database import Store
with Store(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_nothing_is_delivered_while_another_process_holds_the_store(path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        post(path, reports("a"))
        assert not deliver(path)
        assert len(names(path)) == 1
        holder.communicate("\n")
    assert deliver(path)
    assert ids_of(path) == ["a"]


def test_no_store_is_made_for_what_waits(tmp_path: Path) -> None:
    nowhere = tmp_path / "none.duckdb"
    post(nowhere, reports("a"))
    assert not deliver(nowhere)
    assert not nowhere.exists()
    assert len(names(nowhere)) == 1


def test_the_same_rows_twice_are_a_no_op(path: Path) -> None:
    post(path, reports("a", "b"))
    file = post(path, reports("b", "c"))
    again = file.read_bytes()
    assert deliver(path)
    file.write_bytes(again)  # as a crash before its removal would leave it
    assert deliver(path)
    assert ids_of(path) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        ("", "Expecting value"),
        ('{"reports": [{"report_id": "x"', "delimiter"),
        ("[1, 2]", "items"),
        ('{"reports": 3}', "not iterable"),
        ('{"reports": [3]}', "items"),
        ('{"reports": [{"report_id": "x", "imported_at": "yesterday"}]}', "isoformat"),
        ('{"reports": [{"report_id": "x", "imported_at": 3}]}', "fromisoformat"),
        ('{"reports": [{"report_id": "x", "colour": "red"}]}', "no column colour"),
        ('{"reports": [{"report_id": "x"}]}', "NOT NULL"),
        ('{"reports": [{"report_id": ["x"], "corpus": "c"}]}', "unhashable"),
        ('{"reports": [{"report_id": {"x": 1}, "corpus": "c"}]}', "unhashable"),
        ('{"reports": [{"report_id": null, "corpus": "c"}]}', "NOT NULL"),
        ('{"reports": [{"corpus": "c"}]}', "KeyError: 'report_id'"),
        ('{"nowhere": [{"x": 1}]}', "nowhere"),
        ('{"reports; DROP TABLE labels": [{"x": 1}]}', "syntax error"),
        ("\udcff", "utf-8"),
    ],
)
def test_a_damaged_file_is_set_aside_with_its_reason_and_holds_up_nothing(
    path: Path, damaged: str, reason: str
) -> None:
    post(path, reports("before"))
    bad = post(path, reports("x"))
    bad.write_bytes(damaged.encode("utf-8", "surrogateescape"))
    post(path, reports("after"))
    assert deliver(path)
    assert ids_of(path) == ["after", "before"]
    assert names(path) == [f"{bad.stem}.reason.txt", f"{bad.stem}.refused"]
    assert reason.lower() in bad.with_suffix(".reason.txt").read_text(encoding="utf-8").lower()
    assert bad.with_suffix(".refused").read_bytes() == damaged.encode("utf-8", "surrogateescape")
    assert deliver(path)  # and it stays aside
    assert len(names(path)) == 2


def test_a_running_writer_survives_a_damaged_file(path: Path) -> None:
    with Writer(path, publish_interval=0.05) as writer:
        bad = post(path, {"reports": [{"report_id": ["x"], "corpus": "c"}]})
        until = time.monotonic() + PATIENCE_S
        while bad.exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert bad.with_suffix(".refused").exists()
        writer.write(reports("after"))
    assert ids_of(path) == ["after"]


def test_rows_of_one_file_come_in_together_or_not_at_all(path: Path) -> None:
    wrong = {"split": "dev", "report_id": "a", "group_id": "g", "seed": 0}  # no such split
    post(path, reports("a") | {"splits": [wrong]})
    assert deliver(path)
    assert ids_of(path) == []
    assert any(name.endswith(".refused") for name in names(path))


def test_what_cannot_be_read_now_is_left_for_another_time(path: Path) -> None:
    (inbox_path(path) / "0-odd.json").mkdir(parents=True)
    post(path, reports("a"))
    assert deliver(path)
    assert ids_of(path) == ["a"]
    assert names(path) == ["0-odd.json"]


def test_a_full_memory_sets_nothing_aside(path: Path) -> None:
    rows = [{"report_id": f"{n:06}", "corpus": "c", "text": f"{n} " * 50_000} for n in range(30)]
    post(path, {"reports": rows})
    with Store(path) as opened:
        opened.connection.execute("SET memory_limit = '1MB'")
        assert opened.take_in() == 0
        assert [name for name in names(path) if not name.endswith(".json")] == []
        opened.connection.execute("SET memory_limit = '1GB'")
        assert opened.take_in() == 1
    assert len(ids_of(path)) == 30


def test_a_file_that_is_still_being_written_is_left_alone(path: Path) -> None:
    inbox_path(path).mkdir()
    (inbox_path(path) / ".half").write_text('{"reports": [', encoding="utf-8")
    assert deliver(path)
    assert names(path) == [".half"]


def test_what_somebody_else_took_in_meanwhile_is_no_error(path: Path) -> None:
    file = post(path, reports("a"))
    entry = Posted(file, reports("a"))
    remove(entry)
    remove(entry)
    refuse(file, "gone")
    assert [name for name in names(path) if not name.endswith(".reason.txt")] == []


# Takes in what waits, and is killed in the moment after a commit, before the file goes.
KILLED = """
import os, signal, sys
from teachback.store import database
from teachback.store.database import Store

def killed(entry):
    os.kill(os.getpid(), signal.SIGKILL)

database.remove = killed
with Store(sys.argv[1]) as opened:
    opened.take_in()
"""


def test_kill_9_between_commit_and_removal_loses_and_doubles_nothing(path: Path) -> None:
    for name in ("a", "b", "c"):
        post(path, reports(name))
    for waiting in (3, 3):  # each time the first file is committed, and stays
        ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
        assert ended.returncode == -signal.SIGKILL
        assert len(names(path)) == waiting
    assert ids_of(path) == ["a"]
    assert deliver(path)
    assert ids_of(path) == ["a", "b", "c"]
    assert names(path) == []


POSTER = """
import sys
from teachback.store.inbox import post
for number in range(100_000):
    post(sys.argv[1], {"reports": [{"report_id": f"{number:06}", "corpus": "c"}]})
    print(f"{number:06}", flush=True)
"""


def test_what_was_posted_outlives_kill_9_of_its_poster(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", POSTER, str(path)], stdout=subprocess.PIPE, text=True) as poster:
        assert poster.stdout is not None
        told = [poster.stdout.readline().strip() for _ in range(20)]
        poster.send_signal(signal.SIGKILL)
        told += poster.stdout.read().split()
    assert deliver(path)
    stored = ids_of(path)
    assert set(told) <= set(stored)
    assert len(stored) <= len(told) + 1  # and at most the one that was under way
    assert all(name.startswith(".") for name in names(path))


def test_a_file_in_the_inbox_is_plain_json(path: Path) -> None:
    file = post(path, reports("a"))
    row = {"report_id": "a", "corpus": "c", "text": "Clear.", "imported_at": MOMENT.isoformat()}
    assert json.loads(file.read_text(encoding="utf-8")) == {"reports": [row]}
    assert os.path.dirname(file) == f"{path}.inbox"
