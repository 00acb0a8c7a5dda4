"""Command line: report files, which must not replace the inputs of a command.

They are checked as far as possible before the long work whose result they will contain.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from homespec.atomic_write import write_texts
from homespec.cli.errors import exit_2_on
from homespec.diagnostics.render.terminal import printable

READ = (".parquet", ".pq", ".csv", ".csv.gz", ".yaml", ".yml", ".safetensors")
"""Suffixes of data, specs and weights."""


def report_file(context: click.Context, option: click.Parameter, file: Path | None) -> Path | None:
    """Refuse a file that cannot be written, one that another argument names, and existing data.

    The latter is a slip such as `--json data.parquet`.
    """
    if file is None or str(file) == "-":
        return file
    if file.name.lower().endswith(READ) and file.exists():
        kind = option.name.removesuffix("_file") if option.name else "json"
        raise click.BadParameter(
            f"{file} is data, a spec or weights, which the report would replace: name another "
            f"file, such as report.{kind}"
        )
    if file.exists() and not file.is_file():  # a device or a pipe, which is written to
        return file
    others = (each for each in context.params.values() if isinstance(each, Path))
    if file.resolve() in {other.resolve() for other in others}:
        raise click.BadParameter(f"{file} is also the file of another argument: name another file")
    there = next(folder for folder in file.absolute().parents if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise click.BadParameter(
            f"{file} cannot be written ({there} is not a folder that you can write to)"
        )
    return file


def write_report(file: Path, text: str) -> None:
    """Write a file atomically and say so. Exits with 2 if that fails."""
    with exit_2_on(OSError):
        try:
            write_texts({file: text})
        except OSError as error:
            why = error.strerror or error
            raise OSError(f"{file} cannot be written ({why}): name another file") from None
    click.echo(f"wrote {printable(str(file))}", err=True)
