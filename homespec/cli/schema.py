"""Command line: `homespec schema`, the JSON Schema that editors complete and check specs with."""

from __future__ import annotations

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
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file."
)
def schema(check: bool, output: Path | None) -> int:
    """Print the JSON Schema of the language, generated from the compiler's own models.

    The first line of a spec tells an editor where it is, seen from the folder of the spec:

      # yaml-language-server: $schema=../schemas/homespec-v1.schema.json
    """
    from homespec.schema.editor_schema import schema_text

    text = schema_text()
    if check:
        return _check(output or DEFAULT, text)
    if output is None:
        click.echo(text, nl=False)
        return OK
    try:
        if not _replaceable(output):
            raise click.ClickException(
                f"{output} is not a JSON Schema: give another file, or remove it first"
            )
        written = write_texts({output: text})
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from None
    click.echo(f"{'wrote' if written else 'fresh'} {output}")
    return OK


def _replaceable(file: Path) -> bool:
    """Whether there is no file, an empty one, or an older schema: a spec is not lost to a slip."""
    if not file.is_file():
        return True
    with file.open("rb") as opened:
        start = opened.read(200)
    return not start.strip() or b'"$schema"' in start


def _check(file: Path, text: str) -> int:
    if holds(file, text):
        click.echo(f"{file} is fresh", err=True)
        return OK
    state = "is stale" if file.is_file() else "is missing"
    click.echo(f"{file} {state}\n  help: run `homespec schema -o {file}`")
    return FINDINGS
