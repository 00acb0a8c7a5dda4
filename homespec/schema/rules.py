"""HS1xx: violations of the schema; each rule turns one pydantic error into a finding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from homespec.diagnostics import Finding, rule
from homespec.diagnostics.suggest import closest, listing
from homespec.schema.issue import Issue, Path, dotted, shown, type_name
from homespec.schema.jsonschema import keys_at


@rule("HS101", "unknown-key")
def unknown_key(issue: Issue) -> Iterator[Finding]:
    """A key is not part of the language at this place.

    homespec never ignores a key that it does not know: a misspelt option would otherwise silently
    keep its default, and the model that trains would not be the one that was written.
    """
    parent, key = issue.path[:-1], str(issue.path[-1])
    known = keys_at(parent)
    guess = closest(key, known)
    remedy = f"did you mean `{guess}`?" if guess else f"known here are {listing(known)}"
    if key == "<<":
        remedy = "YAML 1.2 has no merge keys: write the keys out, or `extends` another spec"
    yield Finding(
        issue.key_span,
        f"`{key}` is not a key of {_place(parent)}",
        label="unknown key",
        help=remedy,
    )


def _place(path: Path) -> str:
    return f"`{dotted(path)}`" if path else "a spec"


@rule("HS102", "missing-key")
def missing_key(issue: Issue) -> Iterator[Finding]:
    """A required key is absent.

    A spec needs `homespec` (the language version), `name`, `features` and `tasks`, HoME needs
    `groups`; everything else has a default. A spec that extends another one has that one's keys.
    """
    wanted = issue.wanted.split(", ")
    yield Finding(
        issue.key_span,
        f"{_place(issue.path)} lacks the key{'s' if len(wanted) > 1 else ''} {listing(wanted)}",
        label=f"needs {listing(wanted)}",
        help="add " + " and ".join(f"`{EXAMPLES.get(key, f'{key}: …')}`" for key in wanted),
    )


EXAMPLES = {
    "homespec": "homespec: 1",
    "name": "name: my_model",
    "features": "features: {user_id: {id: {buckets: 1000}, dim: 16}}",
    "tasks": "tasks: {click: {label: is_click}, long_view: {}}",
    "outputs": "outputs: [shared]",
    "experts": "experts: {shared: 2}",
    "of": "of: [video_id]",
    "max_len": "max_len: 50",
    "encoder": "encoder: din",
}


WANTED_TYPES = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


@rule("HS103", "wrong-type")
def wrong_type(issue: Issue) -> Iterator[Finding]:
    """A value has the wrong type; nothing is converted silently.

    YAML 1.2 decides types: `1e-3` is a number, `on` and `yes` are strings, `"3"` in quotes is a
    string, `true` is a boolean, an empty value is null.
    """
    wanted = _shorthand(issue) or WANTED_TYPES.get(issue.kind, "something else")
    found = type_name(issue.value)
    yield Finding(
        issue.span,
        f"`{issue.where}` must be {wanted}, not {found}",
        label=f"expected {wanted}",
        help=_special(issue) or _retyped(issue.value, wanted, issue.path in REQUIRED),
    )


SWITCHES = ("self", "feature")
COUNTS = ("shared", "group", "task")


def _shorthand(issue: Issue) -> str | None:
    """What a section may be besides a mapping."""
    if not issue.kind.startswith("model_") or len(issue.path) < 2:
        return None
    if issue.path[-1] == "encoder":
        return "the name of an encoder or a mapping"
    if issue.path[0] == "gates" and issue.path[-1] in SWITCHES:
        return "true, false or a mapping"
    counted = issue.path[-1] in COUNTS or issue.path[-2] == "nodes"
    if issue.path[0] == "experts" and len(issue.path) > 2 and counted:
        return "an integer or a mapping"
    return None


YES_AND_NO = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


REQUIRED = [("name",), ("features",), ("tasks",)]
"""What may be empty but not left out."""


def _special(issue: Issue) -> str:
    """The remedy where the place tells what was meant."""
    path, value = issue.path, issue.value
    if path[-1] == "id" and isinstance(value, int):
        return f"write {{vocab: {value}}} for ids below {value}, or {{buckets: {value}}} to hash"
    if path == ("tasks",) and isinstance(value, list) and all(isinstance(t, str) for t in value):
        return f"write {{{', '.join(f'{task}: {{}}' for task in value)}}}"
    if path[0] == "groups" and len(path) == 2 and isinstance(value, dict):
        return f"list the names of its members: [{', '.join(map(str, value))}]"
    if path[0] == "groups" and len(path) == 3 and isinstance(value, dict | list):
        return "declare this group under `groups:`, too, and put its name here"
    if path[0] == "groups" and value is None:
        return "list its members, or remove the group"
    if path[-1] == "rate" and (match := re.fullmatch(r"\s*([\d.]+)\s*%", str(value))):
        return f"write a share, {float(match[1]) / 100:g}"
    if issue.kind in ("int_from_float", "int_type") and isinstance(value, float):
        return f"write {int(value)}" if value.is_integer() else "write a whole number"
    if issue.kind == "int_type" and isinstance(value, list) and len(value) == 1:
        return f"write {value[0]} without brackets"
    return ""


def _retyped(value: Any, wanted: str, required: bool) -> str:
    """The remedy for the usual slips of type."""
    if value is None:
        return "give it a value" + ("" if required else ", or remove the key to take the default")
    if isinstance(value, str) and wanted.startswith(("an integer", "a number")):
        if re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", value):
            return f"remove the quotes: {value}"
        if re.fullmatch(r"[\d_]+", value):
            return f"write it without underscores: {value.replace('_', '')}"
    if wanted.startswith("true") and str(value).lower() in YES_AND_NO:
        word = str(YES_AND_NO[str(value).lower()]).lower()
        return f"write `{word}`; in YAML 1.2 `{value}` is a string"
    if wanted == "a list" and not isinstance(value, dict):
        return f"write it as a list: [{value}]"
    if wanted == "a string" and not isinstance(value, dict | list):
        return f'put it in quotes: "{value}"'
    return f"write {wanted} here"


@rule("HS104", "out-of-range")
def out_of_range(issue: Issue) -> Iterator[Finding]:
    """A number is outside the range that makes sense for it.

    Counts are 0 or more, widths 1 or more, rates lie strictly between 0 and 1, weights are finite
    and not negative. Upper limits keep a slip of the finger from asking for terabytes.
    """
    bound = issue.message.removeprefix("Input should be ")
    yield Finding(
        issue.span,
        f"`{issue.where}` is {shown(issue.value)}; it must be {bound}",
        label=f"must be {bound}",
        help=f"give a number that is {bound}",
    )


@rule("HS105", "unknown-choice")
def unknown_choice(issue: Issue) -> Iterator[Finding]:
    """A value is not one of the words that the key takes.

    Norms are batch, layer and none; activations swish, relu, dice and none; a gate's `input` is
    `path` or `own`. The message lists the words of the key at hand.
    """
    choices = re.findall(r"'([^']*)'", str(issue.context.get("expected", "")))
    guess = closest(str(issue.value), choices)
    yield Finding(
        issue.span,
        f"`{issue.where}` cannot be {shown(issue.value)}",
        label="unknown choice",
        help=(f"did you mean `{guess}`? " if guess else "") + f"choices are {listing(choices)}",
    )


@rule("HS106", "unsupported-version")
def unsupported_version(issue: Issue) -> Iterator[Finding]:
    """`homespec:` names a version of the language that this compiler does not speak.

    The first key of every spec says which version of the language it is written in, so that a later
    compiler can still read it as it was meant. This compiler speaks version 1. No other mistake of
    the spec is reported until the version is known.
    """
    if issue.kind == "missing":
        yield Finding(
            issue.span,
            "the spec does not say which version of the language it is written in",
            label="needs `homespec: 1`",
            help="begin the spec with `homespec: 1`",
        )
    else:
        yield Finding(
            issue.span,
            f"version {shown(issue.value)} of the language is not known",
            label="this compiler speaks version 1",
            help="write `homespec: 1`, or install a newer homespec",
        )


@rule("HS107", "wrong-length")
def wrong_length(issue: Issue) -> Iterator[Finding]:
    """A list, mapping or string has too few or too many entries.

    A group without members, a spec without features or tasks, a column without a name: each would
    leave nothing to compile.
    """
    least, most = issue.context.get("min_length"), issue.context.get("max_length")
    bound = f"at least {least}" if least is not None else f"at most {most}"
    things = "characters" if isinstance(issue.value, str) else "entries"
    things = things.replace("entries", "entry") if bound.endswith(" 1") else things
    yield Finding(
        issue.key_span if not issue.value else issue.span,
        f"`{issue.where}` must have {bound} {things}",
        label="empty" if not issue.value else "too long",
        help="add one, or remove the key" if not issue.value else "shorten it",
    )
