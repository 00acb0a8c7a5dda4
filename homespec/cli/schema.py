"""Command line: `homespec schema`, the JSON Schema of specs, or of the doctor's output."""

from __future__ import annotations

import json
from pathlib import Path

import click

from homespec.atomic_write import holds, write_texts
from homespec.cli.exit_codes import FINDINGS, OK

DEFAULT = Path("schemas/homespec-v1.schema.json")


@click.command()
@click.option(
    "--check", is_flag=True, help=f"Exit with 1 if the file (default: {DEFAULT}) is not fresh."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the schema to a file.",
)
@click.option(
    "--doctor",
    is_flag=True,
    help="Print the schema of the output of `homespec doctor --json` instead.",
)
def schema(check: bool, output: Path | None, doctor: bool) -> int:
    """Print the JSON Schema of the language, generated from the compiler's own models.

    To point an editor to it, begin the spec with its path, relative to the spec's folder:

      # yaml-language-server: $schema=../schemas/homespec-v1.schema.json
    """
    if check and doctor and output is None:
        raise click.UsageError("--check needs the file of the doctor's schema: give -o FILE.")
    text = _of_doctor() if doctor else _of_specs()
    if check:
        return _check(output or DEFAULT, text, doctor)
    if output is None:
        click.echo(text, nl=False)
        return OK
    try:
        if not _replaceable(output):
            raise click.ClickException(
                f"{output} is not a JSON Schema: give another file, or remove this one first"
            )
        written = write_texts({output: text})
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from None
    click.echo(f"{'wrote' if written else 'fresh'} {output}")
    return OK


def _replaceable(file: Path) -> bool:
    """Whether a file is missing, empty or an older schema, so that no spec is overwritten."""
    if not file.is_file():
        return True
    with file.open("rb") as opened:
        start = opened.read(200)
    return not start.strip() or b'"$schema"' in start


def _of_specs() -> str:
    from homespec.schema.editor_schema import schema_text

    return schema_text()


def _of_doctor() -> str:
    from homespec.health.as_json import json_schema

    return json.dumps(json_schema(), indent=2) + "\n"


def _check(file: Path, text: str, doctor: bool) -> int:
    if holds(file, text):
        click.echo(f"{file} is fresh", err=True)
        return OK
    state = "is stale" if file.is_file() else "is missing"
    command = "homespec schema --doctor" if doctor else "homespec schema"
    click.echo(f"{file} {state}\n  help: run `{command} -o {file}`")
    return FINDINGS
