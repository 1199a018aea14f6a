"""A store and its snapshot open in DuckDB's own command line and page, also in ones older than the library here."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
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


@pytest.fixture
def program() -> str:
    # Beside the Python that runs the tests, whether or not that folder is on the path.
    found = shutil.which("duckdb", path=str(Path(sys.executable).parent)) or shutil.which("duckdb")
    if found is None:
        pytest.skip("DuckDB's command line is not installed: `pip install duckdb-cli`")
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_the_command_line_opens_store_and_snapshot(tmp_path: Path, program: str, query: str) -> None:
    path: Path = judged_store(tmp_path)
    for file in (path, snapshot_path(path)):
        asked = subprocess.run([program, "-readonly", "-json", str(file), query], capture_output=True, text=True)
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout) == QUERIES[query]


def test_duckdbs_own_page_asks_store_and_snapshot(tmp_path: Path, program: str) -> None:
    # Its server, which answers the page's questions; the page itself comes from ui.duckdb.org and needs the network.
    package = find_spec("duckdb_extension_ui")
    if package is None or package.origin is None:
        pytest.skip("the page of `duckdb -ui` is not installed: `pip install duckdb-extension-ui`")
    (extension,) = Path(package.origin).parent.glob("extensions/*/ui.duckdb_extension")
    home = tmp_path / "home"
    installed = home / ".duckdb" / "extensions" / extension.parent.name / "linux_amd64"
    installed.mkdir(parents=True)
    (installed / extension.name).symlink_to(extension)
    environment = {"HOME": str(home), "PATH": ""}  # on the path it would find a browser, and open it
    path = judged_store(tmp_path)
    for file in (path, snapshot_path(path)):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [program, "-readonly", "-cmd", "LOAD ui", "-cmd", f"SET ui_local_port = {port}", "-ui", str(file)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, env=environment, text=True, **pipes) as shell:
            try:
                told = _asked_of_page(port, "SELECT 'reports: ' || count(*) AS told FROM reports")
            finally:
                said, _ = shell.communicate(".exit\n", timeout=30)
        assert f"reports: {REPORTS}".encode() in told, said


def _asked_of_page(port: int, query: str) -> bytes:
    address = f"http://localhost:{port}"
    headers = {"Origin": address, "X-DuckDB-UI-Connection-Name": "test"}
    for _ in range(200):
        with suppress(OSError):  # it is not there yet
            asked = urllib.request.Request(f"{address}/ddb/run", data=query.encode(), headers=headers)
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return bytes(answer.read())
        time.sleep(0.1)
    return b""
