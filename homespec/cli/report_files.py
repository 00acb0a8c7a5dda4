"""Command line: files of reports, which must not replace what a command reads."""

from __future__ import annotations

from pathlib import Path

import click

READ = (".parquet", ".pq", ".csv", ".csv.gz", ".yaml", ".yml", ".safetensors")
"""How the names of data, specs and weights end."""


def report_file(_context: click.Context, option: click.Parameter, file: Path | None) -> Path | None:
    """Refuse a slip such as `--json data.parquet`: the file would be gone."""
    if file is not None and file.name.lower().endswith(READ) and file.exists():
        kind = option.name.removesuffix("_file") if option.name else "json"
        raise click.BadParameter(
            f"{file} is data, a spec or weights, and the report would replace it: name another"
            f" file, such as report.{kind}"
        )
    return file
