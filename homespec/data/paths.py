"""Data: finds the files that can be read, at given paths and in folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from homespec.data import DataError

KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""One path or several, as the Python interface takes them."""


def paths_of(paths: Paths) -> tuple[Path, ...]:
    """The paths given."""
    return (Path(paths),) if isinstance(paths, str | os.PathLike) else tuple(map(Path, paths))


@contextmanager
def reachable() -> Iterator[None]:
    """Report errors of the file system as one line about the path."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror})") from None


def checked(path: Path) -> Path:
    """The path of a file or a link to one. Nothing is opened.

    Raises DataError for a path that is not a regular file: opening a FIFO waits for a writer, and a
    device may never end. Data is read more than once, so neither could serve.
    """
    if not path.exists():
        what = "is a link to a file that does not exist" if path.is_symlink() else "does not exist"
        raise DataError(f"{path} {what}")
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        what = KINDS.get(kind, "something else")
        raise DataError(f"{path} is {what}, not a file: write its content into one")
    return path


def walked(
    folder: Path, wanted: Callable[[Path], bool], seen: set[Path], left_out: list[Path]
) -> Iterator[Path]:
    """The wanted files of a folder and its subfolders, in the order of names.

    Names that begin with `.` or `_` are skipped: `left_out` receives wanted files with such a name,
    and folders that contain some. Links are followed. A file that has two names counts once, under
    the first (`seen` has those already visited). Raises DataError.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            if any(map(wanted, path.rglob("*"))) if path.is_dir() else wanted(path):
                left_out.append(path)
            continue
        if not (path.is_dir() or wanted(path)):
            continue
        real = (path if path.is_dir() else checked(path)).resolve()
        if real in seen:
            continue
        seen.add(real)
        if path.is_dir():
            yield from walked(path, wanted, seen, left_out)
        else:
            yield path
