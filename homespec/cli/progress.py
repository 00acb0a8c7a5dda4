"""Command line: progress bars for long work, on stderr if that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Begin = Callable[[str, int], Callable[[int], None]]
"""Takes a description and a number of steps, and returns a function to call with the steps done."""


@contextmanager
def progress_bars() -> Iterator[Begin]:
    """Bars that disappear at the end, and before an error is printed."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        progress.TextColumn("{task.description}"), progress.BarColumn(),
        progress.MofNCompleteColumn(), progress.TimeRemainingColumn(),
    )  # fmt: skip
    hidden = not console.is_terminal
    with progress.Progress(*columns, console=console, transient=True, disable=hidden) as bars:

        def begin(what: str, steps: int) -> Callable[[int], None]:
            task = bars.add_task(what, total=steps)
            return lambda further: bars.advance(task, further)

        yield begin
