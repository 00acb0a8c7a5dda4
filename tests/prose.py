"""What people read in this project, paragraph by paragraph, for `test_prose.py`."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple


class Paragraph(NamedTuple):
    """Text on one line, without code, and the line where it begins."""

    line: int
    text: str


def paragraphs(path: Path) -> list[Paragraph]:
    """The prose of a file. Raises KeyError for a kind of file that no reader knows."""
    reader = READERS[path.suffix or path.name]
    found = reader(path.read_text("utf-8"))
    return sorted(Paragraph(line, plain) for line, text in found if (plain := _without_code(text)))


def _without_code(text: str) -> str:
    text = re.sub(r"``.+?``|`[^`]*`", "`x`", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)\s]*\)", "]", text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return " ".join(text.split())


def _markdown(text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs, list items and table cells, without fenced code."""
    block: list[str] = []
    start, fenced = 1, False
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        fence = line.lstrip().startswith("```")
        if fence or fenced or not line.strip() or re.match(r"\s*([*\-|#]|\d+\.) ?", line):
            yield start, "\n".join(block)
            block, start = [], number + (not line.strip())
        if fence:
            fenced = not fenced
        elif not fenced and line.lstrip().startswith("|"):
            yield from ((number, cell) for cell in line.split("|"))
        elif not fenced and line.strip():
            block.append(re.sub(r"^\s*([*\-#]+|\d+\.) ", "", line))


def _python(text: str) -> Iterator[tuple[int, str]]:
    """Docstrings, comments, and strings of several words."""
    yield from _comments(text)
    tree = ast.parse(text)
    standing = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in _strings(tree):
        value = _text_of(node)
        if id(node) in standing:
            yield from _docstring(node.lineno, value)
        elif len(re.findall(r"\b[a-z]+ (?=[a-z`])", value)) > 1:
            yield node.lineno, value


def _docstring(line: int, text: str) -> Iterator[tuple[int, str]]:
    """As Markdown, without the examples that its indentation or `>>>` sets apart."""
    kept = (
        "" if re.match(r"    |\s*(>>>|\.\.\.) ", part) else part
        for part in inspect.cleandoc(text).splitlines()
    )
    for offset, paragraph in _markdown("\n".join(kept)):
        yield line + offset - 1, paragraph


def _strings(tree: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Strings, those with values in them as one."""
    if isinstance(tree, ast.JoinedStr) or (
        isinstance(tree, ast.Constant) and isinstance(tree.value, str)
    ):
        yield tree
        return
    for child in ast.iter_child_nodes(tree):
        yield from _strings(child)


def _text_of(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else "`x`" for part in node.values
    )


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Comments; those on consecutive lines of their own are one paragraph."""
    found: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            alone = token.line.lstrip().startswith("#")
            words = token.string.lstrip("# ")
            if found and alone and _end_of(found[-1]) == token.start[0]:
                found[-1] = (found[-1][0], found[-1][1] + "\n" + words)
            else:
                found.append((token.start[0], words))
    yield from found


def _end_of(paragraph: tuple[int, str]) -> int:
    return paragraph[0] + paragraph[1].count("\n") + 1


def _hashed(text: str) -> Iterator[tuple[int, str]]:
    """Comments and messages of a YAML file or a Makefile, which is all that has several words."""
    for number, line in enumerate(text.splitlines(), start=1):
        yield number, line.split("#", 1)[-1]


def _template(text: str) -> Iterator[tuple[int, str]]:
    """The text of a template, without its statements and tags."""
    text = re.sub(r"\{\{.*?\}\}", "`x`", text, flags=re.DOTALL)
    text = re.sub(r"\{%.*?%\}|<(style|script)\b.*?</\1>|<[^>]*>", _lines, text, flags=re.DOTALL)
    yield from _markdown(text)


def _lines(match: re.Match[str]) -> str:
    return "\n" * match.group().count("\n")


READERS: dict[str, Callable[[str], Iterator[tuple[int, str]]]] = {
    ".md": _markdown,
    ".py": _python,
    ".jinja": _template,
    ".yaml": _hashed,
    ".yml": _hashed,
    "Makefile": _hashed,
}
