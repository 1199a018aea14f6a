"""The page of a comparison: one safe file, readable without its script, and what its script does."""

import base64
import hashlib
import html
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from teachback.agents.workbench.compare import Comparison
from teachback.agents.workbench.page import write_page
from teachback.store.label import FINDINGS

Compare = Callable[..., Comparison]

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
BROWSER_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --hide-scrollbars --allow-file-access-from-files --window-size=1400,1000"
)
# Chromium's window is never narrower than 500 pixels, so the page is looked at in a frame.
FRAME = """<!doctype html><iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe><script>
onload = () => {{ const page = document.querySelector("iframe").contentDocument; {script} }}</script>"""
ATTACK = "</div><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> {{ 7 * 7 }} "


def page_of(comparison: Comparison, folder: Path, **given: bool) -> str:
    return write_page(comparison, folder / "page.html", **given).read_text("utf-8")


def in_browser(page: str, folder: Path, script: str, width: int = 1280) -> str:
    """Open a page, run a script on it as `page`, and return the title that it sets."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width, script=script), encoding="utf-8")
    made = subprocess.run(
        [CHROMIUM, *BROWSER_FLAGS.split(), f"--user-data-dir={folder / 'profile'}", "--dump-dom", frame.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    title = re.search(r"<title>(.*?)</title>", made.stdout, re.DOTALL)
    return html.unescape(title[1]) if title else ""


def attacked(store: Path) -> None:
    """Put markup into every report, behind its first word so that the labels stay much the same."""
    with duckdb.connect(str(store)) as connection:
        for column in ("findings", "impression", "text"):
            connection.execute(f"UPDATE reports SET {column} = ? || {column} WHERE {column} IS NOT NULL", [ATTACK])


def test_page_is_one_file_that_fetches_nothing(compared: Comparison, tmp_path: Path) -> None:
    page = page_of(compared, tmp_path)
    assert not re.search(r"https?://|<link|<img|<iframe|@import|url\(|\son\w+=", page)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in page or f"script-src 'sha256-{digest}'" in page


def test_page_shows_each_flip_with_what_it_rests_on(compared: Comparison, tmp_path: Path) -> None:
    page = page_of(compared, tmp_path)
    assert page.count("<li data-finding=") == compared.flips.flipped
    assert page.count("<article") == len(compared.flipped)
    assert all(f'<th scope="row">{finding}</th>' in page for finding in FINDINGS)
    assert page.count('<svg class="track"') == len(FINDINGS) + 3  # micro, macro and the axis
    assert "The model was a stand-in" in page
    assert "<ins>" in page
    assert re.search(r'<mark class="(a|b|ab)"', page)


def test_text_of_reports_stays_text(compare: Compare, store: Path, tmp_path: Path) -> None:
    attacked(store)
    page = page_of(compare(), tmp_path)
    assert page.count("<script") == 1
    assert "<img" not in page
    assert "&lt;script&gt;document.title" in page
    assert "{{ 7 * 7 }}" in page


def test_restricted_text_is_left_out_unless_asked_for(compare: Compare, store: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(store)) as connection:
        connection.execute("UPDATE corpora SET egress = 'local-only'")
    comparison = compare()
    page = page_of(comparison, tmp_path)
    assert 'class="text"' not in page
    assert "<q>" not in page
    assert f"The text of {len(comparison.flipped)} reports of synthetic is left out" in page
    shown = page_of(comparison, tmp_path, restricted_text=True)
    assert 'class="text"' in shown
    assert "This page holds reports that may not be passed on" in shown


def test_page_is_written_again_the_same(compared: Comparison, tmp_path: Path) -> None:
    assert page_of(compared, tmp_path) == page_of(compared, tmp_path)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_sideways(compared: Comparison, tmp_path: Path, width: int) -> None:
    measure = "const root = page.documentElement; document.title = [root.clientWidth, root.scrollWidth];"
    # Taken as laid out in full: what is off the screen counts too.
    page = page_of(compared, tmp_path).replace("content-visibility: auto;", "")
    assert in_browser(page, tmp_path, measure, width) == f"{width},{width}"


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
def test_filters_leave_the_flips_that_were_chosen(compared: Comparison, tmp_path: Path) -> None:
    finding = compared.flipped[0].flips[0].finding
    flips = [flip for report in compared.flipped for flip in report.flips if flip.finding == finding]
    choose = (
        f'const by = page.getElementById("by-finding"); by.value = "{finding}"; '
        'by.dispatchEvent(new Event("change", {bubbles: true})); '
        'document.title = page.getElementById("shown").textContent + " / " + '
        'page.querySelectorAll("article:not([hidden]) li:not([hidden])").length;'
    )
    said = in_browser(page_of(compared, tmp_path), tmp_path, choose)
    assert said == f"{len(flips)} flips in {len(flips)} reports / {len(flips)}"


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
def test_nothing_in_a_report_runs(compare: Compare, store: Path, tmp_path: Path) -> None:
    attacked(store)
    page = page_of(compare(), tmp_path)
    title = 'document.title = page.title + " / " + page.getElementById("shown").textContent.length;'
    assert re.fullmatch(r"default and framed: prompts compared / \d\d+", in_browser(page, tmp_path, title))
    # The same attack let through on purpose: the page's policy stops it all the same.
    let_through = page.replace("<main>", f"<main>{ATTACK}", 1)
    assert "owned" not in in_browser(let_through, tmp_path, title)
