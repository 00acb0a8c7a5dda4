"""Stage 1, source: where a spec is, and the folders that it and its bases may be read from.

Specs come from strangers, and a message shows lines of what was read. So a spec reads nothing but
files below its root, by whatever path or link it names them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

VARIABLE = "HOMESPEC_ROOT"
"""The environment may name more folders, as PATH does."""
SPECS = "specs"
SUFFIXES = (".yaml", ".yml")


def is_yaml(name: str) -> bool:
    """Whether a name is that of a YAML file, in capitals or not."""
    return name.lower().endswith(SUFFIXES)


def located(file: str) -> str:
    """The absolute path of a file; links in it stay what they pass for.

    `link/..` is the folder above the one that the link leads to, as when the file is opened.
    """
    at = "/" if os.path.isabs(file) else here()
    for part in file.split("/"):
        if part == "..":
            at = os.path.dirname(os.path.realpath(at) if os.path.islink(at) else at)
        elif part not in ("", "."):
            at = os.path.join(at, part)
    return at


def real(file: str) -> str:
    """The absolute path of a file without links."""
    path = located(file)
    return path if "\0" in path else os.path.realpath(path)


def here() -> str:
    """The working directory; the root of the file system where it has been removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def repository(path: str) -> str | None:
    """The nearest folder above an absolute path that is the root of a git repository."""
    roots = (str(p) for p in Path(path).parents if os.path.lexists(p / ".git"))
    return next(roots, None)


def specs_folder(path: str) -> Path | None:
    """The nearest folder `specs` above an absolute path, inside its repository if it has one."""
    folder = next((p for p in Path(path).parents if p.name == SPECS), None)
    if folder is None or repository(str(folder)) or not repository(path):
        return folder
    return None


def roots_of(file: str, folders: Iterable[str] = ()) -> tuple[str, ...]:
    """The folders, without links, that the bases of a spec may be in.

    That is the spec's repository; where it has none, the folder `specs` that it is in, or else its
    own folder. So are `folders` that the caller gives, and those that the environment names.
    """
    path, target = located(file), real(file)
    root = repository(path) or repository(target) or specs_folder(target) or Path(target).parent
    named = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    return tuple(real(str(folder)) for folder in (root, *folders, *named))


def is_below(path: str, roots: Iterable[str]) -> bool:
    """Whether a path without links is one of the folders or in one."""
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def leads_out(file: str, folders: Iterable[str] = ()) -> bool:
    """Whether a file or folder is a link, or below one, that leads out of its repository."""
    return repository(located(file)) is not None and not is_below(
        real(file), roots_of(file, folders)
    )


def base_of(file: str, name: str, roots: tuple[str, ...]) -> str | None:
    """The path, without links, of what a spec extends; None if it leads out of `roots`.

    It is found from where the spec itself is, not from where a link to it is. Nothing outside is
    looked at, so the answer does not depend on existing files.
    """
    at = os.path.dirname(real(file))
    for part in _parts(name):
        if part == "..":
            at = os.path.dirname(at)
        elif is_below(at, roots):
            at = os.path.realpath(os.path.join(at, part))
            if not is_below(at, roots):
                return None
        else:  # on its way up and down to another of the folders
            at = os.path.join(at, part)
    return at if is_below(at, roots) else None


def _parts(name: str) -> Iterator[str]:
    return (part for part in name.split("/") if part not in ("", "."))


def shown_base(file: str, name: str, place: str) -> str:
    """How messages name a base: by its way from the spec, or where links are on it, from here."""
    plain = os.path.normpath(os.path.join(os.path.dirname(file), name))
    return plain if real(plain) == place else from_here(place)


def from_here(path: str) -> str:
    """An absolute path as it is named from the working directory."""
    try:
        return os.path.relpath(path)
    except FileNotFoundError:  # there is no working directory
        return path
