"""Stage 1, source: the location of a spec, and the folders from which bases may be read.

Specs may come from strangers, and messages show lines of the files that were read. So a spec can
only read files below its root, whatever paths or links it uses.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

VARIABLE = "HOMESPEC_ROOT"
"""An environment variable with further folders, in the format of PATH."""
SPECS = "specs"
SUFFIXES = (".yaml", ".yml")


def is_yaml(name: str) -> bool:
    """Whether a name is that of a YAML file; case does not matter."""
    return name.lower().endswith(SUFFIXES)


def located(file: str) -> str:
    """The absolute path of a file, with links not resolved.

    `link/..` is the parent of the link's target, as when the file is opened.
    """
    at = "/" if os.path.isabs(file) else here()
    for part in file.split("/"):
        if part == "..":
            at = os.path.dirname(os.path.realpath(at) if os.path.islink(at) else at)
        elif part not in ("", "."):
            at = os.path.join(at, part)
    return at


def real(file: str) -> str:
    """The absolute path of a file, with links resolved."""
    path = located(file)
    return path if "\0" in path else os.path.realpath(path)


def here() -> str:
    """The working directory, or the root of the file system if it has been removed."""
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
    """The folders, with links resolved, that may contain the bases of a spec.

    These are the spec's repository or, without one, the folder `specs` that contains it, or else
    its own folder; and also `folders` and those that the environment names.
    """
    path, target = located(file), real(file)
    root = repository(path) or repository(target) or specs_folder(target) or Path(target).parent
    named = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    return tuple(real(str(folder)) for folder in (root, *folders, *named))


def is_below(path: str, roots: Iterable[str]) -> bool:
    """Whether a resolved path is one of the folders or inside one."""
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def leads_out(file: str, folders: Iterable[str] = ()) -> bool:
    """Whether a file or folder is a link out of its repository, or below one."""
    return repository(located(file)) is not None and not is_below(
        real(file), roots_of(file, folders)
    )


def base_of(file: str, name: str, roots: tuple[str, ...]) -> str | None:
    """The resolved path of a base; None if it is outside of `roots`.

    It is relative to the spec itself, not to a link to it. Nothing outside is accessed, so the
    result does not reveal which files exist.
    """
    at = os.path.dirname(real(file))
    for part in _parts(name):
        if part == "..":
            at = os.path.dirname(at)
        elif is_below(at, roots):
            at = os.path.realpath(os.path.join(at, part))
            if not is_below(at, roots):
                return None
        else:  # on the way to another of the folders
            at = os.path.join(at, part)
    return at if is_below(at, roots) else None


def _parts(name: str) -> Iterator[str]:
    return (part for part in name.split("/") if part not in ("", "."))


def shown_base(file: str, name: str, place: str) -> str:
    """The name of a base in messages: relative to the spec or, with links, to the working
    folder."""
    plain = os.path.normpath(os.path.join(os.path.dirname(file), name))
    return plain if real(plain) == place else from_here(place)


def from_here(path: str) -> str:
    """An absolute path, relative to the working directory if possible."""
    try:
        return os.path.relpath(path)
    except FileNotFoundError:  # there is no working directory
        return path
