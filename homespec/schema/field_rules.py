"""HS1xx: violations of the schema; each rule turns one pydantic error into a finding."""

from __future__ import annotations

import re
from collections.abc import Iterator

from homespec.diagnostics import Finding, rule
from homespec.diagnostics.suggest import listing
from homespec.schema.key_remedies import key_remedy
from homespec.schema.located_error import LocatedError, Path, dotted, shown, type_name
from homespec.schema.numbers import REASONS
from homespec.schema.type_remedies import matches
from homespec.schema.value_remedies import choice_remedy, value_remedy
from homespec.source.missing_brackets import with_brackets


@rule("HS101", "unknown-key")
def unknown_key(error: LocatedError) -> Iterator[Finding]:
    """A key is not part of the language in this place.

    homespec never ignores an unknown key. A misspelt option would silently keep its default, and
    the model that trains would not be the one you wrote.
    """
    parent, key = error.path[:-1], str(error.path[-1])
    yield Finding(
        error.key_span,
        f"`{key}` is not a key of {_place(error.document.as_written(parent))}",
        label="unknown key",
        help=_bracketed(error) or key_remedy(parent, key, error.value),
    )


def _bracketed(error: LocatedError) -> str:
    node = error.document.node(error.path)
    return with_brackets(node.lines.text, node.key_start, node.key_end)


def _place(path: Path) -> str:
    return f"`{dotted(path)}`" if path else "a spec"


@rule("HS102", "missing-key")
def missing_key(error: LocatedError) -> Iterator[Finding]:
    """A required key is missing.

    A spec needs `homespec` (the language version), `name`, `features` and `tasks`, HoME needs
    `groups`; everything else has a default. A spec that extends another one inherits its keys.
    """
    wanted = error.wanted.split(", ")
    yield Finding(
        error.key_span,
        f"{_place(error.path)} is missing the key{'s' if len(wanted) > 1 else ''} "
        f"{listing(wanted)}",
        label=f"needs {listing(wanted)}",
        help="add " + " and ".join(f"`{_example(error.path, key)}`" for key in wanted),
    )


def _example(path: Path, key: str) -> str:
    """A key with a value, such as one writes at this place."""
    if path[-1:] == ("cross",) and key in OF_CROSSES:
        return OF_CROSSES[key]
    return EXAMPLES.get(key, f"{key}: …")


OF_CROSSES = {"of": "of: [user_id, video_id]", "buckets": "buckets: 100000"}
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
    "lists_type": "a list of lists",
    "amount_type": "a number, such as 10000000 or 10M",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


@rule("HS103", "wrong-type")
def wrong_type(error: LocatedError) -> Iterator[Finding]:
    """A value has the wrong type; nothing is converted silently.

    YAML 1.2 decides types: `1e-3` is a number, `on` and `yes` are strings, `"3"` in quotes is a
    string, `true` is a boolean, an empty value is null.
    """
    wanted = _shorthand(error) or WANTED_TYPES.get(error.kind, "something else")
    actual = type_name(error.value)
    yield Finding(
        error.span,
        f"`{error.where}` must be {wanted}, not {actual}",
        label=f"expected {wanted}",
        help=value_remedy(error, wanted),
    )


SWITCHES = ("self", "feature")
COUNTS = ("shared", "group", "task")


def _shorthand(error: LocatedError) -> str | None:
    """The forms of a value that has several."""
    if error.path[-1:] == ("vocab",) and error.kind == "int_type":
        return "a number of ids, a list or a mapping"
    if not error.kind.startswith("model_") or len(error.path) < 2:
        return None
    if error.path[-1] == "encoder":
        return "the name of an encoder or a mapping"
    if error.path[0] == "gates" and error.path[-1] in SWITCHES:
        return "true, false or a mapping"
    counted = error.path[-1] in COUNTS or error.path[-2] == "nodes"
    if error.path[0] == "experts" and len(error.path) > 2 and counted:
        return "an integer or a mapping"
    return None


SHARES = ("rate", "dropout", "feature_dropout")
"""The keys with shares, which may have been written in percent."""


@rule("HS104", "out-of-range")
def out_of_range(error: LocatedError) -> Iterator[Finding]:
    """A number is outside its valid range.

    Counts are 0 or more, widths 1 or more, rates between 0 and 1, weights not negative. Upper
    limits keep a typo from asking for terabytes. Numbers that enter a loss or a norm must stay well
    within the range of float32 (these limits are homespec's own): a rate of 1e-46 or a weight of
    1e39 would make the loss infinite, and a weight of 1e-46 would be 0.
    """
    bound = error.message.removeprefix("Input should be ")
    for limit in error.context.values():
        if isinstance(limit, float):  # pydantic writes 1e-12 out
            bound = re.sub(r"[\d.e+-]+$", f"{limit:g}", bound)
    is_percentage = error.path[-1] in SHARES and 1 < error.value < 100
    why = REASONS.get(str(error.path[-1]), "")
    yield Finding(
        error.span,
        f"`{error.where}` is {shown(error.value)}; it must be {bound}",
        label=f"must be {bound}",
        help=f"write a share, {error.value / 100:g}"
        if is_percentage
        else f"give a number that is {bound}" + (f": {why}" if why else ""),
    )


@rule("HS105", "unknown-choice")
def unknown_choice(error: LocatedError) -> Iterator[Finding]:
    """A value is not one of the words that the key takes.

    Norms are batch, layer and none; activations swish, relu, gelu, tanh, leaky_relu, prelu, and for
    the outputs of experts dice and none; a gate's `input` is `path` or `own`. The message lists the
    words that this key takes.
    """
    choices = re.findall(r"'([^']*)'", str(error.context.get("expected", "")))
    yield Finding(
        error.span,
        f"`{error.where}` cannot be {shown(error.value)}",
        label="unknown choice",
        help=choice_remedy(str(error.path[-1]), error.value, choices),
    )


@rule("HS106", "unsupported-version")
def unsupported_version(error: LocatedError) -> Iterator[Finding]:
    """`homespec:` names a version of the language that this compiler does not support.

    The first key of every spec says which version of the language it is written in, so that later
    compilers can still read it as intended. This compiler supports version 1. No other mistake in
    the spec is reported until the version is known.
    """
    if error.kind == "missing":
        yield Finding(
            error.span,
            "the spec does not say which language version it uses",
            label="needs `homespec: 1`",
            help="begin the spec with `homespec: 1`",
        )
    else:
        yield Finding(
            error.span,
            f"version {shown(error.value)} of the language is unknown",
            label="this compiler supports version 1",
            help="write `homespec: 1`, or install a newer homespec",
        )


@rule("HS107", "wrong-length")
def wrong_length(error: LocatedError) -> Iterator[Finding]:
    """A list, mapping or string has too few or too many entries.

    A group without members, a spec without features or tasks, or a column without a name leaves
    nothing to compile.
    """
    least, most = error.context.get("min_length"), error.context.get("max_length")
    bound = f"at least {least}" if least is not None else f"at most {most}"
    things = ("character", "characters") if isinstance(error.value, str) else ("entry", "entries")
    label, remedy = "too long", "shorten it"
    if matches(error.path, "features.*.cross.of"):
        label, remedy = "too many", "keep two, and cross others in features of their own"
    if least is not None:
        label, remedy = ("too few", "add one") if error.value else ("empty", _filled(error))
    yield Finding(
        error.key_span if not error.value else error.span,
        f"`{error.where}` must have {bound} {things[not bound.endswith(' 1')]}",
        label=label,
        help=remedy,
    )


def _filled(error: LocatedError) -> str:
    """The remedy for an empty value; a required key cannot be removed."""
    if error.path in (("features",), ("tasks",)):
        return f"add one: `{EXAMPLES[str(error.path[0])]}`"
    return "add one, or remove the key"
