"""HS1xx: violations of the schema; each rule turns one pydantic error into a finding."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from homespec.diagnostics import Finding, Span, rule
from homespec.diagnostics.suggest import closest, listing
from homespec.schema.jsonschema import keys_at
from homespec.schema.names import ROOT, is_identifier
from homespec.source import Document

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Issue:
    """One pydantic error, placed in the document: `path` exists there, `wanted` is its end."""

    document: Document
    path: Path
    on_key: bool
    kind: str
    message: str
    context: dict[str, Any]
    value: Any
    wanted: str

    @property
    def span(self) -> Span:
        """The key or the value that is wrong."""
        return self.document.span(self.path, key=self.on_key)

    @property
    def key_span(self) -> Span:
        """The key of the value that is wrong; the document itself at the top."""
        return self.document.span(self.path, key=bool(self.path))

    @property
    def where(self) -> str:
        """The place in words: `experts.meta.shared`."""
        return dotted(self.path)


def dotted(path: Path) -> str:
    """A path as a reader writes it: `groups.watch[0]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "the spec"


def shown(value: Any) -> str:
    """A value in a message, cut to a readable length."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:37] + "…"


def type_name(value: Any) -> str:
    """What YAML calls the type of a value."""
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        tuple: "a list",
        dict: "a mapping",
        type(None): "nothing",
    }
    return names.get(type(value), type(value).__name__)


@rule("HS101", "unknown-key")
def unknown_key(issue: Issue) -> Iterator[Finding]:
    """A key is not part of the language at this place.

    homespec never ignores a key that it does not know: a misspelt option would otherwise silently
    keep its default, and the model that trains would not be the one that was written.
    """
    parent, key = issue.path[:-1], str(issue.path[-1])
    known = keys_at(parent)
    guess = closest(key, known)
    yield Finding(
        issue.key_span,
        f"`{key}` is not a key of {_place(parent)}",
        label="unknown key",
        help=f"did you mean `{guess}`?" if guess else f"known here are {listing(known)}",
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


@rule("HS108", "bad-name")
def bad_name(issue: Issue) -> Iterator[Finding]:
    """A name is not a plain identifier.

    Names become identifiers in the generated code, keys of checkpoints and names of files, so they
    are ASCII letters, digits and `_`, begin with a letter, have at most 63 characters and are no
    keyword of Python. Letters of other scripts that merely look like ASCII ones are refused.
    """
    name = str(issue.path[-1] if issue.on_key else issue.value)
    if issue.path[0] == "layers" and is_identifier(name):
        yield Finding(
            issue.span,
            f"{shown(name)} cannot be the name of a layer: it has an underscore",
            label="letters and digits only",
            help=f"use `{name.replace('_', '')}`: names such as `z_LAYER_NODE` then stay apart",
        )
        return
    yield Finding(
        issue.span,
        f"{shown(name)} cannot be a name: {_name_trouble(name)}",
        label="not an identifier",
        help=_better_name(name),
    )


def _name_trouble(name: str) -> str:
    foreign = next((c for c in name if not c.isascii()), None)
    if not name:
        return "it is empty"
    if foreign is not None:
        return f"U+{ord(foreign):04X} is not an ASCII letter"
    if keyword.iskeyword(name):
        return "it is a keyword of Python"
    if len(name) > 63:
        return f"it has {len(name)} characters, 63 are allowed"
    if not name[0].isalpha():
        return "it does not begin with a letter"
    return "it may have only letters, digits and `_`"


def _better_name(name: str) -> str:
    if not name.isascii():
        return "type it anew in ASCII letters, digits and `_`"
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:63]
    if keyword.iskeyword(plain):
        plain += "_"
    plain = f"n{plain}" if plain[:1].isdigit() else plain
    return f"use letters, digits and `_`, for example `{plain or 'name'}`"


KINDS = {"features": "feature", "groups": "group", "tasks": "task"}


@rule("HS109", "reserved-name")
def reserved_name(issue: Issue) -> Iterator[Finding]:
    """A name means something else already.

    `shared` is the root of the task tree, and names such as `forward`, `train` or `items` are
    attributes of the torch modules whose children the tasks, groups and features become: torch
    refuses a submodule of that name, or the attribute would be lost.
    """
    name = str(issue.path[-1] if issue.on_key else issue.value)
    taken = "the root of the task tree" if name == ROOT else "taken by the language or by torch"
    yield Finding(
        issue.span,
        f"`{name}` is reserved: it is {taken}",
        label="reserved",
        help=f"rename it, for example to `{name}_{KINDS.get(str(issue.path[0]), 'model')}`",
    )


@rule("HS110", "bad-label")
def bad_label(issue: Issue) -> Iterator[Finding]:
    """A label is neither a column nor a simple comparison.

    A label is the name of a column of 0 and 1, or a comparison of a column with a number or with
    another column: `play_time_ms >= duration_ms`. It is parsed, never evaluated as code.
    """
    yield Finding(
        issue.span,
        f"`{issue.where}` is no label: {issue.message}",
        label="not a column or comparison",
        help="write a column (`is_like`) or a comparison (`comment_stay_time > 0`)",
    )


@rule("HS111", "feature-kind")
def feature_kind(issue: Issue) -> Iterator[Finding]:
    """A feature has no kind, or several.

    Each feature is exactly one of `id` (embedding of an identifier or category), `bucketize`
    (embedding of a number's bucket) and `dense` (a vector of numbers taken as it is).
    """
    kinds = str(issue.context["kinds"])
    yield Finding(
        issue.key_span,
        f"`{issue.where}` " + (f"is {kinds} at once" if kinds else "does not say what it is"),
        label="one kind is needed",
        help="give exactly one of `id: {buckets: n}`, `id: {vocab: n}`, "
        "`bucketize: [b1, b2]`, `dense: n`",
    )


@rule("HS112", "feature-dim")
def feature_dim(issue: Issue) -> Iterator[Finding]:
    """A feature has an embedding without a width, or a width without an embedding.

    `id` and `bucketize` features are looked up in a table and need `dim`, the width of its rows. A
    `dense` feature is its own vector and has none.
    """
    kind = issue.context["kind"]
    if kind == "dense":
        span = issue.document.span((*issue.path, "dim"), key=True)
        message = f"`{issue.where}` is dense and has no embedding"
        yield Finding(span, message, label="no embedding, no `dim`", help="remove `dim`")
    else:
        message = f"`{issue.where}` is `{kind}` and needs the width of its embedding"
        yield Finding(issue.key_span, message, label="needs `dim`", help="add `dim: 16`")


@rule("HS113", "id-kind")
def id_kind(issue: Issue) -> Iterator[Finding]:
    """An id does not say how it becomes a row, or says it twice.

    `buckets: n` hashes any id into n rows; `vocab: n` takes the ids 0 to n - 1 as rows.
    """
    yield Finding(
        issue.key_span,
        f"`{issue.where}` must have exactly one of `buckets` and `vocab`",
        label="one of both",
        help="`{buckets: n}` hashes into n rows, `{vocab: n}` takes ids 0 to n - 1",
    )


@rule("HS114", "not-increasing")
def not_increasing(issue: Issue) -> Iterator[Finding]:
    """The boundaries of a bucketised number do not ascend.

    A boundary that equals or undercuts the one before it would make a bucket that no value reaches:
    a row of the table that is never trained.
    """
    left, right = float(issue.context["left"]), float(issue.context["right"])
    index = next(
        i
        for i, pair in enumerate(zip(issue.value, issue.value[1:], strict=False))
        if pair == (left, right)
    )
    yield Finding(
        issue.document.span((*issue.path, index + 1)),
        f"boundaries must ascend, but {right:g} follows {left:g}",
        label="not greater than the one before",
        help="sort the boundaries and remove repetitions",
    )
