"""Input made to hurt is answered with a diagnostic, in under a second."""

from __future__ import annotations

import io
import os
import socket
import time
from pathlib import Path

import pytest
from outlines import complaints, parse_with

from homespec.source import parse, read, read_stream
from homespec.source.reader import MAX_BYTES

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMBS = {
    "brackets": ("[" * MAX_BYTES, "too-deep"),
    "brackets in lines": ("[\n" * (MAX_BYTES // 2), "too-deep"),
    "braces": ("{a: " * (MAX_BYTES // 4), "too-deep"),
    "dashes": ("- " * (MAX_BYTES // 2), "too-deep"),
    "questions": ("? " * (MAX_BYTES // 2), "too-deep"),
    "indentation": ("".join(" " * i + "a:\n" for i in range(1000)), "too-deep"),
    "deep aliases": (
        "a0: &a0 1\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 90)),
        "too-deep",
    ),
    "billion laughs": (LAUGHS, "alias-bomb"),
    "self": ("a: &a [*a]", "alias-cycle"),
    "self as key": ("&a {*a : 1}", "alias-cycle"),
    "many items": ("a: [" + "a," * (MAX_BYTES // 2 - 5) + "]", "too-large"),
    "many keys": ("".join(f"k{i}: 1\n" for i in range(80_000)), "too-large"),
    "many duplicates": ("a: 1\n" * 200_000, "duplicate-key"),
    "many unknown aliases": ("".join(f"- *a{i}\n" for i in range(80_000)), "unknown-alias"),
    "many anchors": (
        "".join(f"- &anchor{i:030} x\n" for i in range(20_000)) + f"- *{'a' * 36}\n" * 1000,
        "unknown-alias",
    ),
    "many tags": ("- !!x y\n" * 100_000, "unsupported-tag"),
    "long text": (f'a: "{"x" * 1_000_000}"', "too-large"),
    "long number": ("a: " + "9" * 60_000, "too-large"),
    "long key": ("x" * 1_000_000 + ": 1", "too-large"),
    "controls": ("\x01" * MAX_BYTES, "forbidden-character"),
    "surrogates": ("a: \ud800" * 100_000, "forbidden-character"),
    "backslashes": ('"' + "\\" * 1_000_000, "yaml-syntax"),
    "quotes": ("'" * 1_000_000, "too-large"),
    "colons": ("a" + ":" * 1_000_000, "too-large"),
    "percents": ("%a\n" * 300_000, "yaml-syntax"),
    "blanks": (" " * MAX_BYTES, "empty-spec"),
    "line breaks": ("\n" * MAX_BYTES, "empty-spec"),
    "comments": ("# a\n" * 200_000, "empty-spec"),
    "too many characters": ("[" * 100_000_000, "too-large"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb(name: str) -> None:
    text, rule = BOMBS[name]
    took = []
    for _ in range(3):  # other work on the machine makes one of them slow
        began = time.process_time()
        document = parse(text, "x.yaml")
        took.append(time.process_time() - began)
    assert min(took) < 1
    assert document.data is None
    assert complaints(document)[0][0] == rule
    assert len(document.diagnostics) <= 101


@pytest.mark.parametrize("name", ["brackets", "braces", "billion laughs", "self", "deep aliases"])
def test_bomb_in_pure_python(name: str) -> None:
    text, rule = BOMBS[name]
    began = time.process_time()
    assert complaints(parse_with(True, text))[0][0] == rule
    assert time.process_time() - began < 2


def test_depth_is_exact() -> None:
    assert parse("a: " + "[" * 63 + "]" * 63).diagnostics == ()
    (diagnostic,) = parse("a: " + "[" * 64 + "]" * 64).diagnostics
    assert (diagnostic.rule.name, diagnostic.span.start.column) == ("too-deep", 67)


def test_ordinary_aliases_are_fine() -> None:
    document = parse("a: &a {x: [1, 2]}\nb: *a\nc: [*a, *a]\n")
    assert document.diagnostics == ()
    assert document.data["c"] == [{"x": [1, 2]}] * 2


def test_alias_takes_the_nearest_anchor_before_it() -> None:
    assert parse("a: &x 1\nb: &x 2\nc: *x\n").data["c"] == 2
    assert parse("a: &x [&x 1, *x]\nb: *x\n").data == {"a": [1, 1], "b": 1}


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom", "/dev/full"])
def test_devices_are_not_opened(device: str) -> None:
    (diagnostic,) = read(device).diagnostics
    assert diagnostic.rule.name == "unreadable-file"
    assert "it is a device" in diagnostic.message


def test_pipes_and_sockets_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yaml")
    Path("link.yaml").symlink_to("pipe.yaml")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.yaml")
        for name, kind in (("pipe", "pipe"), ("link", "pipe"), ("socket", "socket")):
            (diagnostic,) = read(f"{name}.yaml").diagnostics
            assert diagnostic.rule.name == "unreadable-file"
            assert f"it is a {kind}" in diagnostic.message


def test_endless_stream_is_read_in_part() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= MAX_BYTES + 1
            return b"#" * size

    assert complaints(read_stream(Endless(), "x"))[0][0] == "too-large"


def test_large_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: 2 GiB of NUL bytes
    began = time.process_time()
    assert complaints(read(path))[0][0] == "not-text"
    assert time.process_time() - began < 1
