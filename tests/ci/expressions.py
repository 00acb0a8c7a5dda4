"""The expressions of GitHub Actions, `${{ … }}`, as far as action.yml uses them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<sign>&&|\|\||==|!=|[!()])"
    r"|(?P<name>[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*))"
)
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
STATUS = ("success", "failure", "always", "cancelled")


class Expression:
    """One expression, evaluated as it is read: `or` of `and` of comparisons."""

    def __init__(self, text: str, contexts: Mapping[str, Any], failed: bool) -> None:
        self.tokens = self._tokens(text)
        self.contexts = contexts
        self.statuses = {
            "success": not failed,
            "failure": failed,
            "always": True,
            "cancelled": False,
        }
        self.asked: set[str] = set()
        self.value = self._or()
        if self.tokens:
            raise ValueError(f"left over in `{text}`: {self.tokens}")

    @staticmethod
    def _tokens(text: str) -> list[str]:
        found, at = [], 0
        while text[at:].strip():
            match = TOKEN.match(text, at)
            if not match:
                raise ValueError(f"cannot read `{text[at:]}`")
            found.append(match[0].strip())
            at = match.end()
        return found

    def _takes(self, *signs: str) -> str:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in signs else ""

    def _or(self) -> Any:
        value = self._and()
        while self._takes("||"):
            other = self._and()
            value = value or other
        return value

    def _and(self) -> Any:
        value = self._equal()
        while self._takes("&&"):
            other = self._equal()
            value = value and other
        return value

    def _equal(self) -> Any:
        value = self._not()
        while sign := self._takes("==", "!="):
            same = _folded(value) == _folded(self._not())
            value = same is (sign == "==")
        return value

    def _not(self) -> Any:
        return not self._not() if self._takes("!") else self._operand()

    def _operand(self) -> Any:
        if self._takes("("):
            value = self._or()
            assert self._takes(")"), "a parenthesis is open"
            return value
        token = self.tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if self._takes("("):
            assert self._takes(")"), f"{token} takes no argument here"
            self.asked.add(token)
            return self.statuses[token]
        return _looked_up(token.split("."), self.contexts)


def _folded(value: Any) -> Any:
    """GitHub compares texts without regard to case."""
    return value.lower() if isinstance(value, str) else value


def _looked_up(path: list[str], contexts: Mapping[str, Any]) -> Any:
    """What is not there is null, but a context that does not exist is a mistake."""
    value: Any = contexts[path[0]]
    for name in path[1:]:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def filled(text: str, contexts: Mapping[str, Any], failed: bool = False) -> str:
    """A text with its expressions evaluated."""

    def one(match: re.Match[str]) -> str:
        value = Expression(match[1], contexts, failed).value
        return {None: "", True: "true", False: "false"}.get(value, value)

    return EXPRESSION.sub(one, text)


def is_met(condition: str | None, contexts: Mapping[str, Any], failed: bool) -> bool:
    """Whether a step runs; unless it asks for the status itself, not after a failure."""
    if condition is None:
        return not failed
    match = EXPRESSION.fullmatch(condition.strip())
    expression = Expression(match[1] if match else condition, contexts, failed)
    return bool(expression.value) and (bool(expression.asked) or not failed)
