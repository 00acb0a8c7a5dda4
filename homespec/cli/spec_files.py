"""Command line: finds the specs in folders, and names the paths that it skips."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import click

from homespec.diagnostics import Skipped
from homespec.diagnostics.render.terminal import printable
from homespec.source.roots import is_below, is_yaml, leads_out, real, roots_of

OUT = "a link that leads out of the project"
TO_FOLDER = "a link to a folder"
TO_NOTHING = "a link to nothing"
HIDDEN = "a hidden folder"
BASE = "a base, which no spec here extends"
GIT = ".git"
"""The only hidden folder that never contains specs."""


@dataclass(slots=True)
class SpecFiles:
    """The files that arguments name, spelled as given; the skipped paths; the given folders."""

    files: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)
    """Files whose names begin with `_`."""
    folders: tuple[str, ...] = ()

    def not_checked(self, used: Iterable[str]) -> tuple[Skipped, ...]:
        """The skipped paths in order. Bases count unless they are among those `used`."""
        seen = {real(file) for file in used}
        alone = [Skipped(f, BASE) for f in self.bases if real(f) not in seen]
        return tuple(sorted(set(self.skipped + alone)))


def find(paths: Iterable[str]) -> SpecFiles:
    """Files and `-` as they are, and all specs below folders; each file once.

    Raises UsageError for a folder that has no specs or cannot be listed.
    """
    asked = tuple(paths)
    # paths stay as they were given
    folders = tuple(p for p in asked if p != "-" and os.path.isdir(p) and not leads_out(p))
    result = SpecFiles(folders=folders)
    files: list[str] = []
    for path in asked:
        files += _below(path, result) if path in folders else [path]
    result.files = list(dict.fromkeys(files))
    return result


def _below(folder: str, result: SpecFiles) -> list[str]:
    try:
        entries = sorted(_entries(_tidy(folder)), key=lambda entry: entry.path)
    except OSError as error:
        name = printable(str(error.filename))
        raise click.UsageError(f"Cannot list `{name}`: {error.strerror}.") from None
    plain: list[str] = []
    links: list[str] = []
    for entry in entries:
        path = entry.path.removeprefix("./")
        if entry.is_dir(follow_symlinks=False):
            result.skipped.append(Skipped(path, HIDDEN))
        elif is_yaml(entry.name) and entry.name.startswith("_"):
            result.bases.append(path)
        else:
            (links if entry.is_symlink() else plain).append(path)
    files = sorted([*plain, *_leading_to_specs(links, plain, folder, result)])
    if not files:
        left_out = result.not_checked(())
        more = f"; not checked: {', '.join(map(str, left_out))}" if left_out else ""
        raise click.UsageError(
            printable(f"The folder `{folder}` contains no *.yaml or *.yml file{more}.")
        )
    return files


def _tidy(folder: str) -> str:
    """`./a/../b/` as `b`, unless a link makes that another folder."""
    plain = os.path.normpath(folder)
    return plain if real(plain) == real(folder) else folder


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """YAML files, links, and hidden folders, which are not entered."""
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith("."):
                        folders.append(entry.path)
                    elif entry.name != GIT:
                        yield entry
                elif is_yaml(entry.name) or entry.is_symlink():
                    yield entry


def _leading_to_specs(
    links: list[str], plain: list[str], folder: str, result: SpecFiles
) -> Iterator[str]:
    """Links to files of the project that are not checked under another name.

    In a pull request, a link could lead to private files. Nothing outside is read.
    """
    roots = roots_of(os.path.join(folder, "spec"), result.folders)
    checked = {real(path) for path in plain}
    for link in links:
        target = real(link)
        if not is_below(target, roots):
            result.skipped.append(Skipped(link, OUT))
        elif os.path.isdir(target):
            result.skipped.append(Skipped(link, TO_FOLDER))
        elif not is_yaml(link):
            continue
        elif not os.path.lexists(target):
            result.skipped.append(Skipped(link, TO_NOTHING))
        elif target not in checked:
            checked.add(target)
            yield link
