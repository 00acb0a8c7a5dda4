"""HS1xx: violations of the schema; each rule turns one pydantic error into a finding."""

from __future__ import annotations

import re
from collections.abc import Iterator

from homespec.diagnostics import Finding, rule
from homespec.diagnostics.suggest import listing
from homespec.schema.choice_remedies import choice_remedy
from homespec.schema.issue import Issue, Path, dotted, shown, type_name
from homespec.schema.key_remedies import key_remedy
from homespec.schema.numbers import REASONS
from homespec.schema.value_remedies import value_remedy


@rule("HS101", "unknown-key")
def unknown_key(issue: Issue) -> Iterator[Finding]:
    """A key is not part of the language at this place.

    homespec never ignores a key that it does not know: a misspelt option would otherwise silently
    keep its default, and the model that trains would not be the one that was written.
    """
    parent, key = issue.path[:-1], str(issue.path[-1])
    yield Finding(
        issue.key_span,
        f"`{key}` is not a key of {_place(parent)}",
        label="unknown key",
        help=key_remedy(parent, key, issue.value),
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
        help=value_remedy(issue, wanted),
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


@rule("HS104", "out-of-range")
def out_of_range(issue: Issue) -> Iterator[Finding]:
    """A number is outside the range that makes sense for it.

    Counts are 0 or more, widths 1 or more, rates between 0 and 1, weights not negative. Upper
    limits keep a slip of the finger from asking for terabytes. Numbers that enter a loss or a norm
    must stay well inside of what float32 can hold (homespec's own limits): a rate of 1e-46 or a
    weight of 1e39 would make the loss infinite, and a weight of 1e-46 would be 0.
    """
    bound = issue.message.removeprefix("Input should be ")
    for limit in issue.context.values():
        if isinstance(limit, float):  # pydantic writes 1e-12 out
            bound = re.sub(r"[\d.e+-]+$", f"{limit:g}", bound)
    is_percentage = issue.path[-1] == "rate" and 1 < issue.value <= 100
    why = REASONS.get(str(issue.path[-1]), "")
    yield Finding(
        issue.span,
        f"`{issue.where}` is {shown(issue.value)}; it must be {bound}",
        label=f"must be {bound}",
        help=f"write a share, {issue.value / 100:g}"
        if is_percentage
        else f"give a number that is {bound}" + (f": {why}" if why else ""),
    )


@rule("HS105", "unknown-choice")
def unknown_choice(issue: Issue) -> Iterator[Finding]:
    """A value is not one of the words that the key takes.

    Norms are batch, layer and none; activations swish, relu, dice and none; a gate's `input` is
    `path` or `own`. The message lists the words of the key at hand.
    """
    choices = re.findall(r"'([^']*)'", str(issue.context.get("expected", "")))
    yield Finding(
        issue.span,
        f"`{issue.where}` cannot be {shown(issue.value)}",
        label="unknown choice",
        help=choice_remedy(str(issue.path[-1]), issue.value, choices),
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
    label, remedy = "too long", "shorten it"
    if least is not None:
        label, remedy = ("too few", "add one") if issue.value else ("empty", _filled(issue))
    yield Finding(
        issue.key_span if not issue.value else issue.span,
        f"`{issue.where}` must have {bound} {things}",
        label=label,
        help=remedy,
    )


def _filled(issue: Issue) -> str:
    """What to write where nothing is; what is required cannot be removed."""
    if issue.path in (("features",), ("tasks",)):
        return f"add one: `{EXAMPLES[str(issue.path[0])]}`"
    return "add one, or remove the key"
