"""Training: a lock, so that a folder is used by one run at a time.

The lock is a system lock (flock) on a small file in the folder. It ends with the process, even if
that is killed. The file names the holder.
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
    """Close the lock in a forked process, such as a data loader, so that it does not hold it."""
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


class Lock:
    """The lock of a run's folder, held by the process that writes to it."""

    def __init__(self, out: Path, say: Callable[[str], None]) -> None:
        """`say` receives a line if the file system does not support locks."""
        self.out, self.say = out, say
        self._handle: int | None = None
        self._made: list[Path] = []

    def take(self) -> None:
        """Create the folder and take the lock. Raises RunError if another run holds it."""
        try:
            while self._handle is None:
                self._handle = self._taken()
            _held.add(self._handle)
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, _about().encode(), 0)
        except OSError as error:
            raise RunError(f"{self.out} cannot be written ({error.strerror})") from None

    def _taken(self) -> int | None:
        """The locked file; None if another process removed it in the meantime."""
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
        """Whether the file is still the one in the folder."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(handle), (self.out / FILE).stat())
        return False

    def release(self) -> None:
        """Release the lock, and remove its file, and the folder if it was only created for it."""
        if self._handle not in _held:  # not held, or held by a parent process
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
    """The holder of the lock, if it is already in the file."""
    try:
        about = json.loads(os.pread(handle, 1000, 0))
        return f" (process {about['pid']} on {about['host']}, since {about['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
