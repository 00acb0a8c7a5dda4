"""Stage 1, source: merges a document with the files that it extends."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from homespec.diagnostics import Diagnostic, Label
from homespec.source import extends_rules
from homespec.source.columns import with_columns
from homespec.source.default_dim import with_default_dim
from homespec.source.document import Document
from homespec.source.file_rules import beginning
from homespec.source.merge import merged
from homespec.source.overrides import with_overrides
from homespec.source.reader import read, unread
from homespec.source.roots import base_of, from_here, is_yaml, leads_out, real, roots_of, shown_base

MAX_CHAIN = 8

Reader = Callable[[str, str], Document]
"""Reads a file by its name in messages and its absolute path."""


def read_spec(
    path: str | os.PathLike[str], overrides: Iterable[str] = (), folders: Iterable[str] = ()
) -> Document:
    """The composed document of a file. A link that leads out of its repository is not read.

    `folders` are further ones that files may be read from.
    """
    file, folders = os.fspath(path), tuple(folders)
    if leads_out(file, folders):
        return unread(file, extends_rules.link_outside(beginning(file)))
    return with_bases(read(file), overrides, folders)


def with_bases(
    document: Document,
    overrides: Iterable[str] = (),
    folders: Iterable[str] = (),
    reader: Reader = read,
) -> Document:
    """The document merged over its bases, with `--set` overrides merged over both.

    Entries with `columns` become features, and the spec's `dim` is filled in. `reader` reads the
    bases. Problems with a base become diagnostics of the whole. Raises ValueError for an override
    that is not of the form `PATH=VALUE`.
    """
    chain = _Chain((real(document.file),), roots_of(document.file, folders), reader)
    whole = with_overrides(_extended(document, chain), tuple(overrides))
    return with_default_dim(with_columns(whole))


@dataclasses.dataclass(frozen=True, slots=True)
class _Chain:
    """The files on the chain to a document, including itself, and the folders of its bases."""

    files: tuple[str, ...]
    roots: tuple[str, ...]
    read: Reader

    def to(self, place: str) -> _Chain:
        """The chain extended by a base."""
        return _Chain((*self.files, place), self.roots, self.read)


def _extended(document: Document, chain: _Chain) -> Document:
    name = (document.data or {}).get("extends")
    if not isinstance(name, str):  # absent, or invalid, which the schema reports
        return document
    base = _base(document, name, chain)
    if not isinstance(base, Document):
        return document.failed(base)
    below = [_extends_here(document, diagnostic) for diagnostic in base.diagnostics]
    if base.data is None or document.data is None:
        return dataclasses.replace(document.failed(below), bases=(base, *base.bases))
    data, root = merged(base.data, document.data, base.root, document.root, ())
    assert isinstance(data, dict)
    bases = (dataclasses.replace(base, bases=()), *base.bases)
    diagnostics = (*document.diagnostics, *below)
    return dataclasses.replace(document, data=data, root=root, diagnostics=diagnostics, bases=bases)


def _base(document: Document, name: str, chain: _Chain) -> Document | list[Diagnostic]:
    """The composed base, or the reason why there is none."""
    span = document.span(("extends",))
    reason, remedy = _refusal(name)
    if reason:
        return extends_rules.bad_base(span, name, reason, remedy)
    place = base_of(document.file, name, chain.roots)
    if place is None:
        return extends_rules.base_outside(span, name)
    if place in chain.files:
        files = (*chain.files[chain.files.index(place) :], place)
        return extends_rules.extends_cycle(span, [from_here(file) for file in files])
    reason, remedy = _unfit(place, chain)
    if reason:
        return extends_rules.bad_base(span, name, reason, remedy)
    base = chain.read(shown_base(document.file, name, place), place)
    for diagnostic in base.diagnostics:
        if diagnostic.rule.code == "HS001":
            reason = diagnostic.message.partition(": ")[2]
            remedy = _relative(diagnostic.help, document)
            return extends_rules.bad_base(span, name, reason, remedy)
    base = _extended(base, chain.to(place))
    versions = [d.data.get("homespec") for d in (base, document) if d.data]
    if None not in versions and len(set(map(repr, versions))) > 1:
        reason = f"it is written in version {versions[0]} of the language"
        return extends_rules.bad_base(span, name, reason, "use one version in both")
    return base


def _unfit(place: str, chain: _Chain) -> tuple[str, str]:
    """Why a file below the root cannot be a base, and the remedy."""
    if not is_yaml(place):
        return "it is a link to another kind of file", "name the YAML file itself"
    if len(chain.files) >= MAX_CHAIN:
        return f"the chain of bases is longer than {MAX_CHAIN} files", "merge some of them"
    if os.path.exists(place) and not os.path.isfile(place):  # reading a pipe would wait
        return "it is not a regular file", "name a YAML file"
    return "", ""


def _relative(remedy: str, document: Document) -> str:
    """The help `did you mean ...?`, with the path as the document would write it."""
    match = re.fullmatch(r"did you mean `(.*)`\?", remedy)
    if not match or real(match[1]) == real(document.file):
        return ""
    here = os.path.dirname(real(document.file))
    return f"did you mean `{os.path.relpath(match[1], here)}`?"


def _refusal(name: str) -> tuple[str, str]:
    """Why the name of a base is refused, whether or not a file exists, and the remedy."""
    if not name.isprintable() or "\\" in name:
        return "its name contains characters that are not allowed", "use letters and `/`"
    if Path(name).is_absolute():
        return "its path is absolute", "name it relative to this file, such as `../base.yaml`"
    if not is_yaml(name):
        return "a base is a .yaml or .yml file", "name the spec that this one changes"
    return "", ""


def _extends_here(document: Document, diagnostic: Diagnostic) -> Diagnostic:
    """A diagnostic about a base, with the place that extends it."""
    label = Label(document.span(("extends",)), "extended here")
    return dataclasses.replace(diagnostic, related=(*diagnostic.related, label))


def with_provenance(document: Document, diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Diagnostics in a base, which also show the place that extends the base."""
    bases = {base.file for base in document.bases}
    mine = document.span(("extends",)).file == document.file
    return [
        _extends_here(document, d)
        if d.span.file in bases and mine and not any(m.text == "extended here" for m in d.related)
        else d
        for d in diagnostics
    ]
