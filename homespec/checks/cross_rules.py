"""HS226 and HS237: what a cross may be a cross of."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import did_you_mean
from homespec.diagnostics import Finding, Label, rule
from homespec.diagnostics.suggest import listing
from homespec.resolve import Resolved
from homespec.schema.models import Feature, Spec

NUMBERS = "give it an `id` feature of its own over the same column, if it holds few whole numbers"


def _crosses(spec: Spec) -> Iterator[tuple[str, int, str]]:
    """The name of each cross, with each position of `of` and the name there."""
    for name, feature in spec.features.items():
        if feature.kind == "cross":
            yield from ((name, index, other) for index, other in enumerate(feature.cross.of))


def _ids(spec: Spec) -> list[str]:
    """The features that can be crossed."""
    return [name for name in spec.features if _is_single_id(spec, name)]


def _is_single_id(spec: Spec, name: str) -> bool:
    """Whether a feature has one id in each row, in a table of its own or of another feature."""
    feature, owner = spec.features[name], spec.features.get(spec.owner(name))
    return owner is not None and owner.kind == "id" and not feature.is_list


@rule("HS226", "unknown-crossed")
def unknown_crossed(resolved: Resolved) -> Iterator[Finding]:
    """A cross is `of` a feature that is not declared.

    A cross is computed from the tensors of two `id` features. Both need a feature of their own,
    which also gives the model the embedding of each id.
    """
    spec = resolved.spec
    for name, index, other in _crosses(spec):
        if other not in spec.features:
            yield Finding(
                resolved.span(("features", name, "cross", "of", index)),
                f"`{name}` is a cross of `{other}`, which is not a feature",
                label="not declared",
                help=did_you_mean(
                    other,
                    [known for known in _ids(spec) if known not in spec.features[name].cross.of],
                    f"declare it: `{other}: {{id: {{buckets: 1000}}, dim: 8}}`",
                ),
            )


@rule("HS237", "not-crossed")
def not_crossed(resolved: Resolved) -> Iterator[Finding]:
    """A cross is `of` something other than two different ids.

    Each pair of ids has a row of the table. Numbers and vectors take too many values to have pairs,
    a list or a sequence has several values in each row, and a cross of a cross would be of three
    ids. Bucketised numbers are not crossed either; declare their column as an `id` if it holds few
    whole numbers.

    Bad:

        age: {bucketize: [20, 30, 40], dim: 4}
        age_tab: {cross: {of: [age, tab], buckets: 1000}, dim: 4}

    Good:

        age: {bucketize: [20, 30, 40], dim: 4}
        year: {id: {vocab: 120}, dim: 4, column: age}
        age_tab: {cross: {of: [year, tab], buckets: 10000}, dim: 4}
    """
    spec = resolved.spec
    for name, index, other in _crosses(spec):
        of = spec.features[name].cross.of
        if other in of[:index]:
            yield Finding(
                resolved.span(("features", name, "cross", "of", index)),
                f"`{name}` is a cross of `{other}` with itself",
                label="again",
                help=_others(spec, of),
            )
        elif other in spec.features and not _is_single_id(spec, other):
            feature = spec.features[other]
            what = "itself" if other == name else f"`{other}`, {_what(spec, feature)}"
            yield Finding(
                resolved.span(("features", name, "cross", "of", index)),
                f"`{name}` is a cross of {what}",
                label="not a single id",
                related=()
                if other == name
                else (Label(resolved.span(("features", other), key=True), "declared here"),),
                help=NUMBERS if _is_number(spec, feature) else _others(spec, of),
            )


def _is_number(spec: Spec, feature: Feature) -> bool:
    """Whether it is one number in each row."""
    kind = spec.features[feature.table].kind if feature.table else feature.kind
    return kind in ("number", "bucketize") and not feature.is_list


def _what(spec: Spec, feature: Feature) -> str:
    if feature.is_list:
        return "which has a list in each row"
    kind = spec.features[feature.table].kind if feature.table else feature.kind
    return {
        "number": "a number",
        "bucketize": "a number",
        "dense": "a vector",
        "cross": "which is a cross itself",
    }.get(kind, "a sequence")


def _others(spec: Spec, of: tuple[str, ...]) -> str:
    """The features that could be crossed instead."""
    ids = [name for name in _ids(spec) if name not in of]
    return f"it can be {listing(ids)}" if ids else "cross two features with `id`"
