"""Stage 1, source: reads a file of limited size, and composes its document."""

from __future__ import annotations

import codecs
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from homespec.diagnostics import Diagnostic
from homespec.diagnostics.suggest import closest
from homespec.source import file_rules, yaml_rules
from homespec.source.comments import comments
from homespec.source.composer import MAX_FINDINGS, Built, composed
from homespec.source.document import Document, Node
from homespec.source.lines import Lines
from homespec.source.roots import is_yaml
from homespec.source.scalars import kind

MAX_BYTES = 1024 * 1024

FORBIDDEN = re.compile(
    "[^\t\n\r -~\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    "|[\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
"""Control characters, surrogates, unusual line breaks, and marks that reorder text."""

OWN_STREAM = re.compile(r"/dev/(stdin|fd/[0-9]+)|/proc/self/fd/[0-9]+")
KINDS = (
    (stat.S_ISFIFO, "it is a pipe"),
    (stat.S_ISSOCK, "it is a socket"),
    (stat.S_ISCHR, "it is a device"),
    (stat.S_ISBLK, "it is a device"),
)


def read(path: str | os.PathLike[str], place: str | None = None) -> Document:
    """The document in a file. Problems with the file become diagnostics.

    `place` is the actual location of the file, if `path` is only its name in messages.
    """
    file = os.fspath(path)
    try:
        if endless := _endless(place or file):
            return unread(file, file_rules.unreadable_file(file, endless, "pass a file, or -"))
        with Path(place or file).open("rb") as stream:
            return read_stream(stream, file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return unread(file, file_rules.unreadable_file(file, reason, _remedy(file, error)))


def _endless(file: str) -> str:
    """Why a file must not be opened: reading it may block, or have side effects.

    Files that the shell passes, as in `validate <(command)`, are treated like stdin.
    """
    mode = os.stat(file).st_mode  # keep the path as it was given
    if OWN_STREAM.fullmatch(file) and not stat.S_ISBLK(mode):
        return ""
    return next((reason for is_kind, reason in KINDS if is_kind(mode)), "")


def read_stream(stream: BinaryIO, name: str) -> Document:
    """The document in a binary stream; at most 1 MiB is read."""
    try:
        raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = str(error.strerror or error)
        return unread(name, file_rules.unreadable_file(name, reason, "pass a file"))
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return unread(name, file_rules.not_text(name, "it is UTF-16", "save it as UTF-8"))
    if (at := raw.find(b"\0")) >= 0:
        problem = f"byte {at} is NUL, as in binary files"
        return unread(name, file_rules.not_text(name, problem, "pass the spec's YAML file"))
    if len(raw) > MAX_BYTES:
        return unread(name, file_rules.too_large(file_rules.beginning(name), "the file", "1 MiB"))
    try:
        return parse(raw.decode("utf-8"), name)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = f"byte 0x{raw[error.start]:02x} in line {line} is not valid"
        return unread(name, file_rules.not_text(name, problem, "save the file as UTF-8"))


def parse(text: str, name: str = "<text>") -> Document:
    """The document in `text`; `name` is the file's name in diagnostics."""
    if len(text) > MAX_BYTES:
        return unread(name, file_rules.too_large(file_rules.beginning(name), "the text", "1 MiB"))
    lines = Lines(name, text.removeprefix("\ufeff"))
    if forbidden := _forbidden_characters(lines):
        return unread(name, forbidden, lines)
    composer = composed(lines)
    if not composer.has_errors:
        composer.diagnostics += _check_root(composer.root, lines)
    root = composer.root.node if composer.root else Node.at(lines, 0, 0)
    if root.parts:
        first = next(iter(root.parts.values()))
        root.key_start, root.key_end = first.key_start, first.key_end
    return Document(
        lines,
        composer.mapping,
        root,
        tuple(comments(lines, composer.scalars)),
        tuple(composer.diagnostics),
    )


def unread(name: str, diagnostics: list[Diagnostic], lines: Lines | None = None) -> Document:
    """The document of a file that cannot be read completely, with the reason."""
    lines = lines or Lines(name, "")
    return Document(lines, None, Node.at(lines, 0, 0), (), tuple(diagnostics))


def _forbidden_characters(lines: Lines) -> list[Diagnostic]:
    """The first occurrence of each forbidden character."""
    diagnostics = []
    for character in sorted(filter(FORBIDDEN.match, set(lines.text)))[:MAX_FINDINGS]:
        at = lines.text.index(character)
        diagnostics += file_rules.forbidden_character(lines.span(at, at + 1), character)
    return diagnostics


def _check_root(root: Built | None, lines: Lines) -> list[Diagnostic]:
    """Check that there is a document, and that it is a mapping."""
    if root and isinstance(root.value, dict):
        return []
    if root is None or root.node.start == root.node.end:
        return file_rules.empty_spec(lines.file)
    if yaml_rules.GLUED.fullmatch(lines.text, root.node.start, root.node.end):
        return yaml_rules.missing_space(root.node.span, str(root.value))
    remedy = "begin with `homespec: 1` and a `name`"
    return file_rules.not_a_mapping(root.node.span, kind(root.value), remedy)


def _remedy(file: str, error: Exception) -> str:
    """The remedy for a file that cannot be read."""
    if isinstance(error, IsADirectoryError):
        return "name a file in it"
    if not isinstance(error, FileNotFoundError):
        return ""
    if file.startswith("~"):
        return "only shells expand `~`: in Python write os.path.expanduser(path)"
    folder, name = os.path.split(file)
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry in entries if is_yaml(entry.name)]
    except OSError:
        return f"the folder `{folder}` does not exist"
    guess = closest(name, sorted(names))
    return f"did you mean `{Path(folder, guess)}`?" if guess else ""
