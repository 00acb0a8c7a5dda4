"""Stage 1, source: reads specs from a commit, using git without a checkout."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from homespec.source.document import Document
from homespec.source.extends import with_bases
from homespec.source.file_rules import unreadable_file
from homespec.source.reader import MAX_BYTES, read_stream, unread
from homespec.source.roots import located, repository

REGULAR = ("100644", "100755")
"""Modes of regular files in git's trees; others are links and submodules."""


class CommitError(Exception):
    """Raised if the commit, the repository or git itself is missing."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of the repository at `root`; `name` is the user's name for it."""

    root: str
    name: str
    sha: str

    def files(self, below: str) -> dict[str, str]:
        """All files at or below a path of the working tree: paths from the root and git's modes."""
        listing = _git(self.root, "ls-tree", "-r", "-z", self.sha, "--", self.inside(below))
        entries = (entry.partition(b"\t") for entry in listing.split(b"\0") if entry)
        return {os.fsdecode(name): about.split()[0].decode() for about, _, name in entries}

    def read(self, shown: str, path: str) -> Document:
        """The document of a file; problems with the file become diagnostics."""
        name, inside = f"{shown}@{self.name}", self.inside(path)
        entry = _git(self.root, "ls-tree", "-z", "--long", self.sha, "--", inside)
        if not entry:
            return unread(name, unreadable_file(name, f"commit {self.name} has no such file", ""))
        mode, _, blob, size = entry.partition(b"\t")[0].split()
        if mode.decode() not in REGULAR:
            return unread(name, unreadable_file(name, "it is not a regular file there", ""))
        if int(size) > MAX_BYTES:
            return read_stream(io.BytesIO(b" " * (MAX_BYTES + 1)), name)
        return read_stream(io.BytesIO(_git(self.root, "cat-file", "blob", blob.decode())), name)

    def read_spec(self, path: str, overrides: Iterable[str] = ()) -> Document:
        """The document of a file merged with its bases, all read from the commit."""
        return with_bases(self.read(path, located(path)), overrides, (), self.read)

    def inside(self, path: str) -> str:
        """A path of the working tree, relative to the root."""
        return os.path.relpath(os.path.realpath(located(path)), os.path.realpath(self.root))


def commit(name: str, near: str) -> Commit:
    """The commit of this name in the repository of a path. Raises CommitError."""
    root = repository(f"{located(near)}/spec")  # `near` itself may be the root
    if root is None:
        raise CommitError(f"`{near}` is not in a git repository")
    try:
        sha = _git(
            root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
        )
    except CommitError:
        raise CommitError(f"the repository does not have the commit `{name}`") from None
    return Commit(root, name, sha.decode().strip())


def _git(root: str, *arguments: str) -> bytes:
    """The output of git. Raises CommitError."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "--literal-pathspecs", "-C", root, *arguments],  # noqa: S607
            capture_output=True, check=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise CommitError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        raise CommitError(error.stderr.decode(errors="replace").strip()) from None
    return done.stdout
