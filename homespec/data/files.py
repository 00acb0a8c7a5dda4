"""Data: writing files whole or not at all, and telling whether they are up to date."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Temporary paths beside `paths`, which replace them if the block succeeds.

    The suffix is kept, since writers tell formats by it. On an error nothing is left behind and
    files that were there before stay as they were.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = tuple(p.with_name(f".{os.getpid()}-{p.name}") for p in paths)
    try:
        yield temporary
        for source, target in zip(temporary, paths, strict=True):
            source.replace(target)
    finally:
        for source in temporary:
            source.unlink(missing_ok=True)


def digest(paths: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of each file, by its name."""
    found = {}
    for path in paths:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
