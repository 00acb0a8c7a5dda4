"""HS523: the weights of lists."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.data.profiled import ProfiledData
from homespec.diagnostics import Finding, Severity, rule


@rule("HS523", "negative-weights", Severity.WARNING)
def negative_weights(data: ProfiledData) -> Iterator[Finding]:
    """Some weights of a weighted mean are negative.

    A mean divides by the sum of the weights, which may then be close to 0, so that a few rows get
    embeddings thousands of times as large as any other. For weights that push in both directions,
    such as 1 for a tag that a user likes and -1 for one that they hide, use `pool: sum`.
    """
    for part, feature in data.features():
        tensor = feature.tensor
        if tensor.kind == "weight" and tensor.pool == "mean" and feature.low < 0:
            yield Finding(
                data.at_column(tensor),
                f"{part.name}: `{tensor.column}` has the weight {feature.low:g}, and a mean divides"
                " by the sum of the weights",
                label="negative in places",
                help="write `pool: sum`, or use weights of 0 or more",
            )
