"""Export: puts folders in place atomically, even while an older one is being read."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homespec.atomic_write import PREFIX, sync
from homespec.export import ExportError

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Constants of Linux: paths are relative to the process, and two paths are exchanged atomically."""


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder that becomes `target` if the block succeeds; after an error, nothing remains.

    An existing folder is exchanged for it atomically: a program that opens a path inside finds
    either the old files or the new ones. Raises ExportError if this is impossible.
    """
    target = Path(os.path.realpath(target))  # for a link, the folder that it leads to
    beside = _temporary(target)
    new = beside / target.name
    try:
        new.mkdir()
        yield new
        _sync(new)
        if target.is_dir():
            exchange(new, target)
        else:
            _rename(new, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)  # after an exchange, this is the old folder


def _temporary(target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=target.parent))
    except OSError as error:
        raise ExportError(f"{target.parent} cannot be written to: {error.strerror}") from None


def _rename(new: Path, target: Path) -> None:
    try:
        new.rename(target)
    except OSError as error:
        raise ExportError(f"{target} cannot be written: {error.strerror}") from None


def exchange(new: Path, target: Path) -> None:
    """Exchange two folders atomically. Raises ExportError if the system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    failed = rename is None or rename(
        AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(target), RENAME_EXCHANGE
    )
    if failed:
        reason = os.strerror(ctypes.get_errno() if rename is not None else errno.ENOSYS)
        raise ExportError(
            f"{target} cannot be exchanged in one step on this file system ({reason}): give another"
            " folder by --out and have the server read that one"
        )


def _sync(folder: Path) -> None:
    """Wait until all files of a folder are on disk."""
    for path in (*folder.rglob("*"), folder):
        sync(path)
