"""Command line: `homespec new`, which writes a first spec to start from."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from homespec.atomic_write import holds, write_texts
from homespec.cli.exit_codes import OK
from homespec.cli.new_from import ROWS, Asked, drafted
from homespec.cli.schema import DEFAULT as SCHEMA

STARTER = """\
# yaml-language-server: $schema=../schemas/homespec-v1.schema.json
homespec: 1
name: {name}

# The inputs of the model. Each is one of id, bucketize, number, dense, table, cross and sequence.
features:
  user_id:     {{id: {{buckets: 100000}}, dim: 16}}             # any id, hashed
  video_id:    {{id: {{buckets: 100000}}, dim: 16}}
  tab:         {{id: {{vocab: 15}}, dim: 4}}                    # ids 0 to 14
  duration_ms: {{bucketize: [5000, 10000, 20000, 60000], dim: 4}}
  # asr:       {{dense: 128}}                                 # a vector as it is

# Tasks that behave alike share a group; a group may list groups as members.
groups:
  watch: [click, long_view]
  interaction: [like, follow]

# What the model predicts: a 0/1 column, or a comparison such as play_time_ms >= duration_ms.
# `rate` is the expected share of positives.
tasks:
  click:     {{label: is_click, rate: 0.45}}
  long_view: {{rate: 0.3}}
  like:      {{label: is_like, rate: 0.02}}
  follow:    {{label: is_follow, rate: 0.005}}

# Everything below is optional: `homespec show --expanded` prints every default.
experts:
  hidden: [128]
  width: 64
  meta: {{shared: 2, group: 2}}
  task: {{shared: 2, group: 2, task: 1}}
towers: {{hidden: [32]}}
"""


PATHS = click.Path(path_type=Path)


@click.command()
@click.argument("name")
@click.option(
    "--from",
    "data",
    multiple=True,
    type=PATHS,
    metavar="PATH",
    help="Write the spec for the columns of these files (parquet, csv, csv.gz or folders of them),"
    " or of a folder that holds `train` and `valid`. May be repeated.",
)
@click.option(
    "--valid",
    multiple=True,
    type=PATHS,
    help="Held-out rows, for the commands to run next. May be repeated.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="LABEL",
    help="What to predict: a column, or a test such as 'rating >= 4'. May be repeated.  [default:"
    " columns that look like labels]",
)
@click.option(
    "--rows",
    type=click.IntRange(1),
    default=ROWS,
    show_default=True,
    help="Rows of the sample that is looked at, evenly spread over the files.",
)
@click.option(
    "--split",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Also write the rows as train.parquet and valid.parquet: the latest tenth is held out, or"
    " a random tenth where there is no time.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing spec and split.")
def new(
    name: str,
    data: tuple[Path, ...],
    valid: tuple[Path, ...],
    labels: tuple[str, ...],
    rows: int,
    split: Path | None,
    force: bool,
) -> int:
    """Write specs/NAME.yaml, a small commented spec that validates as it is.

    With --from it is a spec for your own table: inputs, labels and groups of tasks are proposed
    from a sample of the rows, each with the numbers that support it, and skipped columns with the
    reason.

    Its first line points editors to schemas/homespec-v1.schema.json, which they use for completion
    and checks. That file is written as well, unless it exists.
    """
    _check_name(name)
    path = Path("specs") / f"{name}.yaml"
    if not data and (valid or labels or split):
        raise click.UsageError("--valid, --label and --split have no effect without --from.")
    if path.exists() and not force:
        raise click.ClickException(f"{path} already exists; --force overwrites it")
    if not data:
        also = _write(path, STARTER.format(name=name))
        steps = [f"homespec {verb} {path}" for verb in ("validate", "show", "compile")]
        _say(f"wrote {path}{also}. Next:", steps)
        return OK
    gc.enable()
    draft = drafted(name, path, Asked(data, valid, labels, rows, split, force))
    also = _write(path, draft.text)
    click.echo(draft.said)
    _say(f"wrote {path}{also}. Read its comments, then:", draft.steps)
    return OK


def _check_name(name: str) -> None:
    from homespec.schema.identifiers import MODULES, is_identifier, is_reserved

    if not is_identifier(name):
        raise click.UsageError(
            f"`{name}` is not a valid name: use letters, digits and `_`, begin with a letter, "
            "and avoid Python keywords such as `class`."
        )
    if is_reserved(name) or name in MODULES:
        raise click.UsageError(f"`{name}` is already taken: choose another name.")


def _write(path: Path, text: str) -> str:
    """Write a spec, and the JSON Schema unless it exists; return what to say about the schema."""
    from homespec.schema.editor_schema import schema_text

    texts = {path: text}
    if not SCHEMA.exists():
        texts[SCHEMA] = schema_text()
    elif not holds(SCHEMA, schema_text()):
        click.echo(f"{SCHEMA} is stale: `homespec schema -o {SCHEMA}`", err=True)
    try:
        write_texts(texts)
    except OSError as error:
        names = " and ".join(map(str, texts))
        raise click.ClickException(f"cannot write {names}: {error.strerror}") from None
    return f" and {SCHEMA}, which gives your editor completion" if SCHEMA in texts else ""


def _say(first: str, steps: list[str]) -> None:
    click.echo("\n".join([first, *(f"  {step}" for step in steps)]))
