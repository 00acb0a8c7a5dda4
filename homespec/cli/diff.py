"""Command line: `homespec diff`, the effects of a change of a spec."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from homespec.cli.exit_codes import FINDINGS, OK
from homespec.cli.reporting import has_color, print_report
from homespec.cli.spec_files import find
from homespec.cli.specs import check_documents, documents
from homespec.diagnostics import Diagnostic, Report, Severity
from homespec.diagnostics.render import FORMATS, automatic
from homespec.diff.breaks import Breaks
from homespec.variant import split_names

if TYPE_CHECKING:
    from homespec.compiler import Analysis
    from homespec.source import Document


class Versions(NamedTuple):
    """The documents of one spec; None if there is no such file."""

    old: Document | None
    new: Document | None


def _checked_breaks(
    _context: click.Context, _option: click.Parameter, text: str
) -> frozenset[Breaks]:
    names = split_names([text])
    for name in names:
        if name not in list(Breaks):
            raise click.BadParameter(f"`{name}` is not one of {', '.join(Breaks)}.")
    return frozenset(map(Breaks, names))


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="OLD NEW | SPEC --against REF")
@click.option("--against", metavar="REF", help="Compare with a commit, such as origin/main.")
@click.option(
    "--fail-on",
    metavar="CLASSES",
    default="",
    callback=_checked_breaks,
    help=f"Exit with 1 if there are changes of these classes, such as checkpoint,interface: "
    f"{', '.join(Breaks)}.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice([*FORMATS, "markdown", "auto"]),
    default="auto",
    show_default=True,
    help="Output format; auto means github in GitHub Actions and full elsewhere.",
)
def diff(
    paths: tuple[str, ...], against: str | None, fail_on: frozenset[Breaks], output_format: str
) -> int:
    """Show what the change from one spec to another means for a trained model.

    OLD and NEW are specs, or folders whose specs are compared by name; - is stdin. With --against,
    SPEC is compared with its own version in a commit, without checking it out.

    Each change breaks the interface, checkpoints, numerics, training, a promise, or nothing. The
    summary shows which tasks keep their logits once `homespec migrate` has carried the weights
    over, and how many weights it can keep. The exit code is 1 for changes that --fail-on names, and
    if a spec has errors.
    """
    from homespec.diff.compare import compare
    from homespec.diff.files import spec_added, spec_mended, spec_removed
    from homespec.diff.render import Changes, render

    versions = list(_against(paths, against) if against is not None else _two(paths))
    may_be_unsound = against is not None or os.path.isdir(paths[0])
    analyses, errors = _analyses([v.new for v in versions if v.new])
    old, old_errors = _analyses([v.old for v in versions if v.old and v.new])
    report = errors if may_be_unsound else errors.merged(old_errors)
    if report.has_errors:
        print_report(report, "full" if output_format == "markdown" else output_format, err=True)
        return FINDINGS
    comparisons, more = [], []
    for v in versions:
        if v.old is None:
            more += spec_added(v.new) if v.new else []
        elif v.new is None:
            more += [_here(diagnostic, against) for diagnostic in spec_removed(v.old)]
        elif v.old.file in old:
            comparisons.append(compare(old[v.old.file], analyses[v.new.file]))
        else:
            more += spec_mended(v.new)
    changes = Changes(tuple(comparisons), fail_on, tuple(more))
    chosen = automatic() if output_format == "auto" else output_format
    color = has_color()
    click.echo(render(changes, chosen, color), nl=False, color=color)
    if not changes.diagnostics:
        number = len(comparisons)
        click.echo(f"{number} {'spec' if number == 1 else 'specs'} compared, no change", err=True)
    return FINDINGS if changes.fails else OK


def _two(paths: tuple[str, ...]) -> Iterator[Versions]:
    """Two specs, or those of two folders, matched by their path."""
    if len(paths) != 2:
        raise click.UsageError("Give two specs or folders, or one with --against.")
    if len(set(map(os.path.isdir, paths))) > 1:
        raise click.UsageError("Give two specs or two folders, not one of each.")
    if paths == ("-", "-"):
        raise click.UsageError("stdin holds one spec: name the other one.")
    old, new = (_by_name(path) for path in paths)
    if len(old) == len(new) == 1 and not any(map(os.path.isdir, paths)):
        yield Versions(*old.values(), *new.values())
        return
    for name in sorted({*old, *new}):
        yield Versions(old.get(name), new.get(name))


def _by_name(path: str) -> dict[str, Document]:
    specs = find([path])
    is_folder = os.path.isdir(path)
    return {
        os.path.relpath(document.file, path) if is_folder else document.file: document
        for document in documents(specs)
    }


def _against(paths: tuple[str, ...], ref: str) -> Iterator[Versions]:
    """The specs of the working tree, with their versions in the commit."""
    from homespec.source.commit import REGULAR, CommitError, commit

    if len(paths) != 1 or paths[0] == "-":
        raise click.UsageError("With --against, give one spec or one folder.")
    path = paths[0]
    try:
        before = commit(ref, path)
        is_folder = os.path.isdir(path)
        there = before.files(path)
        known = set()
        if is_folder or os.path.lexists(path):
            for document in documents(find([path])):
                known.add(before.inside(document.file))
                old = (
                    before.read_spec(document.file)
                    if before.inside(document.file) in there
                    else None
                )
                yield Versions(old, document)
        for name, mode in there.items():
            if name not in known and mode in REGULAR and _is_found(name, before.inside(path)):
                here = os.path.relpath(os.path.join(before.root, name))
                yield Versions(before.read_spec(here), None)
        if not there and not known:
            raise CommitError(f"`{path}` is neither in the working tree nor in commit {ref}")
    except CommitError as error:
        raise click.UsageError(f"{error}.") from None


def _is_found(name: str, folder: str) -> bool:
    """Whether a file of a commit would be found as a spec in its folder."""
    from homespec.source.roots import is_yaml

    folders = () if name == folder else Path(os.path.relpath(name, folder)).parts[:-1]
    is_hidden = any(part.startswith(".") for part in folders)
    is_base = Path(name).name.startswith("_")
    return is_yaml(name) and not is_base and not is_hidden


def _analyses(specs: list[Document]) -> tuple[dict[str, Analysis], Report]:
    """The sound specs by file, and the errors of the others."""
    checked = check_documents(specs)
    errors = (d for d in checked.report.diagnostics if d.rule.severity is Severity.ERROR)
    return checked.analyses, replace(checked.report, diagnostics=tuple(errors))


def _here(diagnostic: Diagnostic, ref: str | None) -> Diagnostic:
    """A diagnostic of a file of a commit under the file's name, as annotations require."""
    file = diagnostic.span.file.removesuffix(f"@{ref}")
    return replace(diagnostic, span=replace(diagnostic.span, file=file))
