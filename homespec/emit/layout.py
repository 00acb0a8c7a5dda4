"""Stage 7, emit: lays out expressions exactly as ruff's formatter would.

An expression that fits stays on one line. Else the arguments of a call move to their own line if
they fit there; else they are written one on each line, with a trailing comma.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

LINE = 100
INDENT = "    "


@dataclass(frozen=True, slots=True)
class Group:
    """`head(arg, key=value)`, or a tuple, list or dict if the head is empty."""

    head: str
    args: tuple[Expr, ...] = ()
    keywords: tuple[tuple[str, Expr], ...] = ()
    brackets: str = "()"
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Sum:
    """`term + term + …`, in parentheses and one term on each line if it does not fit."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Each:
    """`element for names in over`: the only argument of a call."""

    element: Expr
    names: str
    over: Expr


Expr = str | Group | Sum | Each


def call(head: str, *args: Expr, **keywords: Expr) -> Group:
    """A call of `head`."""
    return Group(head, args, tuple(keywords.items()))


def sequence(items: Sequence[Expr], brackets: str = "()") -> Group:
    """A tuple, or a list with brackets "[]"."""
    return Group("", tuple(items), brackets=brackets)


def strings(items: Sequence[str]) -> Group:
    """A tuple of string literals."""
    return sequence([literal(item) for item in items])


def mapping(items: Sequence[tuple[str, Expr]]) -> Group:
    """A dict with string keys."""
    return Group("", (), tuple((literal(key), value) for key, value in items), "{}")


def then(expr: Expr, tail: str) -> Expr:
    """`expr.tail()`."""
    assert not isinstance(expr, Sum | Each)
    return expr + tail if isinstance(expr, str) else replace(expr, tail=expr.tail + tail)


def literal(value: object) -> str:
    """A Python literal; strings in double quotes, as the formatter writes them."""
    if not isinstance(value, str):
        return repr(value)
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    safe = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)
    return f'"{"".join(safe)}"'


def flat(expr: Expr) -> str:
    """The expression on one line."""
    if isinstance(expr, str):
        return expr
    if isinstance(expr, Sum):
        return " + ".join(map(flat, expr.terms))
    if isinstance(expr, Each):
        return f"{flat(expr.element)} for {expr.names} in {flat(expr.over)}"
    joint = ": " if expr.brackets == "{}" else "="
    parts = [flat(a) for a in expr.args]
    parts += [f"{key}{joint}{flat(value)}" for key, value in expr.keywords]
    inner = ", ".join(parts)
    if not expr.head and expr.brackets == "()" and len(parts) == 1:
        inner += ","
    return f"{expr.head}{expr.brackets[0]}{inner}{expr.brackets[1]}{expr.tail}"


def lay(prefix: str, expr: Expr, depth: int, suffix: str = "") -> str:
    """`prefix`, the expression and `suffix` at an indentation of `depth` steps."""
    line = INDENT * depth + prefix + flat(expr) + suffix
    if len(line) <= LINE or isinstance(expr, str):
        return line
    if isinstance(expr, Sum):
        return _lay_sum(prefix, expr, depth, suffix)
    if isinstance(expr, Each):
        over = lay(f"for {expr.names} in ", expr.over, depth)
        return f"{lay('', expr.element, depth)}\n{over}"
    if not (expr.args or expr.keywords):
        return line
    joint = ": " if expr.brackets == "{}" else "="
    lines = [INDENT * depth + prefix + expr.head + expr.brackets[0]]
    inner = INDENT * (depth + 1) + flat(replace(expr, head="f", tail=""))[2:-1]
    if expr.head and expr.brackets == "()" and not expr.tail and len(inner) <= LINE:
        return "\n".join([*lines, inner, INDENT * depth + expr.brackets[1] + expr.tail + suffix])
    lines += [lay("", a, depth + 1, ",") for a in expr.args]
    lines += [lay(key + joint, value, depth + 1, ",") for key, value in expr.keywords]
    first, *more = _calls(expr.tail)
    end = expr.brackets[1] if more else f"{expr.brackets[1]}{first}"
    chain = [first, *more] if more else []
    return "\n".join([*lines, *(INDENT * depth + each for each in (end, *chain))]) + suffix


def _calls(tail: str) -> list[str]:
    """`.a(x).b(y)` split into calls; if there are several, each is on its own line."""
    calls = re.findall(r"\.\w+\((?:[^()]|\([^()]*\))*\)", tail)
    return calls if "".join(calls) == tail and calls else [tail]


def _lay_sum(prefix: str, total: Sum, depth: int, suffix: str) -> str:
    if len(total.terms) == 1:
        return lay(prefix, total.terms[0], depth, suffix)
    signs = ["", *["+ "] * (len(total.terms) - 1)]
    terms = (lay(sign, t, depth + 1) for sign, t in zip(signs, total.terms, strict=True))
    return "\n".join([f"{INDENT * depth}{prefix}(", *terms, f"{INDENT * depth}){suffix}"])


def packed(target: str, expr: Group) -> str:
    """An assignment with as many entries on a line as fit, for constants inside `fmt: off`."""
    line = f"{target} = {flat(expr)}"
    if len(line) <= LINE:
        return line
    joint = ": " if expr.brackets == "{}" else "="
    entries = [flat(a) for a in expr.args]
    entries += [f"{key}{joint}{flat(value)}" for key, value in expr.keywords]
    lines = [INDENT]
    for entry in entries:
        if len(lines[-1]) + len(entry) + 2 > LINE:
            lines.append(INDENT)
        lines[-1] += f"{entry}, "
    body = [line.rstrip() for line in lines]
    return "\n".join([f"{target} = {expr.brackets[0]}", *body, expr.brackets[1]])


def assign_tuple(targets: Sequence[str], expr: Expr, depth: int) -> str:
    """`a, b = …`, with the targets in parentheses, one on each line, if they do not fit."""
    joined = ", ".join(targets)
    room = LINE - len(INDENT) * depth - len(" = ") - len(flat(expr).partition("(")[0]) - 1
    if len(joined) <= room:
        return assign(joined, expr, depth)
    lines = [f"{INDENT * (depth + 1)}{target}," for target in targets]
    start = INDENT * depth
    return "\n".join([f"{start}(", *lines, f"{start}) = {lay('', expr, depth).lstrip()}"])


def assign(target: str, expr: Expr, depth: int) -> str:
    """An assignment, or only the expression if `target` is empty."""
    return lay(f"{target} = " if target else "", expr, depth)


def harmless(name: str) -> str:
    """A file's name, escaped for comments and docstrings of generated code."""
    return "".join(c if c.isprintable() and c not in "\\\"'" else "_" for c in name)
