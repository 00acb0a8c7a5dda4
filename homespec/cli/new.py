"""Command line: `homespec new`, which writes a first spec to start from."""

from __future__ import annotations

from pathlib import Path

import click

from homespec.atomic_write import holds, write_texts
from homespec.cli.exit_codes import OK
from homespec.cli.schema import DEFAULT as SCHEMA

STARTER = """\
# yaml-language-server: $schema=../schemas/homespec-v1.schema.json
homespec: 1
name: {name}

# What the model reads. Each feature is one of id, bucketize, number, dense, table and sequence.
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


@click.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Overwrite a spec that is there.")
def new(name: str, force: bool) -> int:
    """Write specs/NAME.yaml, a small commented spec that validates as it is.

    Its first line leads editors to schemas/homespec-v1.schema.json, with which they complete and
    check it. That file is written, too, unless it is there.
    """
    from homespec.schema.editor_schema import schema_text
    from homespec.schema.identifiers import MODULES, is_identifier, is_reserved

    if not is_identifier(name):
        raise click.UsageError(
            f"`{name}` is no name: use letters, digits and `_`, begin with a letter, and no "
            "word of Python such as `class`."
        )
    if is_reserved(name) or name in MODULES:
        raise click.UsageError(f"`{name}` means something else already: choose another name.")
    path = Path("specs") / f"{name}.yaml"
    if path.exists() and not force:
        raise click.ClickException(f"{path} is there already; --force overwrites it")
    texts = {path: STARTER.format(name=name)}
    if not SCHEMA.exists():
        texts[SCHEMA] = schema_text()
    elif not holds(SCHEMA, schema_text()):
        click.echo(f"{SCHEMA} is stale: `homespec schema -o {SCHEMA}`", err=True)
    try:
        write_texts(texts)
    except OSError as error:
        names = " and ".join(map(str, texts))
        raise click.ClickException(f"cannot write {names}: {error.strerror}") from None
    also = f", and {SCHEMA}, with which your editor completes it" if SCHEMA in texts else ""
    click.echo(
        f"wrote {path}{also}. Next:\n"
        f"  homespec validate {path}\n"
        f"  homespec show {path}\n"
        f"  homespec compile {path}"
    )
    return OK
