"""Command line: `homespec compile`, which writes the generated files of specs atomically."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from homespec.atomic_write import write_texts
from homespec.cli.exit_codes import FINDINGS, OK
from homespec.cli.reporting import has_color
from homespec.cli.specs import STDIN, analyses, set_option
from homespec.cli.variant_options import Watch, variant_of, variant_options
from homespec.compiler import Analysis, generate
from homespec.diagnostics.render.terminal import named, printable
from homespec.generated_files import Output, State, orphans, target_of, twins
from homespec.source.roots import here, located
from homespec.variant import UnknownNameError, Variant

REMEDIES = {
    State.MISSING: "run `homespec compile {spec}`",
    State.STALE: "run `homespec compile {spec}`",
    State.OTHER_VERSION: "run `homespec compile {spec}`",
    State.EDITED: "put the change into the spec and run `homespec compile {spec}`, which "
    "overwrites the file",
    State.FOREIGN: "move it away: homespec overwrites only its own files",
    State.LINK: "remove it: homespec does not write through links",
    State.ORPHAN: "delete it, or restore its spec",
}


@click.command(name="compile")
@click.argument("paths", nargs=-1, required=True, metavar="SPEC…")
@set_option
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file is not fresh.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
@click.option("--stdout", is_flag=True, help="Print the code instead of writing it.")
@click.option(
    "--no-optimize",
    is_flag=True,
    help="Write the readable twin, x_plain.py, with one module for each expert.",
)
@variant_options
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the generated files. Default: `generated` next to `specs`.",
)
def compile(  # noqa: A001
    paths: tuple[str, ...],
    overrides: tuple[str, ...],
    check: bool,
    diff: bool,
    stdout: bool,
    output: Path | None,
    print_after: str | None,
    time_passes: bool,
    **asked: Any,
) -> int:
    """Compile the specs in SPEC…: files, folders (all *.yaml and *.yml below) or - for stdin.

    `specs/x.yaml` becomes `generated/x.py`. With --mode inference it becomes
    `generated/x_inference.py`, with --tasks `generated/x_pruned.py` (with both,
    `x_inference_pruned.py`), with --user-features `generated/x_inference_user.py`, and with
    --target cuda `generated/x_cuda.py`. If any spec has an error, nothing is written.
    """
    if check + diff + stdout > 1:
        raise click.UsageError("--check, --diff and --stdout are mutually exclusive.")
    if output and output.suffix == ".py" and not output.exists():
        raise click.UsageError(f"-o takes a folder, not a file: give `-o {output.parent}`.")
    variant = variant_of(**asked)
    sound = analyses(paths, overrides)
    if sound is None:
        return FINDINGS
    quiet = stdout or print_after is not None
    if not quiet and any(a.document.file == STDIN for a in sound):
        raise click.UsageError("A spec from stdin has no file name: add --stdout.")
    watch = Watch(print_after, time_passes)
    try:
        texts = _texts(sound, variant, watch)
        if quiet:
            for _, text in texts:
                click.echo(text if print_after is None else "", nl=False)
            return OK
        outputs = dict(_outputs(texts, output, variant, beside=check or diff))
        if diff:
            return _show_diff(outputs)
        return _check(outputs) if check else _write(outputs)
    except OSError as error:
        file = error.filename2 or error.filename
        raise click.ClickException(printable(f"cannot use {file}: {error.strerror}")) from None
    except ValueError as error:
        raise click.UsageError(printable(f"{error}.")) from None


def _texts(sound: list[Analysis], variant: Variant, watch: Watch) -> Iterator[tuple[Analysis, str]]:
    """Each spec with its code. Raises ValueError for an unknown task or pass."""
    for analysis in sound:
        file = analysis.document.file
        try:
            text = generate(analysis, variant, watch)
            watch.done(file)
        except UnknownNameError as error:
            raise ValueError(f"{file}: {error}") from None
        yield analysis, text


def _outputs(
    texts: Iterable[tuple[Analysis, str]], folder: Path | None, variant: Variant, beside: bool
) -> Iterator[tuple[str, Output]]:
    """Each spec's path and flags, and its generated file; with `beside`, also existing variants.

    Raises ValueError if a file name cannot be imported, or two specs would have the same file.
    """
    owners: dict[Path, str] = {}
    for analysis, text in texts:
        file = analysis.document.file
        path = target_of(file, folder, variant.suffix)
        outputs = [("".join(f" {flag}" for flag in variant.flags), Output(path, text))]
        if beside and not variant.suffix:
            outputs += twins(analysis, folder)
        for flags, output in outputs:
            other = owners.setdefault(output.path.resolve(), file)
            if other != file:
                raise ValueError(f"{other} and {file} would both become {output.path}")
            sets = "".join(f" --set {shlex.quote(o)}" for o in analysis.document.overrides)
            yield shlex.quote(file) + flags + sets, output


def _check(outputs: dict[str, Output]) -> int:
    """Report every file that is not fresh, and files whose specs no longer exist."""
    findings = [(o.path, o.state, spec) for spec, o in outputs.items()]
    findings = [finding for finding in findings if finding[1] is not State.FRESH]
    checked = {o.path for o in outputs.values()}
    lost = [path for path in orphans(p.parent for p in checked) if path not in checked]
    findings += [(path, State.ORPHAN, "") for path in lost]
    for path, state, spec in findings:
        click.echo(
            f"{_shown(path)} {state}\n  help: {printable(REMEDIES[state].format(spec=spec))}"
        )
    if not findings:
        click.echo(f"{_count(len(outputs))} fresh", err=True)
    return FINDINGS if findings else OK


def _write(outputs: dict[str, Output]) -> int:
    for output in outputs.values():
        if output.state in (State.FOREIGN, State.LINK):
            raise click.ClickException(
                f"{_shown(output.path)} {output.state}; {REMEDIES[output.state]}."
                " Nothing was written."
            )
    written = set(write_texts({o.path: o.text for o in outputs.values()}))
    for output in outputs.values():
        verb = "wrote" if output.path in written else "fresh"
        click.echo(f"{verb} {_shown(output.path)}")
    return OK


def _show_diff(outputs: dict[str, Output]) -> int:
    """Print what compiling would change."""
    lines: list[str] = []
    for output in outputs.values():
        name = _shown(output.path)
        old = _text_there(output)
        lines += difflib.unified_diff(
            old.splitlines(keepends=True),
            output.text.splitlines(keepends=True),
            f"{name} (now)",
            f"{name} (compiled)",
        )
    for line in lines:
        click.secho(line, fg=_color(line), nl=not line.endswith("\n"), color=has_color())
    return FINDINGS if lines else OK


def _text_there(output: Output) -> str:
    """The text of the generated file; empty for a link, whose target may be a secret."""
    if not output.path.is_file() or output.state is State.LINK:
        return ""
    return output.path.read_text("utf-8", "replace")


def _color(line: str) -> str | None:
    if line.startswith(("+++", "---")):
        return None
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[0])


def _shown(path: Path) -> str:
    """The shortest form of a path from the working directory, on one line."""
    try:
        return named(Path(located(str(path))).relative_to(here()).as_posix())
    except ValueError:
        return named(path.as_posix())


def _count(files: int) -> str:
    return f"{files} {'file' if files == 1 else 'files'}"
