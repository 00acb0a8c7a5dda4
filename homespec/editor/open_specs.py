"""Editor: specs as they are in the editor's buffers, saved or not, with their bases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from homespec.compiler import Analysis, Stopped, analyse, filter_ignored
from homespec.diagnostics import Report
from homespec.source import Document, parse, read, with_bases
from homespec.source.roots import is_yaml, leads_out, real

MAX_FILES = 5000
"""Maximum number of YAML files of a folder that are searched for specs that extend one."""
MAX_FOLDERS = 5000
OTHERS = frozenset({"node_modules", "site-packages"})
"""Folders of installed packages."""

Buffers = Callable[[str], str | None]
"""Returns the text of an open file by its resolved path; None if the file is not open."""
Version = str | tuple[int, ...]
"""Identifies a version of a file: the text of an open file, or the state on disk of another."""


@dataclass(frozen=True, slots=True)
class Related:
    """A file's own document, its resolved path, and those of the files that it extends."""

    own: Document
    place: str
    bases: frozenset[str]

    @property
    def chain(self) -> frozenset[str]:
        """The file and the files that it extends."""
        return self.bases | {self.place}


@dataclass(frozen=True, slots=True)
class Whole:
    """A spec with the files that it extends, and their documents by name and place."""

    document: Document
    parts: dict[tuple[str, str], Document]


@dataclass
class OpenSpecs:
    """Reads specs. For an open file, the text in the editor counts and not the file on disk.

    A file is parsed once for each of its versions, and a spec is checked once for each combination
    of these.
    """

    buffers: Buffers
    _own: dict[str, tuple[Version, Document]] = field(default_factory=dict)
    _whole: dict[str, Whole] = field(default_factory=dict)
    _reports: dict[str, tuple[Document, Report]] = field(default_factory=dict)
    _sound: dict[str, Analysis] = field(default_factory=dict)

    def own(self, file: str) -> Document:
        """The document of one file alone, without the files that it extends."""
        return self._read(file, real(file))

    def whole(self, file: str) -> Document:
        """The document of a file merged with the files that it extends."""
        known = self._whole.get(file)
        if known and all(self._read(*at) is part for at, part in known.parts.items()):
            return known.document
        parts: dict[tuple[str, str], Document] = {}

        def reader(name: str, place: str) -> Document:
            return parts.setdefault((name, place), self._read(name, place))

        document = with_bases(reader(file, real(file)), reader=reader)
        self._whole[file] = Whole(document, parts)
        return document

    def report(self, file: str) -> Report:
        """The diagnostics of a file; none for a file that resolves elsewhere."""
        if leads_out(file):
            return Report()
        document = self.whole(file)
        known = self._reports.get(file)
        if known and known[0] is document:
            return known[1]
        try:
            self._sound[file] = analyse(document)
            found = self._sound[file].diagnostics
        except Stopped as stopped:
            found = tuple(stopped.diagnostics)
        report = Report.of(filter_ignored(document, found), document.texts)
        self._reports[file] = document, report
        return report

    def analysis(self, file: str) -> Analysis | None:
        """The compiled form of a spec when it was last reported on and sound."""
        return self._sound.get(file)

    def forget(self, file: str) -> None:
        """Forget a file that is closed."""
        for known in (self._own, self._whole, self._reports, self._sound):
            known.pop(file, None)

    def related(self, file: str, folder: str | None) -> list[Related]:
        """The spec itself, then its bases, then specs of a folder that extend one of these.

        Links that lead out of their repository are not read.
        """
        files = [file, *(base.file for base in self.whole(file).bases)]
        specs = {real(name): self._related(name) for name in files}
        for other in _specs_below(folder):
            if real(other) in specs or leads_out(other) or not self._may_extend(other):
                continue
            if (spec := self._related(other)).bases & specs.keys():
                specs[spec.place] = spec
        return list(specs.values())

    def _related(self, file: str) -> Related:
        bases = frozenset(real(base.file) for base in self.whole(file).bases)
        return Related(self.own(file), real(file), bases)

    def _may_extend(self, file: str) -> bool:
        """Whether a file contains the word: most YAML files of a project need not be parsed."""
        text = self.buffers(real(file))
        if text is not None:
            return "extends" in text
        try:
            return Path(file).is_file() and b"extends" in Path(file).read_bytes()
        except OSError:
            return False

    def _read(self, name: str, place: str) -> Document:
        text = self.buffers(place)
        version = _on_disk(place) if text is None else text
        if version is None:
            return read(name, place)
        known = self._own.get(name)
        if known is None or known[0] != version:
            document = read(name, place) if text is None else parse(text, name)
            known = self._own[name] = version, document
        return known[1]


def _on_disk(place: str) -> Version | None:
    """A value that changes when a file is written; None if there is no file."""
    try:
        found = Path(place).stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _specs_below(folder: str | None) -> Iterator[str]:
    """The YAML files of a folder that is open in the editor, except hidden ones."""
    found = (path for path in _files_below(folder) if is_yaml(path)) if folder else ()
    yield from islice(found, MAX_FILES)


def _files_below(folder: str) -> Iterator[str]:
    """Files, except hidden ones and those in hidden folders or in folders of packages.

    Links to folders are not followed.
    """
    for at, folders, files in islice(os.walk(folder), MAX_FOLDERS):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in OTHERS)
        yield from (str(Path(at, name)) for name in sorted(files) if not name.startswith("."))
