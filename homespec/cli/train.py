"""Command line: `homespec train`, which trains a spec's model on prepared data."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
from click.core import ParameterSource

from homespec.cli.finite import Finite
from homespec.cli.specs import set_option
from homespec.train.settings import FLAGS, GROUPS, Flag, Group, Settings, flag


class Grouped(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group under its heading."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups[getattr(parameter, "group", GROUPS[0])].append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


class Option(click.Option):
    """An option in a group of the help; its default is shown."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def option(group: Group, *names: str, **kwargs: Any) -> Option:
    """Options that are not settings: the paths of the run's data and files."""
    return Option(names, group=group, **kwargs)


def setting_option(name: str) -> Option:
    """The flag of a setting."""
    known, default, kind = FLAGS[name], getattr(Settings, name), get_type_hints(Settings)[name]
    names = [flag(name), name]
    if bool in (kind, *get_args(kind)):
        names[0] += f"/--no-{name.replace('_', '-')}"
    automatic = f"  [default: {known.automatic}]" if known.automatic else ""
    return Option(
        names,
        group=known.group,
        multiple=isinstance(default, tuple),
        default=default,
        show_default=default is not None and not isinstance(default, bool | tuple),
        type=_type_of(known, kind),
        metavar=known.metavar,
        help=known.help + automatic,
    )


class Parsed(click.ParamType[str]):
    """A text in a form that a setting accepts; it remains a text."""

    name = "text"

    def __init__(self, parse: Callable[[str], object]) -> None:
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text; fails with the setting's own message."""
        try:
            self.parse(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return value


def _type_of(known: Flag, kind: Any) -> Any:
    if known.parse:
        return Parsed(known.parse)
    if known.choices:
        return click.Choice(known.choices)
    if known.least is None:
        return None
    if float in (kind, *get_args(kind)):
        return Finite(known.least, known.most)
    most = None if known.most is None else int(known.most)
    return click.IntRange(int(known.least), most)


PATHS = click.Path(path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PLACE = (
    option(
        "Data", "--data", required=True, multiple=True, type=PATHS,
        help="Files (.parquet, .csv, .csv.gz) or folders of them, or one folder that holds "
            "`train` and `valid`. May be repeated.",
    ),
    option(
        "Data", "--valid", multiple=True, type=PATHS,
        help="Held-out rows to measure on, given in the same way.  [default: `valid` of the "
            "folder]",
    ),
    option(
        "Run", "--out", type=FOLDER,
        help="Folder of the run.  [default: runs/NAME OF THE SPEC]",
    ),
)  # fmt: skip
IF_THERE_IS_ONE = (
    option(
        "Run", "--resume", is_flag=True,
        help="Continue from the last checkpoint in OUT, with its settings unless a flag "
            "overrides them.",
    ),
    option("Run", "--overwrite", is_flag=True, help="Replace an existing run and start again."),
)  # fmt: skip


def _options(command: click.Command) -> click.Command:
    command.params += [*PLACE, *map(setting_option, FLAGS), *IF_THERE_IS_ONE]
    return command


@_options
@click.command(cls=Grouped)
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@set_option
@click.pass_context
def train(
    ctx: click.Context,
    /,
    spec: Path,
    overrides: tuple[str, ...],
    data: tuple[Path, ...],
    valid: tuple[Path, ...],
    out: Path | None,
    resume: bool,
    overwrite: bool,
    **given: Any,
) -> None:
    """Train the model of SPEC and measure it on held-out rows.

    Writes checkpoints, weights by logical name, metrics and the losses of every step to the folder
    OUT. To continue a stopped run, use --resume.

    On several devices: torchrun --nproc-per-node 2 -m homespec train SPEC ...
    """
    if resume and overwrite:
        raise click.UsageError(
            "--resume continues a run and --overwrite starts again: give only one of them."
        )
    gc.enable()
    with _explaining_interrupts():
        import homespec
        from homespec.cli.errors import exit_2_on, needing
        from homespec.data import DataError
        from homespec.train import RunError

        with needing("train"):
            from homespec.train import distributed, report, run

        with _reporting_once():
            parsed = homespec.load(spec, overrides)
            out = out or Path("runs", parsed.name)
            _check_writable(out)
        place = run.Place(data, out, valid, resume, overwrite)
        with exit_2_on(DataError, RunError):
            with _reporting_once():
                settings = _settings(ctx, out if resume else None, given)
            try:
                result = run.train(parsed, place, settings, click.echo)
            except distributed.ElsewhereError:  # the process that has the error reports it
                raise SystemExit(2) from None
        if not distributed.is_silent():
            report.show(result, out, valid or data)


@contextmanager
def _explaining_interrupts() -> Iterator[None]:
    """On Ctrl-C, say how to resume the run. Only the first of several processes does."""
    try:
        yield
    except KeyboardInterrupt as interrupted:
        if not int(os.environ.get("RANK", "0")):
            default = "--resume continues from the last checkpoint, if there is one"
            click.echo(f"interrupted. {str(interrupted) or default}", err=True)
        raise click.Abort from None


@contextmanager
def _reporting_once() -> Iterator[None]:
    """If several processes of a machine read the same files, only the first reports an error."""
    try:
        yield
    except Exception:
        if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["LOCAL_RANK"]):
            raise SystemExit(2) from None
        raise


def _settings(ctx: click.Context, resumed: Path | None, given: dict[str, Any]) -> Settings:
    """The settings from flags; in a resumed run, from its start if there is no flag."""
    from homespec.train.run_dir import stored_settings

    stored = stored_settings(resumed) if resumed else None
    if stored is None:
        return Settings(**given)
    silent = {n for n in given if ctx.get_parameter_source(n) is ParameterSource.DEFAULT}
    return Settings(**{n: getattr(stored, n) if n in silent else v for n, v in given.items()})


def _check_writable(out: Path) -> None:
    """Raise UsageError early if the result could not be written."""
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise click.UsageError(f"Cannot write to `{out}`: `{there}` is not a writable folder.")
