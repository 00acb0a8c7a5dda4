"""Files that cannot be read, and files that are no text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from outlines import complaints

from homespec.diagnostics import Position
from homespec.source import parse, read


def only(path: Path) -> tuple[str, str, str]:
    """Name, message and help of the one diagnostic of a file."""
    document = read(path)
    assert document.data is None
    assert document.file == str(path)
    (diagnostic,) = document.diagnostics
    assert diagnostic.span.start == Position(1, 1)
    return diagnostic.rule.name, diagnostic.message, diagnostic.help


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: é\n", encoding="utf-8")
    document = read(path)
    assert (document.data, document.text, document.diagnostics) == ({"a": "é"}, "a: é\n", ())


def test_missing_file_with_a_neighbour(tmp_path: Path) -> None:
    (tmp_path / "kuairand.yaml").touch()
    name, message, remedy = only(tmp_path / "kuairnd.yaml")
    assert (name, message) == ("unreadable-file", "cannot read the file: No such file or directory")
    assert remedy == f"did you mean `{tmp_path}/kuairand.yaml`?"


def test_missing_folder(tmp_path: Path) -> None:
    assert only(tmp_path / "no" / "x.yaml")[2] == f"the folder `{tmp_path / 'no'}` does not exist"


def test_folder(tmp_path: Path) -> None:
    assert only(tmp_path)[:2] == ("unreadable-file", "cannot read the file: Is a directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.touch(mode=0)
    assert only(path)[:2] == ("unreadable-file", "cannot read the file: Permission denied")


def test_loop_of_links(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.symlink_to(path)
    assert only(path)[0] == "unreadable-file"


def test_path_that_is_none() -> None:
    assert complaints(read("a\0b"))[0][0] == "unreadable-file"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"a: \x00", "byte 3 is NUL"),
        (b"\x89PNG\r\n\x1a\n\x00", "is NUL"),
        ("a: 1".encode("utf-16"), "UTF-16"),
        (b"a: 1\nb: caf\xe9\n", "byte 0xe9 in line 2"),
        (b"\xed\xa0\x80", "byte 0xed in line 1"),
        (b"\xff" * 100, "byte 0xff in line 1"),
    ],
)
def test_not_text(tmp_path: Path, raw: bytes, found: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(raw)
    name, message, remedy = only(path)
    assert name == "not-text"
    assert found in message
    assert remedy


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("# a\n" * 300_000)
    assert only(path)[:2] == ("too-large", "the file is too large: the limit is 1 MiB")


@pytest.mark.parametrize(
    ("text", "column", "name"),
    [
        ("a: \x07", 4, "control character"),
        ("a: \x7f", 4, "control character"),
        ("a: \x85", 4, "control character"),
        ("a: x\u202ey", 5, "right-to-left override"),
        ("a: \u2028", 4, "line separator"),
        ("a: x\ufeff", 5, "zero width no-break space"),
        ("a: \ud83d", 4, "U+D83D"),
        ("a\u00a0: 1", 2, "no-break space"),
        ("a: 1\nb: {c\u200bd: 1}", 6, "zero width space"),
        ("a\tb: 1", 2, "tab"),
    ],
)
def test_forbidden_characters(text: str, column: int, name: str) -> None:
    document = parse(text)
    (diagnostic,) = document.diagnostics
    assert diagnostic.rule.name == "forbidden-character"
    assert diagnostic.span.start.column == column
    assert name in diagnostic.message


def test_each_forbidden_character_once() -> None:
    assert len(parse("a: \x01\x01\x02").diagnostics) == 2


@pytest.mark.parametrize(
    "text", ["a: x\u00a0y", "a: '\u200b'", "# \u00a0\na: 1", 'a: "\\u202e\\0"']
)
def test_characters_that_are_fine(text: str) -> None:
    assert parse(text).diagnostics == ()


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "--- # x\n...\n", "\ufeff"])
def test_empty(text: str) -> None:
    assert complaints(parse(text))[0][0] == "empty-spec"


@pytest.mark.parametrize("text", ["- a\n", "text\n", "~\n", "1.5", "[]", "'a:b'"])
def test_not_a_mapping(text: str) -> None:
    assert complaints(parse(text))[0][0] == "not-a-mapping"
