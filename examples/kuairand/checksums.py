"""Telling whether files are up to date, and whose they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from homespec.data import DataError


def digest(paths: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of each file, by its name."""
    sums = {}
    for path in paths:
        with path.open("rb") as file:
            sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def check_own(out: Path, names: Iterable[str], mark: str, own: bool) -> None:
    """Raise DataError if files to write already exist that are not `own`.

    `mark` is the file that says whose they are.
    """
    present = [name for name in names if (out / name).exists()]
    if present and not own:
        raise DataError(
            f"{out} holds {present[0]}, which this program did not write ({mark} would say so):"
            " give another folder, or move it away"
        )
