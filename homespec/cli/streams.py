"""Command line: handles standard streams that are closed or full, so that verbs need not.

A verb does its work whatever happens to its output, and the exit code reports the result. Lost
output on stdout is reported at the end; on stderr this is impossible.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Stream(io.FileIO):
    """A standard stream that drops output that cannot be written, and keeps the reason."""

    lost: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write the text or drop it. A stream that failed once is not tried again."""
        size = memoryview(data).nbytes
        if self.lost:
            return size
        try:
            while (count := super().write(data)) is None:  # a full non-blocking pipe
                select.select([], [self], [])
        except OSError as error:
            self.lost = error
            return size
        return count


def guard() -> Stream | None:
    """Replace stdout and stderr by such streams. Returns that of stdout, unless it is captured."""
    stdin, stdout, stderr = sys.stdin, sys.stdout, sys.stderr
    # the next file opened would get the free descriptor, and output would go into it
    if stdin is None:
        sys.stdin = os.fdopen(_unusable(os.O_WRONLY), "r", closefd=False)
    out = _unusable(os.O_RDONLY) if stdout is None else 1
    err = _unusable(os.O_WRONLY) if stderr is None else 2
    if stderr is sys.__stderr__:
        sys.stderr = _text(Stream(err, "w", closefd=False), stderr)
    if stdout is not sys.__stdout__:
        return None
    stream = Stream(out, "w", closefd=False)
    sys.stdout = _text(stream, stdout)
    return stream


def _unusable(flags: int) -> int:
    """Open the null device at the lowest free descriptor, which child processes inherit."""
    descriptor = os.open(os.devnull, flags)
    os.set_inheritable(descriptor, True)
    return descriptor


def _text(stream: Stream, before: TextIO | None) -> TextIO:
    """A text stream like the given one; it escapes characters that it cannot encode."""
    like = before if isinstance(before, io.TextIOWrapper) else None
    return io.TextIOWrapper(
        io.BufferedWriter(stream),
        encoding=like.encoding if like else "utf-8",
        errors="backslashreplace",
        line_buffering=like.line_buffering if like else True,
        write_through=like.write_through if like else False,
    )


def loss(stream: Stream | None) -> str:
    """Why output is missing; "" if it is not, or if its reader has seen enough, as `head` does."""
    sys.stdout.flush()
    error = stream.lost if stream else None
    return "" if error is None or error.errno == errno.EPIPE else str(error.strerror)
