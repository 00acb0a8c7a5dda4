"""Editor: specs as they are in the editor's buffers, saved or not, with what they extend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from homespec.compiler import Analysis, Stopped, analyse, filter_ignored
from homespec.diagnostics import Report
from homespec.source import Document, parse, read, with_bases
from homespec.source.roots import is_yaml, leads_out, real

MAX_FILES = 500
"""How many files of a folder are looked at for specs that extend one."""

Buffers = Callable[[str], str | None]
"""The text of an open file by its path without links; None for one that is not open."""


@dataclass(frozen=True, slots=True)
class Related:
    """A file's own document, its path without links, and those of the files that it extends."""

    own: Document
    place: str
    bases: frozenset[str]


@dataclass
class OpenSpecs:
    """Reads specs; where a file is open, what is in the editor counts and not what is on disk."""

    buffers: Buffers
    _sound: dict[str, Analysis] = field(default_factory=dict)

    def own(self, file: str) -> Document:
        """The document of one file alone, without what it extends."""
        text = self.buffers(real(file))
        return read(file) if text is None else parse(text, file)

    def whole(self, file: str) -> Document:
        """The document of a file laid over what it extends."""
        return with_bases(self.own(file), reader=self._read)

    def report(self, file: str) -> Report:
        """Everything that there is to say about a file; nothing for one that leads elsewhere."""
        if leads_out(file):
            return Report()
        document = self.whole(file)
        try:
            self._sound[file] = analyse(document)
            found = self._sound[file].diagnostics
        except Stopped as stopped:
            found = tuple(stopped.diagnostics)
        return Report.of(filter_ignored(document, found), document.texts)

    def analysis(self, file: str) -> Analysis | None:
        """What the compiler knows of a spec, as it was when it was last reported on and sound."""
        return self._sound.get(file)

    def related(self, file: str, folder: str | None) -> list[Related]:
        """The spec itself, what it extends, and specs of a folder that extend one of these."""
        files = [file, *(base.file for base in self.whole(file).bases)]
        specs = {real(name): self._related(name) for name in files}
        for other in _specs_below(folder):
            if real(other) not in specs and (spec := self._related(other)).bases & specs.keys():
                specs[spec.place] = spec
        return list(specs.values())

    def _related(self, file: str) -> Related:
        bases = frozenset(real(base.file) for base in self.whole(file).bases)
        return Related(self.own(file), real(file), bases)

    def _read(self, name: str, place: str) -> Document:
        text = self.buffers(place)
        return read(name, place) if text is None else parse(text, name)


def _specs_below(folder: str | None) -> Iterator[str]:
    """The YAML files of a folder that is open in the editor; hidden ones are left out."""
    if folder is None:
        return
    seen = 0
    for path in Path(folder).rglob("*.y*ml"):
        inner = path.relative_to(folder)
        if is_yaml(path.name) and not any(part.startswith(".") for part in inner.parts):
            yield str(path)
            seen += 1
        if seen == MAX_FILES:
            return
