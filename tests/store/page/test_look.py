"""How the pages look in a real browser: nothing hangs out sideways, and every text that is drawn can be read."""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.store.page import rounds_store
from tests.store.page.browser import CHROMIUM, Tab, browser
from tests.store.page.conftest import HOSTILE, Served, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")]
PAGES = ("/review", "/labelers", "/finding/Edema", "/rounds", "/round/rnd_2", "/prompts", "/prompt/prm_old")
PAGES += ("/reviewers", "/sql", "/nowhere")
# Every text against what lies behind it, as it is drawn: opacities and colours that are mixed by the browser included.
LOW_CONTRAST = """
(() => {
  const parsed = (text) => {
    const parts = text.match(/[\\d.]+/g).map(Number);
    const scale = text.startsWith("color(") ? 1 : 255;
    return [...parts.slice(0, 3).map((part) => part / scale), parts.length > 3 ? parts[3] : 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parsed(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [1, 1, 1, 1]);
  };
  const low = [];
  let texts = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length || element.closest(":disabled, .skip, title, option")) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
    const ink = parsed(element.closest("svg") ? style.fill : style.color);
    ink[3] *= opacity;
    const [one, other] = [light(over(ink, ground)), light(ground)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (one + 0.05) / (other + 0.05);
    texts += 1;
    if (ratio < (large ? 3 : 4.5)) low.push(`${ratio.toFixed(2)} ${element.tagName}.${element.className}`
      + ` ${element.textContent.trim().slice(0, 40)}`);
  }
  return [texts, [...new Set(low)]];
})()
"""


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(rounds_store.build(tmp_path_factory.mktemp("look") / "labels.duckdb"), "--reviewer", "ann") as page:
        yield page


async def looked(page: Served, width: int, dark: bool, paths: tuple[str, ...], script: str) -> dict[str, Any]:
    async with browser() as tab:
        await tab.size(width, 844, dark=dark)
        await tab.open(page.address)
        found = {}
        for path in paths:
            await tab.open(f"{page.base}{path}")
            if path == "/sql":
                await answered(tab)
            found[path] = await tab.run(script)
        assert [error for error in tab.errors if "404" not in error] == []
        return found


async def answered(tab: Tab) -> None:
    await tab.run("document.querySelector('#sql button.main').click()")
    await tab.until("document.querySelector('#answer td')")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_text_that_is_drawn_has_the_contrast_of_wcag_aa(rounds: Served, width: int, dark: bool) -> None:
    found = asyncio.run(looked(rounds, width, dark, PAGES, LOW_CONTRAST))
    assert {path: low for path, (_, low) in found.items() if low} == {}
    assert min(texts for texts, _ in found.values()) > 10


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_hangs_out_sideways(rounds: Served, width: int) -> None:
    script = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    found = asyncio.run(looked(rounds, width, False, PAGES, script))
    assert {path: wide for path, wide in found.items() if wide[0] > wide[1]} == {}


@pytest.mark.parametrize("dark", [False, True])
def test_a_report_with_all_its_marks_can_be_read(served: Served, dark: bool) -> None:
    paths = ("/review", f"/review?report={quote(HOSTILE.report_id)}&target=Pleural+Effusion")
    found = asyncio.run(looked(served, 1280, dark, paths, LOW_CONTRAST))
    assert {path: low for path, (_, low) in found.items() if low} == {}


def test_charts_over_rounds_are_drawn_and_lead_to_their_rounds(rounds: Served) -> None:
    script = (
        "[...document.querySelectorAll('.trend svg')].map((svg) => [svg.getBoundingClientRect().width > 200, "
        "[...svg.querySelectorAll('a')].map((a) => a.getAttribute('href')), svg.getAttribute('aria-label')])"
    )
    drawn = asyncio.run(looked(rounds, 1280, False, ("/finding/Edema",), script))["/finding/Edema"]
    assert [(wide, len(links)) for wide, links, _ in drawn] == [(True, 4), (True, 1)]
    assert drawn[0][1] == ["/round/rnd_1", "/round/rnd_linear", "/round/rnd_2", "/round/rnd_3"]
    assert drawn[0][2].startswith("F1 on gate: round 1, feedback: 0.600 [0.500, 0.700]")
