"""Training: a folder belongs to one run at a time.

The lock is the system's (flock) on a small file in the folder: it ends with the process, however
that ends, so a run that was killed leaves none. The file says who holds it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from homespec.train import RunError

FILE = ".homespec.lock"
BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)

_held: set[int] = set()


def _close_in_child() -> None:
    """Let a forked process, such as one that reads data, not hold the lock of its parent."""
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


class Lock:
    """The lock of a run's folder, taken by the process that writes to it."""

    def __init__(self, out: Path, say: Callable[[str], None]) -> None:
        """`say` gets a line if the file system has no locks."""
        self.out, self.say = out, say
        self._handle: int | None = None
        self._made: list[Path] = []

    def take(self) -> None:
        """Take the lock; makes the folder. Raises RunError if another run has it."""
        try:
            while self._handle is None:
                self._handle = self._taken()
            _held.add(self._handle)
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, _about().encode(), 0)
        except OSError as error:
            raise RunError(f"{self.out} cannot be written ({error.strerror})") from None

    def _taken(self) -> int | None:
        """The file, locked; None if another process removed it in the meantime."""
        self._make_folder()
        handle = os.open(self.out / FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in BUSY:
                holder = _holder(handle)
                os.close(handle)
                raise RunError(
                    f"{self.out} is in use by another run{holder}: wait for it to end, or give "
                    "another --out"
                ) from None
            self.say(
                f"note: {self.out} cannot be locked ({error.strerror}): make sure that no other "
                "run uses this folder"
            )
        if self._is_file(handle):
            return handle
        os.close(handle)
        return None

    def _make_folder(self) -> None:
        missing = [path for path in (self.out, *self.out.parents) if not path.exists()]
        self.out.mkdir(parents=True, exist_ok=True)
        self._made = [*missing, *self._made]

    def _is_file(self, handle: int) -> bool:
        """Whether the file is the one that is in the folder now."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(handle), (self.out / FILE).stat())
        return False

    def release(self) -> None:
        """Give the lock back and remove its file, and a folder that was made for it alone."""
        if self._handle not in _held:  # none, or that of a parent process
            return
        with suppress(OSError):
            if self._is_file(self._handle):
                (self.out / FILE).unlink()
        _held.remove(self._handle)
        os.close(self._handle)
        self._handle = None
        with suppress(OSError):  # not empty
            for path in self._made:
                path.rmdir()


def _about() -> str:
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    return json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}) + "\n"


def _holder(handle: int) -> str:
    """Who has the lock, as far as the file says it already."""
    try:
        about = json.loads(os.pread(handle, 1000, 0))
        return f" (process {about['pid']} on {about['host']}, since {about['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
