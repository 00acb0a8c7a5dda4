"""Command line: finds and checks the spec files that the arguments name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

import click

from homespec.diagnostics import Diagnostic, Report
from homespec.source import Document, check_flag, compose, read, read_stream

SUFFIXES = (".yaml", ".yml")
STDIN = "<stdin>"


def check(documents: Iterable[Document]) -> Report:
    """The report on documents: what the stages say about them, less what they ignore."""
    from homespec.compiler import validate_document

    found: list[Diagnostic] = []
    texts: dict[str, str] = {}
    for document in documents:
        found += validate_document(document)
        texts |= document.texts
    return Report.of(found, texts)


def _checked_flags(
    _context: click.Context, _option: click.Parameter, flags: tuple[str, ...]
) -> tuple[str, ...]:
    try:
        return tuple(map(check_flag, flags))
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


set_option = click.option(
    "--set",
    "flags",
    multiple=True,
    metavar="PATH=VALUE",
    callback=_checked_flags,
    help="Change a value of the spec, such as gates.self=false. May be repeated.",
)


def documents(paths: Iterable[str], flags: tuple[str, ...] = ()) -> Iterator[Document]:
    """The documents of files, of `-` and of all specs in folders; each file once.

    They are composed of what they extend and of `--set` flags.
    """
    files = [file for path in paths for file in _files(path)]
    for path in dict.fromkeys(files):
        document = read_stream(sys.stdin.buffer, STDIN) if path == "-" else read(path)
        yield compose(document, flags)


def _files(path: str) -> Iterator[str]:
    if path == "-" or not os.path.isdir(path):  # noqa: PTH112  # paths stay as they were given
        yield path
        return
    try:
        files = sorted(os.path.normpath(file) for file in specs_in(path))
    except OSError as error:
        raise click.UsageError(f"Cannot list `{error.filename}`: {error.strerror}.") from None
    if not files:
        raise click.UsageError(f"There is no *.yaml or *.yml file in the folder `{path}`.")
    yield from files


def specs_in(folder: str) -> Iterator[str]:
    """The spec files below a folder, but none in hidden folders or behind symbolic links.

    A link could lead out of a pull request to files that are nobody's business. Names that begin
    with `_` are those of bases, which need not be complete.
    """
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    folders.append(entry.path)
                elif _is_spec(entry.name) and entry.is_file(follow_symlinks=False):
                    yield entry.path


def _is_spec(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith("_")
