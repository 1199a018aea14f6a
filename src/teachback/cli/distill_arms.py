"""`teachback distill STORE --arms ... --seeds ...`: the same campaign in several ways and with several seeds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from teachback.distill.config import CampaignSettings

__all__ = ["compare_arms", "read_seeds"]


def read_seeds(written: str | None, seed: int | None) -> list[int]:
    """Return the seeds that were asked for: `3` is 0, 1, 2; `0,4,7` are these.

    Raises:
        SettingError: They are no numbers, or fewer than one.
    """
    from teachback.errors import SettingError

    if written is None:
        return [seed or 0]
    try:
        numbers = [int(number) for number in written.split(",")]
    except ValueError:
        numbers = []
    if "," not in written and numbers and numbers[0] > 0:
        return [(seed or 0) + i for i in range(numbers[0])]
    if not numbers or min(numbers) < 0 or "," not in written:
        raise SettingError(f"--seeds {written}: not seeds", "write how many, such as 3, or which, such as 0,4,7")
    return list(dict.fromkeys(numbers))


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
    """Run arms and seeds, and print them in one table.

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

    from teachback.cli.rounds_bar import RoundsBar
    from teachback.distill.arms import AS_GIVEN, load_arms, run_arms

    console = Console(stderr=as_json)
    listed = [AS_GIVEN] if arms is None else load_arms(arms)
    with RoundsBar(console) as bar:
        comparison, path = run_arms(store, settings, listed, seeds, bar, teacher_id=teacher, command=command)
    if as_json:
        print(json.dumps(comparison, indent=1))
        return
    for split in ("gate", "test"):
        _print_subjects(comparison, split, console)
        if len(listed) > 1:
            _print_arms(comparison, split, console)
    console.print(f"All figures: {path}", highlight=False, soft_wrap=True)


def _print_subjects(comparison: Mapping[str, Any], split: str, console: "Console") -> None:
    seeds = comparison["seeds"]
    first = comparison["arms"][0]["name"]
    table = _table(
        f"{first} on {split}: {len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}, "
        f"{comparison['budget_steps']:,} steps a training",
        "labeler", "micro-F1: mean (spread)", "macro-F1", "micro over teacher: each seed [95 %]",
    )  # fmt: skip
    for subject in comparison["subjects"]:
        figures = subject["figures"][split]
        gains = "\n".join(_gain(gain) for gain in subject["over_teacher"][split])
        name = subject["name"] + (f" ({subject['seeds']} of {len(seeds)})" if subject["seeds"] < len(seeds) else "")
        table.add_row(name, _mean(figures["micro"]), _mean(figures["macro"]), gains or "-")
    console.print(table)


def _print_arms(comparison: Mapping[str, Any], split: str, console: "Console") -> None:
    first = comparison["arms"][0]["name"]
    table = _table(
        f"Champions of the arms on {split}, {comparison['budget_steps']:,} steps a training",
        "arm", "micro-F1: mean (spread)", "macro-F1", f"micro over {first} [95 %]", "champions", "steps", "s",
    )  # fmt: skip
    for arm in comparison["arms"]:
        figures = arm["figures"][split]
        gains = "\n".join(_gain(gain["micro"]) for gain in arm["over_first"][split])
        table.add_row(
            f"{arm['name']}: {arm['why']}",
            _mean(figures["micro"]),
            _mean(figures["macro"]),
            gains or "-",
            "\n".join(arm["champions"]),
            f"{arm['steps']:,}",
            f"{arm['seconds']:,.0f}",
        )
    console.print(table)


def _table(title: str, *columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left", overflow="fold")
    return table


def _mean(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None:
        return "-"
    return f"{figure['mean']:.3f}" + ("" if figure["spread"] is None else f" ({figure['spread']:.3f})")


def _gain(gain: Mapping[str, Any]) -> str:
    if gain["low"] is None:
        return f"{gain['value']:+.3f}" if gain["value"] is not None else "-"
    return f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
