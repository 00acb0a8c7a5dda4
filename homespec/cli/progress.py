"""Command line: bars of what takes long, on stderr where that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Begin = Callable[[str, int], Callable[[int], None]]
"""What is done and how many steps it has -> what to call with the number of further steps."""


@contextmanager
def progress_bars() -> Iterator[Begin]:
    """Bars that are gone at the end, and before an error is said."""
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
