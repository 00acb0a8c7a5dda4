"""Drafting: groups tasks by the correlation of their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homespec.data.columns import Array

MIN_TASKS = 4
"""Minimum number of tasks for two groups of two."""
ALIKE = 0.3
"""Correlation from which groups of at least two tasks are merged."""
FAR_APART = 100.0
"""Tasks whose rates differ by this factor are kept in different groups if possible."""
MIN_CASES = 20
"""Minimum number of positive rows for a statement about where a label is positive."""
MOST = 0.9
"""A label that is 1 in a larger share of rows contains others by chance."""
WORDS = {
    "watch": "click clk view watch finish play complete effective open ctr",
    "interaction": "like follow comment forward share favorite fav collect profile enter reply"
    " retweet",
    "negative": "hate dislike report skip exit unsubscribe churn",
    "purchase": "cart buy purchase order pay conversion convert cvr install",
}
"""Names of groups, by words in the names of most of their tasks."""


@dataclass(frozen=True)
class Group:
    """Tasks by index, and the correlation of their labels."""

    members: tuple[int, ...]
    correlation: float
    """The mean correlation over its pairs."""


def groups_of(labels: Sequence[Array], rates: Sequence[float]) -> list[Group]:
    """Groups of at least two tasks with correlated labels, in order of their first tasks.

    There are none unless there are at least two.
    """
    if len(labels) < MIN_TASKS:
        return []
    likeness = correlations(labels)
    clusters: list[tuple[int, ...]] = [(place,) for place in range(len(labels))]
    while len(clusters) > 2:
        alike, one, other = _nearest(clusters, likeness, rates)
        if alike < ALIKE and min(map(len, clusters)) > 1:
            break
        merged = tuple(sorted(clusters[one] + clusters[other]))
        clusters = [c for place, c in enumerate(clusters) if place not in (one, other)]
        clusters.append(merged)
    if len(clusters) < 2 or min(map(len, clusters)) < 2:
        return []
    groups = [Group(cluster, _mean(cluster, likeness)) for cluster in sorted(clusters)]
    return groups if all(group.correlation > 0 for group in groups) else []


def correlations(labels: Sequence[Array]) -> Array:
    """Pairwise correlations of labels [T, T], if positive, relative to what their rates allow.

    In absolute terms, a rare label would hardly correlate with a frequent one that it implies.
    """
    size = len(labels)
    found = np.eye(size)
    for one in range(size):
        for other in range(one):
            found[one, other] = found[other, one] = _correlation(labels[one], labels[other])
    return found


def _correlation(one: Array, other: Array) -> float:
    known = ~(np.isnan(one) | np.isnan(other))
    one, other = one[known], other[known]
    if len(one) < 2 or one.std() == 0 or other.std() == 0:
        return 0.0
    plain = float(np.corrcoef(one, other)[0, 1])
    if plain <= 0:  # for rare labels, -1 would be chance
        return plain
    most = float(np.corrcoef(np.sort(one), np.sort(other))[0, 1])
    return plain / most


def _nearest(
    clusters: list[tuple[int, ...]], likeness: Array, rates: Sequence[float]
) -> tuple[float, int, int]:
    """The two clusters to merge next: single tasks first, then the most similar."""
    best = (-np.inf, -np.inf, 0, 0)
    singles = any(len(cluster) == 1 for cluster in clusters)
    for one in range(len(clusters)):
        for other in range(one):
            alone = min(len(clusters[one]), len(clusters[other])) == 1
            alike = float(likeness[np.ix_(clusters[one], clusters[other])].mean())
            own = [rates[place] for place in clusters[one] + clusters[other]]
            far = bool(max(own) > FAR_APART * min(own))
            score = alike - 2.0 * far - 4.0 * (singles and not alone)
            best = max(best, (score, alike, one, other))
    return best[1], best[2], best[3]


def _mean(members: tuple[int, ...], likeness: Array) -> float:
    block = likeness[np.ix_(members, members)]
    size = len(members)
    return float((block.sum() - size) / (size * (size - 1)))


def space_of(place: int, labels: Sequence[Array]) -> int | None:
    """The rarest of the other labels that is 1 wherever this one is, as a click for a purchase."""
    own = labels[place]
    found = []
    for other, values in enumerate(labels):
        known = ~(np.isnan(own) | np.isnan(values))
        one, wider = own[known] == 1, values[known] == 1
        cases = int(one.sum())
        in_range = other != place and MIN_CASES <= cases < wider.sum() < MOST * len(wider)
        if in_range and not (one & ~wider).any():
            found.append((int(wider.sum()), other))
    return min(found)[1] if found else None


def group_name(tasks: Sequence[str], taken: set[str]) -> str:
    """A name for a group of tasks that none of `taken` has."""
    hits = {
        name: sum(bool({*task.lower().split("_")} & {*known.split()}) for task in tasks)
        for name, known in WORDS.items()
    }
    name = max(hits, key=lambda each: hits[each])
    if hits[name] * 2 <= len(tasks):
        name = f"like_{tasks[0]}"[:55]
    unique, number = name, 1
    while unique.lower() in {other.lower() for other in taken}:
        number += 1
        unique = f"{name}_{number}"
    return unique
