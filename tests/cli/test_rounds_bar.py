"""The progress display of a campaign: steps get a bar, what a user should know a line of its own."""

import io

from rich.console import Console

from teachback.cli.rounds_bar import RoundsBar


def test_what_a_user_should_know_gets_a_line_and_spoils_no_bar() -> None:
    out = io.StringIO()
    note = "train round 1: step 4: out of memory with micro-batches of 16; now 8 [of 16]"
    with RoundsBar(Console(file=out, width=80)) as bar:
        bar("train round 1, loss 0.42", 3, 10)
        bar(note, 0, 0)
        bar("train round 1, loss 0.40", 10, 10)
    lines = out.getvalue().splitlines()
    assert note in lines
    (step,) = (line for line in lines if "loss" in line)
    assert step.startswith("train round 1, loss 0.40")
    assert "10/10" in step
