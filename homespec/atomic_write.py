"""Writes files atomically, and never through a link that somebody else may have created.

A file is first written to a temporary folder beside its destination. The folder has a random name,
and only this user can enter it, so other users cannot predict or take over the path. The
destination is then replaced, not opened: a link becomes a file, and its target stays as it is.
Folders that are links are followed.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

PREFIX = ".homespec-"
"""Prefix of the names of temporary folders."""

STREAMS = ("/dev/", "/proc/")
"""Paths below these are written to, not replaced: /dev/stdout, /dev/null."""


@contextmanager
def replacing(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Temporary paths with the names of `paths`, which replace them if the block succeeds.

    After an error, no temporary files are left, and existing files stay as they were. An existing
    file keeps its permissions; a new one gets those of the umask.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory", str(path))
        if path.exists() and not path.is_file():  # it would vanish for all programs
            raise OSError(22, "Not a regular file", str(path))
    folders: dict[Path, Path] = {}
    try:
        for path in paths:
            if path.parent not in folders:
                folders[path.parent] = _private_folder(path.parent)
        temporary = tuple(folders[path.parent] / path.name for path in paths)
        yield temporary
        for source, target in zip(temporary, paths, strict=True):
            source.chmod(_mode_for(target, source.parent))  # some writers create private files
            sync(source)
        for source, target in zip(temporary, paths, strict=True):
            source.replace(target)
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def _private_folder(parent: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:  # name the folder that the user knows
        raise OSError(error.errno, error.strerror, str(parent)) from None


def _mode_for(target: Path, folder: Path) -> int:
    """The permissions of the existing file, else those of a new file in `folder`."""
    try:
        there = target.lstat().st_mode
    except FileNotFoundError:
        there = 0
    if stat.S_ISREG(there):
        return stat.S_IMODE(there) & 0o777
    probe = folder / f"{PREFIX}mode"
    probe.touch()
    return stat.S_IMODE(probe.stat().st_mode)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's entries, are on disk: a crash then leaves them whole."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_texts(texts: dict[Path, str]) -> list[Path]:
    """Write all texts whose files differ, or none of them. Returns the files written.

    A device or a pipe, such as /dev/stdout, is written to directly. Errors name the requested file.
    """
    changed = {path: text for path, text in texts.items() if not holds(path, text)}
    files = [path for path in changed if not _is_stream(path)]
    with replacing(*files) as temporary:
        for path, place in zip(files, temporary, strict=True):
            _write(place, changed[path], path)
    for path in changed.keys() - set(files):
        _write(path, changed[path], path)
    return list(changed)


def _write(place: Path, text: str, asked: Path) -> None:
    try:
        place.write_bytes(text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(asked)) from None


def _is_stream(path: Path) -> bool:
    if str(path).startswith(STREAMS):
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def holds(path: Path, text: str) -> bool:
    """Whether a file exists and has exactly this text."""
    return path.is_file() and path.read_bytes() == text.encode()


def appending(path: Path) -> TextIO:
    """Open a text file to append to; its name must not have become a link."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o666)

    return open(path, "a", newline="", opener=opener)  # Path has no opener
