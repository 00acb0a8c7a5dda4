"""Command line: `homespec new --from`, a spec for the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from homespec.cli.errors import exit_2_on, needing
from homespec.cli.progress import Begin, progress_bars
from homespec.diagnostics.render.terminal import count

if TYPE_CHECKING:
    from homespec.data.data_files import DataFiles
    from homespec.drafting.draft import Draft
    from homespec.drafting.next_steps import Place


ROWS = 200_000
"""Default size of the sample."""
SHOWN = 6
"""Maximum number of tasks that are named."""


@dataclass(frozen=True)
class Asked:
    """The options besides the name."""

    data: tuple[Path, ...]
    valid: tuple[Path, ...]
    labels: tuple[str, ...]
    rows: int
    split: Path | None
    force: bool


@dataclass(frozen=True)
class Drafted:
    """The text of a spec, and the lines to print."""

    text: str
    said: str
    steps: list[str]


def drafted(name: str, spec: Path, asked: Asked) -> Drafted:
    """The spec of the data, which is split on request. Exits with 2 on errors."""
    with needing("data"):
        import homespec.data.profiler  # noqa: F401
    from homespec.data import DataError
    from homespec.drafting import DraftError

    with exit_2_on(DataError, DraftError), _writable():
        return _drafted(name, spec, asked)


@contextmanager
def _writable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from None


def _drafted(name: str, spec: Path, asked: Asked) -> Drafted:
    from homespec.data.splits import open_splits
    from homespec.drafting.draft import draft
    from homespec.drafting.sample import take
    from homespec.drafting.spec_text import spec_text

    train, held_out = open_splits(asked.data, asked.valid)
    if train.not_read:
        click.echo(train.not_read, err=True)
    if held_out is not None and asked.split:
        raise click.UsageError("--split holds rows out, and there are such already: give one.")
    with progress_bars() as begin:
        advance, before = begin("reading rows", train.rows), [0]

        def passed(row: int) -> None:
            advance(row - before[0])
            before[0] = row

        sample = take(train, asked.rows, passed)
        found = draft(sample, asked.labels, begin("columns", sample.table.num_columns))
        place, rows, said = _place(train, held_out, found, asked, begin)
    steps, hint = _steps(name, spec, asked, found, place, rows)
    text = spec_text(found, name, _command(name, asked), steps)
    return Drafted(text, "\n".join([_summary(found), *said, *hint]), steps)


def _place(
    train: DataFiles, held_out: DataFiles | None, found: Draft, asked: Asked, begin: Begin
) -> tuple[Place, int, list[str]]:
    """Where the rows are, how many are for training, and which files were written."""
    from homespec.drafting.next_steps import Place
    from homespec.drafting.split import split_of, write

    if not asked.split:
        return Place(asked.data, asked.valid), train.rows, []
    split = split_of(found)
    for part in ("train", "valid"):
        path = asked.split / f"{part}.parquet"
        if path.exists() and not asked.force:
            raise click.ClickException(f"{path} already exists; --force overwrites it")
    rows = write(train, split, asked.split, begin("writing rows", train.rows))
    said = (
        f"wrote {asked.split}: {rows['train']:,} rows to train on, {rows['valid']:,} held out"
        f" ({split})"
    )
    return Place((asked.split,)), rows["train"], [said]


def _steps(
    name: str, spec: Path, asked: Asked, found: Draft, place: Place, rows: int
) -> tuple[list[str], list[str]]:
    """The commands to run next, and a remark if no rows are held out."""
    from homespec.data.splits import open_splits
    from homespec.drafting.next_steps import Place, quoted, steps_of
    from homespec.drafting.split import split_of

    if asked.split or open_splits(asked.data, asked.valid)[1] is not None:
        return steps_of(found, spec, place, rows), []
    folder = Path("prepared")
    command = f"{_command(name, asked)} --split {quoted(folder)} --force"
    hint = (
        f"No rows are held out to measure on. The first command below holds out {split_of(found)},"
        " and writes the spec again."
    )
    return [command, *steps_of(found, spec, Place((folder,)), int(rows * 0.9))], [hint]


def _command(name: str, asked: Asked) -> str:
    import shlex

    from homespec.drafting.next_steps import quoted

    parts = [f"homespec new {name}", *(f"--from {quoted(path)}" for path in asked.data)]
    parts += [f"--valid {quoted(path)}" for path in asked.valid]
    parts += [f"--label {shlex.quote(label)}" for label in asked.labels]
    parts += [f"--rows {asked.rows}"] if asked.rows != ROWS else []
    return " ".join(parts)


def _summary(found: Draft) -> str:
    from homespec.drafting.spec_text import names_of

    tasks = count(len(found.tasks), "task")
    features = count(len(found.features), "feature")
    left_out = f", {count(len(found.left_out), 'column')} left out" if found.left_out else ""
    rows = f"{found.sample.table.num_rows:,} of {found.sample.rows:,} rows"
    said = [f"{name} ({task.said_rate})" for name, task in zip(names_of(found).tasks, found.tasks,
                                                               strict=True)]  # fmt: skip
    more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
    return (
        f"{rows} read: {tasks}, {features}{left_out}\nto predict: {', '.join(said[:SHOWN])}{more}"
    )
