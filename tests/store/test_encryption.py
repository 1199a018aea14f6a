"""An encrypted store: nothing of a report can be read off the disk, and everything works as with a plain one.

DuckDB's own cipher stands in for OpenSSL's, which needs an extension that must be downloaded: files are of the same
form, only its random numbers are not good enough for keys.
"""

import json
import os
from pathlib import Path

import pytest
from tests.synthetic_stores import curated_store
from typer.testing import CliRunner

from teachback.cli import app
from teachback.cli.doctor import examine
from teachback.errors import SettingError, StoreError
from teachback.store.database import Store, open_snapshot, snapshot_path
from teachback.store.file import CIPHER, KEY, encryption_state
from teachback.store.report import Report
from teachback.store.rows import report_row

SECRET = "Kryptonephritis of the left upper lobe"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, 'it\'s a "key"')
    monkeypatch.setenv(CIPHER, "unsafe")


def made(folder: Path) -> Path:
    path = folder / "labels.duckdb"
    with Store(path) as store:
        store.write({"reports": [report_row(Report("r1", "one", {"text": SECRET}))]})
    return path


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_nothing_can_be_read_off_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.duckdb"
    with Store(path) as store:
        store.write({"reports": [report_row(Report("r1", "one", {"text": SECRET}))]})
        assert store.reader().execute("SELECT text FROM reports").fetchall() == [(SECRET,)]
        in_the_log = written(tmp_path)
        store.publish()
    assert snapshot_path(path).exists()
    for image in (in_the_log, written(tmp_path)):
        assert len(image) > 10_000
        assert SECRET.encode() not in image
        assert b"teacher_members" not in image  # nor the names of tables
    monkeypatch.delenv(KEY)
    plain = made(tmp_path / "plain")
    assert SECRET.encode() in written(plain.parent)


def test_it_opens_with_its_key_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path)
    connection, _ = open_snapshot(path)
    with connection:
        assert connection.execute("SELECT text FROM reports").fetchall() == [(SECRET,)]
    monkeypatch.setenv(KEY, "another")
    with pytest.raises(StoreError, match="encrypted with another key"):
        open_snapshot(path)
    with pytest.raises(StoreError, match="encrypted with another key"):
        Store(path)
    monkeypatch.delenv(KEY)
    with pytest.raises(StoreError, match="is encrypted") as refused:
        open_snapshot(path)
    assert KEY in refused.value.remedy


def test_a_plain_store_is_not_taken_for_an_encrypted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY)
    path = made(tmp_path)
    monkeypatch.setenv(KEY, "k")
    for opened in (Store, open_snapshot):
        with pytest.raises(StoreError, match="is not encrypted, and TEACHBACK_STORE_KEY is set"):
            opened(path)


def test_reading_needs_no_extension_and_writing_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path)
    monkeypatch.delenv(CIPHER)
    if encryption_state() == "on":
        pytest.skip("the extension is installed here")
    connection, _ = open_snapshot(path)
    connection.close()
    with pytest.raises(SettingError, match="httpfs") as refused:
        Store(path)
    assert "INSTALL httpfs" in refused.value.remedy
    assert [(c.state, c.remedy != "") for c in examine() if c.name == "encryption"] == [("missing", True)]
    monkeypatch.setenv(CIPHER, "rot13")
    with pytest.raises(SettingError, match="rot13"):
        Store(path)


def test_labeling_asking_and_judging_work_alike(tmp_path: Path) -> None:
    path = curated_store(tmp_path, 30, seed=3)
    text = Store(path).connection.execute("SELECT coalesce(findings, text) FROM reports LIMIT 1").fetchall()[0][0]

    def run(*words: str) -> str:
        ended = CliRunner().invoke(app, [*words], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    run("label", str(path), "--llm", "stand-in")
    query = "SELECT count(*) AS n FROM labels JOIN labelers USING (labeler_id) WHERE kind = 'llm'"
    assert json.loads(run("sql", str(path), query, "--json"))[0]["n"] >= 30 * 13
    judged = json.loads(run("evaluate", str(path), "--split", "all", "--n-boot", "0", "--json"))
    assert {"rule", "llm:stand-in"} <= {labeler["name"] for labeler in judged["labelers"]}
    assert text.encode() not in written(tmp_path)
    assert not [name for name in os.listdir(tmp_path) if "inbox" in name]
