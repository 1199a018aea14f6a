"""A reviewer's hour in a real browser: keys, decisions during a running labeling, hostile text, contrast, widths."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.store.page.browser import CHROMIUM, browser
from tests.store.page.conftest import HOSTILE, Served, serving

from teachback.store.database import Store, open_snapshot

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")]
CSS = Path(__file__).parents[3] / "store" / "page" / "static" / "page.css"
HERE = "document.querySelector('#review')?.dataset"
KEYS = (("1", "present"), ("a", "absent"), ("3", "uncertain"), ("x", "unmentioned"))
KEPT = "document.querySelector('#progress').textContent"


def test_twenty_decisions_by_keyboard_while_a_labeling_runs(store: Path) -> None:
    with Store(store) as opened:  # the labeling has everything to do again
        opened.connection.execute("DELETE FROM committed")
    command = [sys.executable, "-m", "teachback", "label", str(store), "--llm", "stand-in", "--repeat", "3"]
    # Some 120 calls at one a second: it is at work all the time, and holds the store.
    labeling = subprocess.Popen([*command, "--rpm", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with serving(store, "--reviewer", "Ann") as page:
            decided = asyncio.run(walk(page))
        until = time.monotonic() + 15
        while published(store) < 22:  # its writer takes them in and publishes them: twenty, one undo, one again
            assert time.monotonic() < until
            time.sleep(0.2)
        assert labeling.poll() is None  # it was at work all the time
    finally:
        labeling.send_signal(signal.SIGINT)
        labeling.wait(60)
    connection, _ = open_snapshot(store)
    with connection:
        found = connection.execute(
            "SELECT report_id, target, status FROM human_labels WHERE reviewer = 'Ann' ORDER BY decided_at"
        ).fetchall()
    assert len(decided) == len(found) == 20
    assert found == decided


def published(store: Path) -> int:
    connection, _ = open_snapshot(store)
    with connection:
        return int(connection.execute("SELECT count(*) FROM reviews").fetchall()[0][0])


async def walk(page: Served) -> list[tuple[str, str, str]]:
    decided: list[tuple[str, str, str]] = []
    async with browser() as tab:
        await tab.size(1280, 860)
        await tab.open(page.address)
        while len(decided) < 20:
            await tab.until(HERE)
            report, target = await tab.run(f"[{HERE}.report, {HERE}.target]")
            key, status = KEYS[len(decided) % len(KEYS)]
            await tab.press(key)
            decided.append((report, target, status))
            await tab.until(f"{KEPT}.includes('{len(decided)} of yours')")
            await tab.until(f"{HERE}.report !== {report!r} || {HERE}.target !== {target!r}")
        assert tab.errors == []
        # One is undone, and decided again otherwise.
        await tab.press("z")
        await tab.until(f"{KEPT}.includes('19 of yours')")
        await tab.until(f"{HERE}.target === {decided[-1][1]!r}")
        await tab.press("p")
        await tab.until(f"{KEPT}.includes('20 of yours')")
        decided[-1] = (*decided[-1][:2], "present")
        assert tab.errors == []
    return decided


def test_accept_skip_note_and_move(served: Served) -> None:
    async def work() -> None:
        async with browser() as tab:
            await tab.size(1280, 860)
            await tab.open(served.address)
            await tab.until(HERE)
            first = await tab.run(f"{HERE}.target")
            teacher = await tab.run("document.querySelector('.target.focus').dataset.teacher")
            await tab.press("k")
            await tab.press("j")
            assert await tab.run("document.activeElement.dataset.target") == first
            await tab.press("m")
            await tab.until("document.querySelector('#note-dialog').open")
            await tab.type("look <b>again</b>")
            await tab.run("document.querySelector('#note-dialog button.main').click()")
            await tab.until("document.querySelector('.target.focus .note')")
            assert (
                await tab.run("document.querySelector('.target.focus .note').textContent") == "Ann: look <b>again</b>"
            )
            if teacher:
                await tab.press("Enter")
                await tab.until(f"{KEPT}.includes('1 of yours')")
            await tab.until(f"{HERE}.place !== '0'")
            second = await tab.run(f"{HERE}.place")
            await tab.press("s")
            await tab.until(f"{HERE}.place !== {second!r}")
            await tab.press("b")
            await tab.until(f"{HERE}.place === {second!r}")
            await tab.press("?")
            await tab.until("document.querySelector('#help').open")
            await tab.press("n")  # the help keeps the keys to itself
            assert await tab.run(f"{HERE}.place") == second
            assert tab.errors == []

    asyncio.run(work())


def test_votes_are_hidden_until_the_decision_in_blind_mode(store: Path) -> None:
    async def work(page: Served) -> None:
        async with browser() as tab:
            await tab.open(page.address)
            await tab.until(HERE)
            assert await tab.run("document.querySelectorAll('.votes, mark, .choice .teacher').length") == 0
            await tab.press("p")
            await tab.until("document.querySelector('.target.focus .votes')")
            assert await tab.run("document.querySelectorAll('.votes').length") == 1
            assert tab.errors == []

    with serving(store, "--reviewer", "Ann", "--blind") as page:
        asyncio.run(work(page))
    connection, _ = open_snapshot(store)
    with connection:
        assert connection.execute("SELECT blind FROM reviews").fetchall() == [(True,)]


def test_hostile_text_is_shown_as_text(served: Served) -> None:
    async def work() -> None:
        async with browser() as tab:
            await tab.open(served.address)
            await tab.open(f"{served.base}/review?report={quote(HOSTILE.report_id)}&target=Pleural+Effusion")
            await tab.until(HERE)
            assert "<script>document.title" in await tab.run("document.querySelector('.report').innerText")
            assert "broken" not in await tab.run("document.title")
            assert await tab.run("document.querySelectorAll('main script, main img').length") == 0
            await tab.press("p")
            await tab.until(f"{KEPT}.includes('1 of yours')")
            assert tab.errors == []

    asyncio.run(work())


def test_no_page_overflows_sideways(served: Served) -> None:
    pages = ("/review", "/labelers", "/finding/Pleural%20Effusion", "/rounds", "/prompts", "/reviewers", "/sql")

    async def work() -> None:
        async with browser() as tab:
            for width in (1280, 390):
                await tab.size(width, 844)
                await tab.open(served.address)
                for path in pages:
                    await tab.open(f"{served.base}{path}")
                    wide = await tab.run("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
                    assert wide[0] <= wide[1], (path, width, wide)
            assert tab.errors == []

    asyncio.run(work())


def test_the_page_follows_the_store(served: Served) -> None:
    async def work() -> None:
        async with browser() as tab:
            await tab.open(served.address)
            await tab.until(HERE)
            before = await tab.run("(async () => (await (await fetch('/state')).json()).generation)()")
            with Store(served.store) as store:
                store.publish(anyway=True)
            until = time.monotonic() + 15
            while await tab.run("(async () => (await (await fetch('/state')).json()).generation)()") == before:
                assert time.monotonic() < until
                await asyncio.sleep(0.2)

    asyncio.run(work())


def luminance(colour: str) -> float:
    # WCAG 2.2: relative luminance of an sRGB colour.
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1, 2])
def test_text_has_the_contrast_of_wcag_aa(theme: int) -> None:
    block = re.findall(r"\{([^{}]*--ground:[^{}]*)\}", CSS.read_text())[theme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    assert len(colours) >= 20
    pairs = [("ink", "ground"), ("ink", "surface"), ("soft", "ground"), ("soft", "surface"), ("accent", "ground")]
    pairs += [("accent", "surface"), ("accent-ink", "accent"), ("mark-ink", "mark"), ("mark-on-ink", "mark-on")]
    pairs += [(status, f"{status}-ground") for status in ("present", "absent", "uncertain", "unmentioned")]
    pairs += [("absent", "surface"), ("uncertain", "surface"), ("ground", "ink")]
    low = {pair: round(contrast(*(colours[name] for name in pair)), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}
