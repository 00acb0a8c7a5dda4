"""Stage 7, emit: copies building blocks from `homespec/emit/blocks/` into generated files.

Blocks are real Python modules, for linters, tests and debuggers. The compiler does not need torch:
it reads them as text and never imports them. A file gets the classes, functions and constants that
are requested by address (`mlps.MLPs`), and their dependencies, each before its users.

A variant of a block is called `Name__variant` in its module and `Name` in a file. A class
`Name__variant(Name)` is `Name` with some members replaced or added; any other variant replaces the
whole block. Several variants of a class replace different members: a file may have them all,
`Name__one__two`. A class `_Name` is a common base, whose members its subclasses get. A statement
that defines nothing, such as a call, belongs to the preceding block.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources

PACKAGE = "homespec.emit.blocks"
GIVEN = f"{PACKAGE}.constants"
"""The module of constants that each file defines for its own spec, which are never copied."""
VARIANT = "__"
"""The separator between the name of a block and that of its variant."""


@dataclass(frozen=True, slots=True)
class Block:
    """The text of a class, function or constant, and the names that it needs from its module.

    `axes` are the letters of shapes in the text, `suffixes` those at the ends of names.
    """

    text: str
    needs: tuple[str, ...]
    axes: frozenset[str]
    suffixes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Module:
    """A module of blocks: its definitions, and the origins of the names that it imports.

    `blocks` are the modules of imported blocks by name, `imports` the statements of other imports,
    `effects` the statements that belong to definitions.
    """

    lines: list[str]
    definitions: dict[str, ast.stmt]
    blocks: dict[str, str]
    imports: dict[str, str]
    effects: dict[str, list[ast.stmt]]


class Copies:
    """The blocks of one generated file."""

    def __init__(self, *variants: str) -> None:
        """`variants` are addresses such as `mlps.MLPs__swish`: the forms of blocks in this file."""
        self.imports: list[str] = []
        self._variants: dict[str, list[str]] = {}
        self._copied: dict[str, None] = {}
        self.axes: set[str] = set()
        self.suffixes: set[str] = set()
        self.choose(variants)

    def choose(self, variants: Iterable[str]) -> None:
        """Add variants of blocks that have not been copied yet."""
        for address in variants:
            block, *names = address.split(VARIANT)
            known = self._variants.setdefault(block, [])
            new = [name for name in names if name not in known]
            assert not new or block not in self._copied, f"{block} is copied already"
            known += new

    def copy(self, *addresses: str) -> str:
        """The text of these blocks and their dependencies, except those already copied."""
        self.choose(addresses)
        return _joined([text for address in addresses for text in self._copy(address)])

    @property
    def names(self) -> list[str]:
        """The names of all copied blocks."""
        return [address.partition(".")[2] for address in self._copied]

    def _copy(self, address: str) -> Iterator[str]:
        address = address.partition(VARIANT)[0]
        if address in self._copied:
            return
        self._copied[address] = None
        module, _, name = address.partition(".")
        found = block(module, name, tuple(sorted(self._variants.get(address, ()))))
        source = parsed(module)
        for need in found.needs:
            if need in source.definitions:
                yield from self._copy(f"{module}.{need}")
            elif need in source.blocks:
                yield from self._copy(f"{source.blocks[need]}.{need}")
            elif source.imports.get(need, "") not in ("", *self.imports):
                self.imports.append(source.imports[need])
        self.axes |= found.axes
        self.suffixes |= found.suffixes
        yield found.text


def _joined(texts: list[str]) -> str:
    """Blocks, separated by two empty lines; consecutive constants are not separated."""
    joined, above = "", ""
    for text in texts:
        constants = above and not _is_long(above) and not _is_long(text)
        joined += text if not joined else f"\n{text}" if constants else f"\n\n\n{text}"
        above = text
    return joined


def _is_long(text: str) -> bool:
    return re.search(r"^(def|class) ", text, re.MULTILINE) is not None


@functools.cache
def parsed(module: str) -> Module:
    """A module of blocks."""
    text = (resources.files("homespec.emit") / "blocks" / f"{module}.py").read_text("utf-8")
    result = Module(text.split("\n"), {}, {}, {}, {})
    last = ""
    for statement in ast.parse(text).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                result.definitions[name] = statement
                last = name
            case ast.Assign(targets=[ast.Name(id=name)]):
                result.definitions[name] = statement
                last = name
            case ast.ImportFrom(module=source, names=names) if source == GIVEN:
                pass
            case ast.ImportFrom(module=str(source), names=names) if source.startswith(PACKAGE):
                blocks = source.removeprefix(PACKAGE).lstrip(".")
                result.blocks.update((each.name, blocks) for each in names)
            case ast.Import() | ast.ImportFrom() | ast.Try():
                result.imports.update(_imported(statement, result.lines))
            case ast.If() | ast.Expr() if last:
                result.effects.setdefault(last, []).append(statement)
    return result


def _imported(statement: ast.stmt, lines: list[str]) -> Iterator[tuple[str, str]]:
    """The statement that imports each name; a `try` statement imports several."""
    for part in ast.walk(statement):
        if isinstance(part, ast.Import | ast.ImportFrom):
            for each in part.names:
                single = type(part)(**{**vars(part), "names": [each]})
                text = ast.unparse(single) if part is statement else _source(statement, lines)
                yield (each.asname or each.name).partition(".")[0], text


@functools.cache
def block(module: str, name: str, variants: tuple[str, ...] = ()) -> Block:
    """A block in the form of its variants."""
    source = parsed(module)
    base = source.definitions.get(name)
    members: list[ast.ClassDef] = []
    for variant in (f"{name}{VARIANT}{each}" for each in variants):
        statement = source.definitions[variant]
        if isinstance(statement, ast.ClassDef) and _bases(statement) == [name]:
            members.append(statement)
        else:
            base = statement
    assert base is not None, f"there is no {module}.{name}"
    text = _source(base, source.lines)
    if isinstance(base, ast.ClassDef):
        text = _merged(_with_private_base(base, source), members, source.lines)
    assert isinstance(base, ast.FunctionDef | ast.ClassDef | ast.Assign)
    effects = source.effects.get(getattr(base, "name", name), [])
    text = "\n\n\n".join([text, *(_source(each, source.lines) for each in effects)])
    text = re.sub(rf"\b{name}{VARIANT}\w+", name, text)
    tree = ast.parse(text)
    suffixes = _suffixes(tree)
    axes = suffixes | _axes(tree)
    needs = tuple(dict.fromkeys(n for n in _free(tree) if n != name))
    return Block(text, needs, frozenset(axes), frozenset(suffixes))


def _axes(tree: ast.AST) -> set[str]:
    """The letters of shapes such as `[S * L, N, B]` in docstrings."""
    docs = (
        ast.get_docstring(node) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    )
    shapes = (shape for doc in docs for shape in re.findall(r"\[[^]]*\]", doc))
    return {letter for shape in shapes for letter in re.findall(r"\b[A-Z]\b", shape)}


def _suffixes(tree: ast.AST) -> set[str]:
    """The letters at the end of names such as `x_BLE`."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    found = (re.fullmatch(r".*[a-z]_([A-Z]+)\d?", name) for name in names)
    return {letter for match in found if match for letter in match[1]}


def _with_private_base(heir: ast.ClassDef, source: Module) -> list[ast.ClassDef]:
    """A class with the members of the private classes that it inherits from, which come first."""
    bases = _bases(heir)
    if len(bases) != 1 or not bases[0].startswith("_"):
        return [heir]
    private = source.definitions[bases[0]]
    assert isinstance(private, ast.ClassDef)
    return [*_with_private_base(private, source), heir]


def _bases(statement: ast.ClassDef) -> list[str]:
    return [ast.unparse(base) for base in statement.bases]


def _merged(line: list[ast.ClassDef], variants: list[ast.ClassDef], lines: list[str]) -> str:
    """The last class of a chain of inheritance, with the members of all classes and its variants.

    A replaced member keeps its position, and new members follow the others.
    """
    members: dict[str, str] = {}
    for part in line:
        members |= _members(part, lines)
    replaced: dict[str, str] = {}
    for variant in variants:
        for name, text in _members(variant, lines):
            assert "super()" not in text, f"{variant.name}.{name}: a variant has no parent"
            assert name not in replaced, f"{variant.name}.{name} also belongs to another variant"
            replaced[name] = text
    members |= replaced
    head = f"class {line[-1].name}({', '.join(_bases(line[0]))}):" if line[0].bases else ""
    head = head or f"class {line[-1].name}:"
    doc = [members.pop("")] if "" in members else []
    attributes = [text for text in members.values() if not _is_method(text)]
    methods = [members.pop("__init__")] if "__init__" in members else []
    methods += [text for text in members.values() if _is_method(text)]
    attributes = ["\n".join(attributes)] if attributes else []
    return "\n".join([head, "\n\n".join([*doc, *attributes, *methods])])


def _is_method(text: str) -> bool:
    return re.search(r"^ +def ", text, re.MULTILINE) is not None


def _members(statement: ast.ClassDef, lines: list[str]) -> Iterator[tuple[str, str]]:
    """The text of each member by name; the docstring is under ""."""
    for part in statement.body:
        match part:
            case ast.FunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name, _source(part, lines)
            case ast.Expr(value=ast.Constant()):
                yield "", _source(part, lines)
            case _:
                raise AssertionError(f"{statement.name}: a statement that is not a member")


def _source(statement: ast.stmt, lines: list[str]) -> str:
    """The lines of a statement, with its decorators and the comments right above it."""
    decorators = getattr(statement, "decorator_list", [])
    start = min([statement.lineno, *(each.lineno for each in decorators)]) - 1
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return "\n".join(lines[start : statement.end_lineno])


def _free(node: ast.AST, bound: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names that are read and not bound in an enclosing scope."""
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load) and node.id not in bound:
            yield node.id
        return
    inner = bound
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        own = {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
        stored = (part for part in ast.walk(node) if isinstance(part, ast.Name))
        own |= {part.id for part in stored if isinstance(part.ctx, ast.Store)}
        own |= {p.name for p in ast.walk(node) if isinstance(p, ast.FunctionDef) and p is not node}
        inner = bound | own
    for child in ast.iter_child_nodes(node):
        yield from _free(child, inner)
