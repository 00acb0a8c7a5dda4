"""HS230 to HS236: the fields of sequences, and the options of their encoders."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import did_you_mean
from homespec.diagnostics import Finding, Label, rule
from homespec.diagnostics.suggest import listing
from homespec.resolve import Resolved
from homespec.schema.models import Feature, Sequence, Spec

EMBEDDED = ("id", "bucketize", "table")
"""The kinds of features that have a table."""


def _sequences(spec: Spec) -> Iterator[tuple[str, Sequence]]:
    for name, feature in spec.features.items():
        if feature.kind == "sequence":
            yield name, feature.sequence


def _path(name: str, *more: str | int) -> tuple[str | int, ...]:
    return ("features", name, "sequence", *more)


def _candidates(spec: Spec) -> list[str]:
    """The features that an event can share with the candidate."""
    return [name for name, feature in spec.features.items() if _is_field(feature)]


def _is_field(feature: Feature) -> bool:
    return feature.kind in EMBEDDED and not feature.is_list


@rule("HS230", "unknown-event-field")
def unknown_event_field(resolved: Resolved) -> Iterator[Finding]:
    """A sequence is `of` a feature that is not declared.

    `of` names features of the candidate. An event has the same fields, looked up in the same
    tables. Declare fields that only events have under `with`.
    """
    spec = resolved.spec
    for name, sequence in _sequences(spec):
        for index, field in enumerate(sequence.of):
            if field not in spec.features:
                yield Finding(
                    resolved.span(_path(name, "of", index)),
                    f"`{name}` is a sequence of `{field}`, which is not a feature",
                    label="not declared",
                    help=did_you_mean(
                        field,
                        _candidates(resolved.spec),
                        f"declare it under `features`, or under `with` of `{name}` if the "
                        "candidate does not have it",
                    ),
                )


@rule("HS231", "not-a-field")
def not_a_field(resolved: Resolved) -> Iterator[Finding]:
    """A sequence is `of` a number, a dense feature, a list or a sequence.

    A field of an event is an id or a bucketised number, which is looked up in a table. A sequence
    cannot be made of another sequence, nor of itself. An event has one value in each field. If the
    candidate has a list, give the event a field of its own that uses the same table: `with: {tag:
    {table: tags}}`.
    """
    spec = resolved.spec
    for name, sequence in _sequences(spec):
        for index, field in enumerate(sequence.of):
            if field in spec.features and not _is_field(spec.features[field]):
                feature = spec.features[field]
                kind = "list" if feature.is_list else feature.kind
                what = "itself" if field == name else f"`{field}`, a {kind} feature"
                yield Finding(
                    resolved.span(_path(name, "of", index)),
                    f"`{name}` is a sequence of {what.replace('a sequence feature', 'a sequence')}",
                    label="several values" if feature.is_list else "neither id nor bucketize",
                    related=()
                    if field == name
                    else (Label(resolved.span(("features", field), key=True), "declared here"),),
                    help=f"fields can be {listing(known)}"
                    if (known := _candidates(spec))
                    else "write its fields as features of their own, with `id` or `bucketize`",
                )


@rule("HS232", "repeated-field")
def repeated_field(resolved: Resolved) -> Iterator[Finding]:
    """Two fields of an event have the same name.

    A feature appears twice in `of`, or `with` declares a field with the name of one of them.
    Tensors such as `history.video_id` and the names of weights are made from these names.
    """
    for name, sequence in _sequences(resolved.spec):
        for index, field in enumerate(sequence.of):
            if field in sequence.of[:index]:
                yield Finding(
                    resolved.span(_path(name, "of", index)),
                    f"`{name}` is a sequence of `{field}` twice",
                    label="again",
                    help="remove it",
                )
        for field in sequence.with_:
            if field in sequence.of:
                first = resolved.span(_path(name, "of", sequence.of.index(field)))
                yield Finding(
                    resolved.span(_path(name, "with", field), key=True),
                    f"`{name}` has two fields called `{field}`",
                    label="under `with`",
                    related=(Label(first, "under `of`"),),
                    help="rename the one under `with`; `columns` says which column it reads",
                )


@rule("HS233", "search-field")
def search_field(resolved: Resolved) -> Iterator[Finding]:
    """A hard search compares a field that the candidate lacks, or one that is not an id.

    `by` names a field of `of`. The search keeps the events in which this field equals the
    candidate's.
    """
    spec = resolved.spec
    for name, sequence in _sequences(spec):
        by = sequence.encoder.sim.by if sequence.encoder.kind == "sim" else ""
        known = [field for field in sequence.of if field in spec.features]
        ids = [field for field in known if spec.features[spec.owner(field)].kind == "id"]
        if by and by not in ids:
            reason = "is not an id" if by in sequence.of else "is not among the fields of `of`"
            otherwise = "add an id, such as the category, to the fields of `of`"
            yield Finding(
                resolved.span(_path(name, "encoder", "sim", "by")),
                f"`{name}` searches by `{by}`, which {reason}",
                label="cannot be compared",
                help=did_you_mean(by, ids, f"it can be {listing(ids)}" if ids else otherwise),
            )


@rule("HS234", "unknown-event-column")
def unknown_event_column(resolved: Resolved) -> Iterator[Finding]:
    """`columns` names a field that events do not have.

    Its keys are the fields of the sequence, those of `of` and of `with`; its values are columns.
    """
    for name, sequence in _sequences(resolved.spec):
        for field in sequence.columns:
            if field not in sequence.fields:
                fields = list(sequence.fields)
                yield Finding(
                    resolved.span(_path(name, "columns", field), key=True),
                    f"`{name}` has a column for `{field}`, which is not one of its fields",
                    label="no field",
                    help=did_you_mean(field, fields, f"fields are {listing(fields)}"),
                )


@rule("HS235", "top-of-too-few")
def top_of_too_few(resolved: Resolved) -> Iterator[Finding]:
    """A search keeps more events than there are.

    The first stage of SIM and TWIN picks `top` of `max_len` events. If `top` is `max_len` or more,
    there is nothing to search. Use `din`, or a greater `max_len`.
    """
    for name, sequence in _sequences(resolved.spec):
        kind = sequence.encoder.kind
        if kind not in ("sim", "twin"):
            continue
        top = getattr(sequence.encoder, kind).top
        if top > sequence.max_len:
            place = _path(name, "encoder", kind, "top")
            place = place if resolved.has(place) else _path(name, "encoder")
            yield Finding(
                resolved.span(place),
                f"`{name}` keeps the best {top} of {sequence.max_len} events",
                label=f"`top` is {top}",
                related=(Label(resolved.span(_path(name, "max_len")), "this many events"),),
                help=f"give a `top` of at most {sequence.max_len}, or a greater `max_len`",
            )


@rule("HS236", "indivisible-heads")
def indivisible_heads(resolved: Resolved) -> Iterator[Finding]:
    """The width of an attention is not divisible by its number of heads.

    Every head gets the same share of `width`. By default, `width` is the candidate's width (that of
    all fields of `of`), rounded up to a multiple of `heads`.
    """
    for name, sequence in _sequences(resolved.spec):
        kind = sequence.encoder.kind
        if kind not in ("sim", "twin"):
            continue
        options = getattr(sequence.encoder, kind)
        width, heads = options.width, options.heads
        if width % heads:
            yield Finding(
                resolved.span(_path(name, "encoder", kind, "width")),
                f"`{name}` divides a width of {width} by {heads} heads",
                label=f"{width} / {heads} is not a whole number",
                help=f"use `width: {-(-width // heads) * heads}`, or another number of `heads`",
            )
