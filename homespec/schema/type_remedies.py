"""Stage 2, schema: remedies for values of the wrong type, from the value alone."""

from __future__ import annotations

import re

from homespec.schema.jsonschema import examples_at
from homespec.schema.located_error import LocatedError, Path, written

REQUIRED = (
    *("name", "features", "tasks", "features.*", "features.*.id", "features.*.dim"),
    *("features.*.sequence", "features.*.sequence.of", "features.*.sequence.max_len"),
    *("features.*.cross", "features.*.cross.of", "features.*.cross.buckets"),
    *("features.*.sequence.encoder", "features.*.id.buckets", "features.*.id.vocab"),
)
"""Sections that may be empty but not left out."""
YES_AND_NO = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
WHOLE, NUMBER = r"[-+]?[0-9]+", r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?"
SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9}


def retyped(error: LocatedError, wanted: str) -> str:
    """The remedy for usual mistakes of type."""
    value = error.value
    if value is None:
        required = any(matches(error.path, pattern) for pattern in REQUIRED)
        such = f", such as {_example(error.path)}" if _example(error.path) else ""
        return f"give it a value{such}" + (
            "" if required else ", or remove the key for its default"
        )
    if wanted.startswith(("an integer", "a number")) and (said := _numeric(error, wanted)):
        return said
    if wanted.startswith("true") and str(value).lower() in YES_AND_NO:
        word = written(YES_AND_NO[str(value).lower()])
        return f"write `{word}`; in YAML 1.2 `{value}` is a string"
    if wanted == "a list" and not isinstance(value, dict):
        return f"write it as a list: [{value}]"
    if wanted == "a string" and not isinstance(value, dict | list):
        return f'put it in quotes: "{written(value)}"'
    return f"write {wanted} here"


def _numeric(error: LocatedError, wanted: str) -> str:
    value, whole = error.value, wanted.startswith("an integer")
    if whole and isinstance(value, float):
        return f"write {int(value)}" if value.is_integer() else "write a whole number"
    if isinstance(value, list) and len(value) == 1:
        return f"write {value[0]} without brackets"
    if isinstance(value, str):
        if re.fullmatch(WHOLE if whole else NUMBER, value):
            return f"remove the quotes: {value}"
        if (number := meant_number(value, whole)) is not None:
            return f"write {number}"
    such = _example(error.path)
    return f"write {wanted}, such as {such}" if such else ""


def meant_number(text: str, whole: bool) -> str | None:
    """The number in `1_000`, `1,000`, `100k` and `2**20`, and in `0,3` if it need not be whole."""
    if match := re.fullmatch(r"(\d{1,3}(?:[,_' ]\d{3})+|\d[\d_]*)", text):
        return re.sub(r"\D", "", match[1])
    if not whole and re.fullmatch(r"\d+,\d+", text):
        return text.replace(",", ".")
    if match := re.fullmatch(r"(\d{1,9}) ?([kKmMbBgG])", text):
        return str(int(match[1]) * SUFFIXES[match[2].lower()])
    if match := re.fullmatch(r"(\d{1,3}) ?(?:\*\*|\^) ?(\d{1,2})", text):
        number = int(match[1]) ** int(match[2])
        return str(number) if number < 2**31 else None
    return None


def _example(path: Path) -> str:
    return next((written(example) for example in examples_at(path)), "")


def matches(path: Path, pattern: str) -> bool:
    """Whether a path is such a place: `*` is any step, `**` at the beginning any steps."""
    steps = pattern.split(".")
    if steps[0] == "**":
        steps = steps[1:]
        path = path[-len(steps) :]
    return len(path) == len(steps) and all(
        step in ("*", str(given)) for step, given in zip(steps, path, strict=True)
    )
