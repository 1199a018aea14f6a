"""Makes the pictures of the review page in `docs/`: twenty decisions by keyboard while a labeling runs, then the pages.

    python -m tests.store.page.screenshots teachback-demo/labels.duckdb docs

Works on a copy of the store, which should be one that `teachback demo` made.
"""

import asyncio
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
from tests.store.page.browser import Tab, browser
from tests.store.page.conftest import Served, serving
from tests.store.page.test_walk import HERE, walk
from tests.synthetic_stores import copied

from teachback.store.database import snapshot_path

WIDE, NARROW = (1280, 800), (390, 844)
DEMO_ROUND = "SELECT round_id FROM rounds WHERE round = 2 AND arm = 'feedback' ORDER BY created_at DESC LIMIT 1"


def main() -> None:
    source, docs = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        store = copied(source, Path(folder) / "copy")
        command = [sys.executable, "-m", "teachback", "label", str(store), "--llm", "stand-in", "--rpm", "120"]
        labeling = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with serving(store, "--reviewer", "Dr. Example") as page:
                decided = asyncio.run(_show(page, docs))
                running = labeling.poll() is None
            print(f"{len(decided)} decisions; the labeling {'ran all the time' if running else 'ended before'}")
        finally:
            labeling.send_signal(signal.SIGINT)
            labeling.wait(60)


async def _show(page: Served, docs: Path) -> list[tuple[str, str, str]]:
    with duckdb.connect(str(snapshot_path(page.store)), read_only=True) as connection:
        (round_id,) = connection.execute(DEMO_ROUND).fetchall()[0]
    decided = await walk(page)
    async with browser() as tab:
        await _shoot(tab, page, docs / "audit-review.png", "/review", WIDE)
        await _shoot(tab, page, docs / "audit-finding-dark.png", "/finding/Pneumonia", WIDE, dark=True)
        await _shoot(tab, page, docs / "audit-round.png", f"/round/{round_id}", WIDE)
        await _shoot(tab, page, docs / "audit-narrow.png", "/review", NARROW, to=".target.focus")
        await _shoot(tab, page, docs / "audit-rounds-narrow-dark.png", "/rounds", NARROW, dark=True)
    return decided


async def _shoot(
    tab: Tab, page: Served, path: Path, address: str, size: tuple[int, int], *, dark: bool = False, to: str = "main"
) -> None:
    await tab.size(*size, dark=dark)
    await tab.open(page.address)
    await tab.open(f"{page.base}{address}")
    await tab.until(f"document.querySelector({to!r})" if address != "/review" else HERE)
    if to != "main":
        await tab.run(f"document.querySelector({to!r}).scrollIntoView({{ block: 'center' }})")
    await asyncio.sleep(0.5)
    await tab.shot(path)


if __name__ == "__main__":
    main()
