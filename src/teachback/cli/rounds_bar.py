"""The progress display of a campaign: one line for each step that takes time."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["RoundsBar"]


class RoundsBar:
    """Shows what a campaign is doing; call it with a step's words, how much is done, and of how much."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "RoundsBar":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far a step is; what follows a comma (`..., loss 0.42`) may change from call to call.

        With nothing to do in all, the words are no step but something to know: they get a line of their own.
        """
        if total == 0:
            self._bar.console.print(what, highlight=False, markup=False, soft_wrap=True)
            return
        step = what.split(", loss")[0]
        if step not in self._tasks:
            self._tasks[step] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[step], description=what, completed=done, total=total)
