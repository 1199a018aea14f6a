"""A store and its snapshot open in DuckDB's own command line, also in one that is older than the library here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.store.judged_store import REPORTS, judged_store

from teachback.store.database import snapshot_path

QUERIES = {
    "SELECT count(*) AS n FROM reports": [{"n": REPORTS}],
    "SELECT count(*) AS n FROM scores('sex') WHERE target = 'micro'": [{"n": 12}],  # four labelers; F, M and unknown
    "SELECT count(*) AS n FROM kappas": [{"n": 140}],
    "SELECT count(*) AS n FROM teacher_labels": [{"n": 0}],
    "SELECT count(*) AS n FROM label_lineage((SELECT min(label_id) FROM labels))": [{"n": 1}],
    "SELECT count(*) AS n FROM duckdb_columns() WHERE table_name = 'labels' AND comment IS NULL": [{"n": 0}],
}


@pytest.mark.parametrize("query", QUERIES)
def test_the_command_line_opens_store_and_snapshot(tmp_path_factory: pytest.TempPathFactory, query: str) -> None:
    # Beside the Python that runs the tests, whether or not that folder is on the path.
    program = shutil.which("duckdb", path=str(Path(sys.executable).parent)) or shutil.which("duckdb")
    if program is None:
        pytest.skip("DuckDB's command line is not installed: `pip install duckdb-cli`")
    path: Path = judged_store(tmp_path_factory.mktemp("judged"))
    for file in (path, snapshot_path(path)):
        asked = subprocess.run([program, "-readonly", "-json", str(file), query], capture_output=True, text=True)
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout) == QUERIES[query]
