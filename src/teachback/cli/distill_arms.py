"""`teachback distill STORE --arms ... --seeds ...`: the same campaign in several ways and with several seeds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from teachback.cli.rounds_bar import RoundsBar
    from teachback.distill.config import CampaignSettings

__all__ = ["compare_arms", "read_seeds"]

WIDTH = 100  # columns; fewer where the terminal has fewer


def read_seeds(written: str | None, seed: int | None) -> list[int]:
    """Return the seeds that were asked for: `3` is three from --seed on (0, 1, 2); `0,4,7` are these.

    Raises:
        SettingError: They are no numbers, or fewer than one.
    """
    from teachback.errors import SettingError

    if written is None:
        return [seed or 0]
    parts = [part.strip() for part in written.split(",")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit()]
    if len(numbers) == len(parts) and len(parts) > 1:
        return list(dict.fromkeys(numbers))
    if len(numbers) == len(parts) and numbers[0] > 0:
        return [(seed or 0) + i for i in range(numbers[0])]
    raise SettingError(f"--seeds {written}: not seeds", "write how many, such as 3, or which, such as 0,4,7")


def compare_arms(
    store: Path,
    settings: "CampaignSettings",
    *,
    arms: str | None,
    seeds: Sequence[int],
    teacher: str | None,
    as_json: bool,
    command: str,
) -> None:
    """Run arms and seeds, and print them in one table a split.

    Args:
        store: The store.
        settings: What the arms change.
        arms: Names of arms or a file; None runs the settings as they are.
        seeds: Of training and bootstrap.
        teacher: Which teacher to distil.
        as_json: Print the comparison as JSON.
        command: The command line, for the record.
    """
    from rich.console import Console

    from teachback.distill.arms import load_arms
    from teachback.distill.arms_run import run_arms

    console = Console(stderr=as_json)
    listed = None if arms is None else load_arms(arms)
    with _BarACampaign(console) as bar:
        comparison, path = run_arms(store, settings, listed, seeds, bar, teacher_id=teacher, command=command)
    if as_json:
        print(json.dumps(comparison, indent=1))
        return
    for split in ("gate", "test"):
        if len(comparison["arms"]) > 1:
            _print_arms(comparison, split, console)
        else:
            _print_subjects(comparison, split, console)
    if len(comparison["arms"]) > 1:
        for arm in comparison["arms"]:
            _say(f"{arm['name']}: {arm['why']}", console)
    for folder in (folder for arm in comparison["arms"] for folder in arm["folders"]):
        console.print(f"Report: {Path(folder) / 'report.html'}", highlight=False, soft_wrap=True)
    console.print(f"All figures: {path}", highlight=False, soft_wrap=True)


class _BarACampaign:
    """One progress display a campaign: together they would not fit a terminal."""

    def __init__(self, console: "Console") -> None:
        self._console, self._of = console, ""
        self._bar: RoundsBar | None = None

    def __enter__(self) -> "_BarACampaign":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def __call__(self, what: str, done: int, total: int) -> None:
        from teachback.cli.rounds_bar import RoundsBar

        of, _, step = what.partition(": ")
        if of != self._of or self._bar is None:
            self.__exit__()
            self._console.print(of, highlight=False)
            self._of, self._bar = of, RoundsBar(self._console).__enter__()
        self._bar(step, done, total)


def _print_subjects(comparison: Mapping[str, Any], split: str, console: "Console") -> None:
    """Print everyone that the campaigns judged, over the seeds."""
    from teachback.distill.report.figures import as_change

    table = _table(f"On {split}: {_of(comparison)}", "labeler", "micro-F1", "macro-F1", "micro over teacher")
    several = len(comparison["seeds"]) > 1
    for subject in comparison["subjects"]:
        figures, name = subject["figures"][split], subject["name"]
        if several and subject["champion_of"]:
            name += f" * {', '.join(map(str, subject['champion_of']))}"
        elif subject["champion_of"]:
            name += " *"
        if len(subject["seeds"]) < len(comparison["seeds"]):
            name += f" (seed {', '.join(map(str, subject['seeds']))} alone)"
        gains = [_short(as_change(gain["micro"])) for gain in subject["over_teacher"][split]]
        table.add_row(name, _mean(figures["micro"]), _mean(figures["macro"]), "\n".join(gains) or "-")
    table.caption = "* champion" + (" of these seeds\nmean (sample standard deviation over seeds)" if several else "")
    table.caption_justify = "left"
    console.print(table, width=min(WIDTH, console.width))


def _print_arms(comparison: Mapping[str, Any], split: str, console: "Console") -> None:
    """Print the baselines and each arm's champion, held against the first arm's."""
    from teachback.distill.report.figures import as_change

    first = comparison["arms"][0]["name"]
    title = f"Champions of the arms on {split}: {_of(comparison)}, {comparison['budget_steps']:,} steps a training"
    table = _table(title, "arm", "micro-F1", "macro-F1", f"micro over {first}", "steps, time")

    def gains_of(gains: Mapping[str, Any] | None) -> str:
        return "-" if gains is None else "\n".join(_short(as_change(gain["micro"])) for gain in gains[split])

    for subject in comparison["baselines"]:
        figures = subject["figures"][split]
        micro = _mean(figures["micro"], spread=figures["micro"]["spread"] != 0)
        table.add_row(subject["name"], micro, _mean(figures["macro"], interval=False), gains_of(subject["over_first"]))
    table.add_section()
    for arm in comparison["arms"]:
        figures, champions = arm["figures"][split], dict.fromkeys(arm["champions"])
        table.add_row(
            f"{arm['name']}\n  {', '.join(champions)}",
            _mean(figures["micro"]),
            _mean(figures["macro"], interval=False),
            f"the same as {first}" if arm["same_as_first"] else gains_of(arm["over_first"]),
            f"{fmean(arm['steps']):,.0f}\n{fmean(arm['seconds']):,.0f} s",
        )
    table.caption = "under an arm its champion    steps, time: of all of a campaign's trainings; of a campaign"
    if len(comparison["seeds"]) > 1:
        table.caption = "mean (sample standard deviation over seeds), differences seed by seed    " + table.caption
    table.caption_justify = "left"
    console.print(table, width=min(WIDTH, console.width))


def _of(comparison: Mapping[str, Any]) -> str:
    seeds = comparison["seeds"]
    named = ", ".join(map(str, seeds))
    return f"seed {named}, with 95 % intervals" if len(seeds) == 1 else f"seeds {named}, each with its 95 % interval"


def _table(title: str, *columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(columns):
        table.add_column(
            name, justify="right" if i else "left", overflow="fold", no_wrap=i > 0, min_width=0 if i else 12
        )
    return table


def _mean(figure: Mapping[str, Any], *, spread: bool = True, interval: bool = True) -> str:
    """Return the mean over seeds with their spread; of one seed, or where all are the same, its interval."""
    from teachback.distill.report.figures import as_figure

    if figure["mean"] is None:
        return "-"
    if interval and (not spread or len(figure["each"]) == 1):
        return _short(as_figure(figure["each"][0]))
    shown = f" ({figure['spread']:.3f})" if figure["spread"] else ""
    return _short(f"{figure['mean']:.3f}{shown}")


def _short(figures: str) -> str:
    """Leave out zeros before the point, for the width that a terminal lacks."""
    import re

    return re.sub(r"(?<!\d)0\.", ".", figures)


def _say(line: str, console: "Console") -> None:
    console.print(line, highlight=False, width=min(WIDTH, console.width), markup=False)
