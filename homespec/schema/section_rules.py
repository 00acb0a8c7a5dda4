"""HS108 to HS123 but HS110 and HS115: names and sections with rules of their own."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator

from homespec.diagnostics import Finding, rule
from homespec.diagnostics.suggest import listing
from homespec.schema.bad_label import bad_label
from homespec.schema.identifiers import ROOT, is_identifier
from homespec.schema.located_error import LocatedError, shown

__all__ = ["bad_label"]
"""The other rules are also here, because `pydantic_errors` finds them by the names of errors."""


@rule("HS108", "bad-name")
def bad_name(error: LocatedError) -> Iterator[Finding]:
    """A name is not a plain identifier.

    Names become identifiers in the generated code, keys of checkpoints and names of files, so they
    consist of ASCII letters, digits and `_`, begin with a letter, have at most 63 characters and
    are not Python keywords. Letters of other scripts that merely look like ASCII letters are
    refused.
    """
    name = str(error.path[-1] if error.on_key else error.value)
    if error.path[0] == "layers" and is_identifier(name):
        yield Finding(
            error.span,
            f"{shown(name)} cannot be the name of a layer: it contains an underscore",
            label="letters and digits only",
            help=f"use `{name.replace('_', '')}`: then names such as `z_LAYER_NODE` stay "
            "unambiguous",
        )
        return
    yield Finding(
        error.span,
        f"{shown(name)} cannot be a name: {_name_trouble(name)}",
        label="not an identifier",
        help=_better_name(name) + _own_column(error, name),
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
        return f"it has {len(name)} characters, but only 63 are allowed"
    if not name[0].isalpha():
        return "it does not begin with a letter"
    return "it may contain only letters, digits and `_`"


def _better_name(name: str) -> str:
    if not name.isascii():
        return "write it in ASCII letters, digits and `_`"
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:63]
    if keyword.iskeyword(plain):
        plain += "_"
    plain = f"n{plain}" if plain[:1].isdigit() else plain
    return f"use letters, digits and `_`, for example `{plain or 'name'}`"


MAX_COLUMN = 200


def _own_column(error: LocatedError, name: str) -> str:
    """How a feature or task keeps its column when its name, which was the column, changes."""
    key = {"features": "column", "tasks": "label"}.get(str(error.path[0]))
    if key is None or len(error.path) != 2 or len(name) > MAX_COLUMN:
        return ""
    if name in error.document.entries:
        return ", and give its column: `columns: {NAME: COLUMN}`"
    entry = (error.document.data or {})[str(error.path[0])]
    given = entry.get(name) if isinstance(entry, dict) else None
    if isinstance(given, dict) and {"column", "label", "sequence", "product"} & given.keys():
        return ""
    if key == "label" and not re.fullmatch(r"[^\W\d][\w.]*", name):
        return ", and rename the column in the data as well"
    plain = re.fullmatch(r"\w[\w.-]*", name) and not name.isdigit()
    return f", with `{key}: {name if plain else json.dumps(name, ensure_ascii=False)}`"


KINDS = {"features": "feature", "groups": "group", "tasks": "task"}


@rule("HS109", "reserved-name")
def reserved_name(error: LocatedError) -> Iterator[Finding]:
    """A name is already taken by homespec or torch.

    `shared`, in capitals too, is the root of the task tree, and names such as `forward`, `train` or
    `items` are attributes of the torch modules that hold tasks, groups and features as children.
    torch refuses a submodule of that name, or the attribute would be lost.
    """
    name = str(error.path[-1] if error.on_key else error.value)
    root = name.lower() == ROOT
    taken = "the root of the task tree" if root else "taken by the language or by torch"
    yield Finding(
        error.span,
        f"`{name}` is reserved: it is {taken}" + (", in any case" if root and name != ROOT else ""),
        label="reserved",
        help=f"rename it, for example to `{name}_{KINDS.get(str(error.path[0]), 'model')}`"
        + _own_column(error, name),
    )


@rule("HS117", "bad-version")
def bad_version(error: LocatedError) -> Iterator[Finding]:
    """The version of a spec is not of the form `1.2.3`.

    It is a [semantic version](https://semver.org), three numbers without a `v`, as in `2.0.0` or
    `2.0.0-rc.1`: `homespec diff` treats a greater first number as approval of a breaking change.
    """
    numbers = re.findall(r"[0-9]+", str(error.value))[:3]
    better = ".".join([str(int(number[:9])) for number in numbers] + ["0"] * (3 - len(numbers)))
    yield Finding(
        error.span,
        f"`{error.where}` is {shown(error.value)}: {error.message}",
        label="not three numbers",
        help=f"write {better}" if numbers else "write three numbers, such as 1.0.0",
    )


@rule("HS111", "feature-kind")
def feature_kind(error: LocatedError) -> Iterator[Finding]:
    """A feature has no kind, or several.

    Each feature is exactly one of `id` (embedding of an identifier or category), `bucketize`
    (embedding of a number's bucket), `number` (a number, scaled), `dense` (a vector of numbers used
    as they are), `table` (looked up in the table of another feature), `cross` (the pair of two ids)
    and `sequence` (past events).
    A field that only the events of a sequence have is `id`, `bucketize`, `table` or `dense`.
    """
    kinds = str(error.context["kinds"])
    if kinds:
        yield Finding(
            error.key_span,
            f"`{error.where}` is {kinds} at once",
            label="exactly one kind is required",
            help=f"remove all but one of {listing(kinds.split(', '))}",
        )
        return
    others = ", `number: {scale: standard}`, `dense: n`, `cross: {…}`, `sequence: {…}`"
    more = ", `dense: n`" if "with" in error.path else others
    yield Finding(
        error.key_span,
        f"`{error.where}` does not say what it is",
        label="exactly one kind is required",
        help="give exactly one of `id: {buckets: n}`, `id: {vocab: n}`, "
        f"`bucketize: [b1, b2]`, `table: feature`{more}",
    )


NO_DIM = {
    "dense": (
        "is a dense vector, which has no embedding",
        "no embedding, no `dim`",
        "remove `dim`; `project: n` would project the vector to n columns",
    ),
    "number": (
        "is a number, which has no embedding",
        "no embedding, no `dim`",
        "remove `dim`; `bucketize: {quantiles: 32}` in place of `number` would have an embedding",
    ),
    "sequence": (
        "is a sequence, which has no embedding of its own",
        "no embedding, no `dim`",
        "remove `dim`",
    ),
    "table": (
        "is looked up in another feature's table, which sets the width",
        "the table already has a width",
        "remove `dim`, or `table` for a table of its own",
    ),
}
"""Kinds of features without a `dim`, with the reason, the label and the remedy."""


@rule("HS112", "feature-dim")
def feature_dim(error: LocatedError) -> Iterator[Finding]:
    """A feature has an embedding without a width, or a width without an embedding.

    `id`, `bucketize` and `cross` features have a table and need `dim`, the width of its rows. A
    `number` or `dense` feature is used as it is and has no `dim`. The fields of a `sequence` have
    their own widths, and a `table` owned by another feature takes its width from there. The width
    of a dense feature's projection is `project`.
    """
    kind = error.context["kind"]
    if kind in NO_DIM:
        span = error.document.span((*error.path, "dim"), key=True)
        what, label, remedy = NO_DIM[kind]
        if "with" in error.path:  # where vectors are not projected, and numbers not scaled
            remedy = remedy.partition(";")[0]
        yield Finding(span, f"`{error.where}` {what}", label=label, help=remedy)
    else:
        message = f"`{error.where}` is `{kind}` and needs `dim`, the width of its embedding"
        yield Finding(error.key_span, message, label="needs `dim`", help="add `dim: 16`")


@rule("HS116", "dense-only")
def dense_only(error: LocatedError) -> Iterator[Finding]:
    """`project` or `missing` is given for a feature that is not a dense vector.

    Both describe how a `dense` vector is used. A feature that is looked up in a table has the width
    `dim`, and a row of the table for missing values.
    """
    key = error.context["key"]
    yield Finding(
        error.document.span((*error.path, key), key=True),
        f"`{error.where}` is `{error.context['kind']}`, but `{key}` is for dense vectors",
        label="only with `dense`",
        help=f"remove `{key}`",
    )


@rule("HS113", "id-kind")
def id_kind(error: LocatedError) -> Iterator[Finding]:
    """An id does not say how it is mapped to a row, or says so twice.

    `buckets: n` hashes any id into n rows; `vocab: n` takes the ids 0 to n - 1 as rows.
    """
    yield Finding(
        error.key_span,
        f"`{error.where}` must have exactly one of `buckets` and `vocab`",
        label="one of both",
        help=("remove one of them" if len(error.value) > 1 else "add one of them")
        + ": `{buckets: n}` hashes into n rows, `{vocab: n}` takes ids 0 to n - 1",
    )


@rule("HS114", "not-increasing")
def not_increasing(error: LocatedError) -> Iterator[Finding]:
    """The boundaries of a bucketised number are not in ascending order.

    A boundary that is equal to or below the previous one makes a bucket that no value reaches, and
    so a row of the table that is never trained.
    """
    index = error.context["index"]
    left, right = error.value[index - 1 : index + 1]
    yield Finding(
        error.document.span((*error.path, index)),
        f"boundaries must be in ascending order, but {right} follows {left}",
        label="not greater than the one before",
        help="sort the boundaries and remove repetitions",
    )


@rule("HS227", "repeated-text")
def repeated_text(error: LocatedError) -> Iterator[Finding]:
    """A vocabulary lists a text twice.

    The position of a text in the list is its row of the table, so it can have only one.
    """
    index = error.context["index"]
    text = error.value[index]
    yield Finding(
        error.document.span((*error.path, index)),
        f"`{text}` is in the vocabulary twice",
        label="listed before",
        help="remove one of them",
    )


@rule("HS123", "boundary-size")
def boundary_size(error: LocatedError) -> Iterator[Finding]:
    """A boundary is too large, or too close to 0, to compare numbers with it reliably.

    Numbers are compared with boundaries in float64, or in float32 where they are float32. float64
    distinguishes all whole numbers up to 2^53 (9,007,199,254,740,992). Beyond that, a number might
    fall on the wrong side of a boundary. Below 2^-126 (about 1.2e-38) float32 loses digits and then
    becomes 0, so the same number would get another bucket. Choose another unit, such as
    milliseconds instead of nanoseconds. `quantiles: n` takes numbers of any size.
    """
    index = error.context["index"]
    number = error.value[index]
    large = abs(float(number)) >= 1
    what = "not below 2^53 (9007199254740992) in size" if large else "closer to 0 than 2^-126"
    yield Finding(
        error.document.span((*error.path, index)),
        f"the boundary {shown(number)} is {what}",
        label="too large" if large else "too close to 0",
        help="choose another unit for the column, such as milliseconds instead of nanoseconds"
        if large
        else "write 0, or choose another unit for the column",
    )


@rule("HS119", "empty-gate")
def empty_gate(error: LocatedError) -> Iterator[Finding]:
    """A feature or self gate is an empty mapping.

    If you configure a gate you want it on, so a mapping switches it on, even where an outer level
    says `false`. An empty mapping configures nothing, and would switch gates on silently.

    Bad:

        gates: {self: false, task: {self: {}}}

    Good:

        gates: {self: false, task: {self: true}}
    """
    yield Finding(
        error.span,
        f"`{error.where}` is an empty mapping, which means neither on nor off",
        label="says nothing",
        help="write `true` or `false`, or remove the key to inherit the outer level's value",
    )


@rule("HS120", "encoder-kind")
def encoder_kind(error: LocatedError) -> Iterator[Finding]:
    """A sequence has no encoder, or several.

    One encoder turns the events into one vector: `mean`, `din`, `dien`, `sim` or `twin`. To use two
    encoders, declare two sequences over the same fields and columns.
    """
    kinds = str(error.context["kinds"])
    yield Finding(
        error.key_span,
        f"`{error.where}` " + (f"is {kinds} at once" if kinds else "names no encoder"),
        label="exactly one encoder is required",
        help="give exactly one of `mean`, `din`, `dien`, `sim`, `twin`, such as `encoder: din` or "
        "`encoder: {din: {hidden: [36]}}`",
    )


@rule("HS121", "search-by")
def search_by(error: LocatedError) -> Iterator[Finding]:
    """A hard search does not say what it compares, or a soft search does.

    SIM's hard search keeps the events whose `by`, an id such as the category, equals the
    candidate's. Its soft search compares the embeddings of all fields of `of`.
    """
    if error.context["search"] == "hard":
        message = f"`{error.where}` is a hard search, but does not name the field to compare"
        yield Finding(
            error.key_span,
            message,
            label="needs `by`",
            help="add `by:` with an id among the fields of `of`, or use `search: soft`",
        )
    else:
        yield Finding(
            error.document.span((*error.path, "by"), key=True),
            f"`{error.where}` is a soft search, so `by` has no effect",
            label="only for `search: hard`",
            help="remove `by`, or add `search: hard`",
        )


@rule("HS122", "sequence-column")
def sequence_column(error: LocatedError) -> Iterator[Finding]:
    """A sequence has a single `column`.

    Each field of its events has a column of its own, a list of values in each row. By default these
    columns are named after the sequence and the field: `history_video_id`.
    """
    yield Finding(
        error.document.span((*error.path, "column"), key=True),
        f"`{error.where}` is a sequence, in which each field has its own column",
        label="not for a sequence",
        help="remove it, and name columns under `sequence`: `columns: {video_id: hist_video}`",
    )
