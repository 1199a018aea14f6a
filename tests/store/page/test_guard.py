"""Who is let in, and what the page can be made to do: asked over HTTP, as anybody on the machine could."""

import json
import re
import signal
import urllib.error
import urllib.request
from http.client import HTTPMessage
from typing import Any
from urllib.parse import quote, unquote

import duckdb
import pyarrow.parquet as pq
import pytest
from tests.store.page.conftest import ATTACK, HOSTILE, Served

from teachback.store.database import open_snapshot

Answer = tuple[int, str, HTTPMessage]


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def ask(address: str, body: object = None, *, raw: bool = False, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, content, named, method="GET" if body is None else "POST")
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=30) as answer:
            read = answer.read()
            return answer.status, read if raw else read.decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


@pytest.fixture
def inside(served: Served) -> dict[str, str]:
    """The headers of somebody who has the token and the page."""
    port = served.base.rsplit(":", 1)[1]
    cookie = f"teachback_audit_{port}={served.token}"
    _, page, _ = ask(f"{served.base}/reviewers", Cookie=cookie)
    csrf = re.search(r'name="csrf" content="([^"]+)"', page)
    assert csrf
    return {"Cookie": cookie, "Origin": served.base, "X_Teachback_CSRF": csrf[1], "Content_Type": "application/json"}


def test_nobody_enters_without_the_token(served: Served) -> None:
    for path in ("/", "/review", "/sql", "/static/page.js", "/state", "/review?token=guess"):
        assert ask(f"{served.base}{path}")[0] == 403
    status, _, headers = ask(served.address)
    assert status == 303
    assert headers["Location"] == "/review"
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()


def test_another_name_or_site_is_refused(served: Served, inside: dict[str, str]) -> None:
    assert ask(f"{served.base}/review", Cookie=inside["Cookie"])[0] == 200
    assert ask(f"{served.base}/review", Cookie=inside["Cookie"], Host="evil.example")[0] == 403
    assert ask(f"{served.base}/review", Cookie=inside["Cookie"], Sec_Fetch_Site="cross-site")[0] == 403
    step = {"report_id": HOSTILE.report_id, "action": "skip"}
    assert ask(f"{served.base}/decide", step, **{**inside, "Origin": "http://evil.example"})[0] == 403
    assert ask(f"{served.base}/decide", step, **{**inside, "X_Teachback_CSRF": "guess"})[0] == 403
    without = {name: value for name, value in inside.items() if name != "Origin"}
    assert ask(f"{served.base}/decide", step, **without)[0] == 403
    assert ask(f"{served.base}/decide", {"note": "x" * 300_000}, **inside)[0] == 413


def test_every_answer_forbids_what_the_page_does_not_ship(served: Served, inside: dict[str, str]) -> None:
    for path in ("/review", "/static/page.css", "/nowhere"):
        headers = ask(f"{served.base}{path}", Cookie=inside["Cookie"])[2]
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_no_page_runs_what_a_report_a_name_or_an_answer_says(served: Served, inside: dict[str, str]) -> None:
    cookie = inside["Cookie"]
    pages = [
        f"/review?report={quote(HOSTILE.report_id)}&target=Pleural+Effusion",
        "/labelers",
        "/finding/Pleural%20Effusion",
    ]
    pages += [f"/finding/{quote(ATTACK)}", f"/round/{quote(ATTACK)}", f"/sql?q={quote('</textarea>' + ATTACK)}"]
    for path in pages:
        page = ask(f"{served.base}{path}", Cookie=cookie)[1]
        assert page.count("<script") == 1  # its own
        assert "<img" not in page
        assert "&lt;img" in page
    shown = ask(
        f"{served.base}/sql/ask", {"query": "SELECT findings FROM reports WHERE findings LIKE '%img%'"}, **inside
    )
    assert "&lt;img src=x" in shown[1]
    assert "<img" not in shown[1]


def test_a_votes_origin_is_found_whatever_the_reports_name_holds(served: Served, inside: dict[str, str]) -> None:
    page = ask(
        f"{served.base}/review?report={quote(HOSTILE.report_id)}&target=Pleural+Effusion", Cookie=inside["Cookie"]
    )
    link = re.search(r'class="origin" href="/sql\?q=([^"]+)"', page[1])
    assert link
    status, table, _ = ask(f"{served.base}/sql/ask", {"query": unquote(link[1])}, **inside)
    assert (status, "1 row." in table) == (200, True)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "COPY labels TO '/tmp/stolen.csv'",
        "ATTACH '/tmp/other.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "PRAGMA database_list; SELECT 1",
        "DELETE FROM labels",
        "CREATE TABLE mine AS SELECT 1",
        "EXPORT DATABASE '/tmp/stolen'",
        "SELECT getenv('HOME')",
        "",
        "SELEKT 1",
    ],
)
def test_sql_reaches_the_snapshot_alone(served: Served, inside: dict[str, str], query: str) -> None:
    status, told, _ = ask(f"{served.base}/sql/ask", {"query": query}, **inside)
    assert status == 400
    assert json.loads(told)["error"]


def test_sql_answers_as_table_csv_and_parquet(served: Served, inside: dict[str, str], tmp_path: Any) -> None:
    query = "SELECT target, count(*) AS n FROM labels WHERE task = 'findings' GROUP BY 1 ORDER BY 1"
    status, table, _ = ask(f"{served.base}/sql/ask", {"query": query}, **inside)
    assert (status, table.count("<tr>")) == (200, 14)
    _, text, _ = ask(f"{served.base}/sql/ask", {"query": query, "format": "csv"}, **inside)
    assert text.splitlines()[0] == "target,n"
    _, content, _ = ask(f"{served.base}/sql/ask", {"query": query, "format": "parquet"}, raw=True, **inside)
    (tmp_path / "answer.parquet").write_bytes(content)
    assert pq.read_table(tmp_path / "answer.parquet").num_rows == 13


def decide(served: Served, inside: dict[str, str], **step: object) -> Any:
    body = {"report_id": HOSTILE.report_id, "task": "findings", "target": "Edema", "status": "absent", **step}
    status, told, _ = ask(f"{served.base}/decide", body, **inside)
    return status, json.loads(told)


@pytest.mark.parametrize(
    "step",
    [
        {"status": "maybe"},
        {"target": "Oedema"},
        {"task": "other"},
        {"action": "undo"},
        {"action": "delete"},
        {"action": "note", "note": " "},
        {"report_id": "nowhere"},
    ],
)
def test_what_is_no_decision_is_refused_and_nothing_is_kept(
    served: Served, inside: dict[str, str], step: dict[str, object]
) -> None:
    status, told = decide(served, inside, **step)
    assert status in (400, 404)
    assert told["error"]
    assert json.loads(ask(f"{served.base}/state", Cookie=inside["Cookie"])[1])["progress"]["all"] == 0


def test_decisions_are_kept_undone_and_in_the_store_at_the_end(served: Served, inside: dict[str, str]) -> None:
    assert decide(served, inside)[0] == 200
    assert decide(served, inside, target="Fracture", status="present", why="random", seconds=3.5)[0] == 200
    assert decide(served, inside, target="Pneumonia", status="present")[1]["progress"]["mine"] == 3
    status, told, _ = ask(f"{served.base}/undo", {}, **inside)
    assert (status, json.loads(told)["target"]) == (200, "Pneumonia")
    status, told, _ = ask(f"{served.base}/undo", {}, **inside)
    assert json.loads(told)["target"] == "Fracture"
    assert decide(served, inside, target="Fracture", status="uncertain")[1]["progress"]["mine"] == 2
    served.running.send_signal(signal.SIGINT)
    told, _ = served.running.communicate(timeout=30)
    assert "2 decisions in this session. All are in the store." in told
    connection, _ = open_snapshot(served.store)
    with connection:
        query = "SELECT target, status FROM curated_labels WHERE report_id = ? ORDER BY 1"
        assert connection.execute(query, [HOSTILE.report_id]).fetchall() == [
            ("Edema", "absent"),
            ("Fracture", "uncertain"),
        ]
        steps = connection.execute('SELECT "action", reviewer FROM reviews ORDER BY decided_at').fetchall()
    assert steps == [(action, "Ann") for action in ("set", "set", "set", "undo", "undo", "set")]


def test_decisions_survive_a_kill(served: Served, inside: dict[str, str]) -> None:
    with duckdb.connect(str(served.store)):  # somebody else holds the store, so they cannot be handed in
        assert decide(served, inside)[0] == 200
        served.running.kill()
        served.running.wait(10)
    from teachback.store.review.decisions import deliver

    assert deliver(served.store)
    connection, _ = open_snapshot(served.store)
    with connection:
        assert connection.execute("SELECT count(*) FROM reviews").fetchall() == [(1,)]
