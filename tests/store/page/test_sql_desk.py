"""A question on the SQL page ends: in time, in memory, and one at a time."""

import threading
import time
from pathlib import Path

import pytest
from tests.store import audited_store

from teachback.errors import SettingError
from teachback.store.page.sql_desk import MOST_ROWS, SqlDesk

# Some 10^12 steps: nobody waits for the end of it.
ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"
GREEDY = "SELECT list(i ORDER BY hash(i)) FROM range(200000000) t(i)"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return audited_store.build(tmp_path_factory.mktemp("desk") / "labels.duckdb")


def test_a_question_that_takes_too_long_is_stopped_and_says_so(store: Path) -> None:
    started = time.monotonic()
    with pytest.raises(SettingError, match="INTERRUPT") as caught:
        SqlDesk(store, time_s=0.5).table(ENDLESS)
    assert time.monotonic() - started < 10
    assert "time limit" in caught.value.remedy


def test_rows_that_never_end_are_stopped_too(store: Path) -> None:
    with pytest.raises(SettingError, match="INTERRUPT"):
        SqlDesk(store, time_s=0.5).as_csv("SELECT * FROM range(100000000000)")


@pytest.mark.slow
def test_a_question_that_wants_all_memory_is_refused_and_writes_no_file(store: Path) -> None:
    before = set(store.parent.rglob("*"))
    with pytest.raises(SettingError, match="Out of Memory") as caught:
        SqlDesk(store, time_s=60).table(GREEDY)
    assert "ask for less" in caught.value.remedy
    assert set(store.parent.rglob("*")) == before


@pytest.mark.parametrize("form", ["as_csv", "as_parquet"])
def test_a_download_that_is_too_large_is_refused_before_it_is_made(store: Path, form: str) -> None:
    desk = SqlDesk(store, most_bytes=2**20)
    with pytest.raises(SettingError, match="more than 1 MiB") as caught:
        getattr(desk, form)("SELECT hash(range) FROM range(100000000)")
    assert "teachback sql --csv" in caught.value.remedy
    assert getattr(desk, form)("SELECT 1 AS one")


def test_one_question_at_a_time_and_the_desk_is_free_afterwards(store: Path) -> None:
    desk = SqlDesk(store, time_s=3.0)

    def ask() -> None:
        with pytest.raises(SettingError, match="INTERRUPT"):
            desk.table(ENDLESS)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    with pytest.raises(SettingError, match="another question"):
        desk.table("SELECT 1")
    asking.join()
    assert desk.table("SELECT 1 AS one").rows == [["1"]]


def test_the_page_shows_the_first_rows_and_says_that_there_are_more(store: Path) -> None:
    shown = SqlDesk(store).table(f"SELECT * FROM range({MOST_ROWS + 1})")
    assert (len(shown.rows), shown.more) == (MOST_ROWS, True)
    assert len(SqlDesk(store).as_csv("SELECT * FROM range(1000)").splitlines()) == 1001
