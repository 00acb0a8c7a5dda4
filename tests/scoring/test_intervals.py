"""Confidence intervals against their definitions, scipy's bootstrap, and how often they hold."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from homespec.scoring import intervals
from homespec.scoring.intervals import (
    NONE,
    auc_interval,
    auc_variance,
    cluster_numbers,
    gauc_interval,
    log_interval,
    log_odds_interval,
    mean_interval,
    ratio,
)
from homespec.train import metrics
from homespec.train.metrics import Array

nan = math.nan


def scores_of(seed: int, count: int, decimals: int = 1) -> tuple[Array, Array]:
    """Scores with ties, and labels that go with them."""
    random = np.random.default_rng(seed)
    label = (random.random(count) < 0.3).astype(np.float32)
    score = (random.normal(size=count) + label).round(decimals).astype(np.float32)
    return score, label


def clusters_of(seed: int, count: int) -> Array:
    return np.random.default_rng(seed).integers(0, count // 5, count)


# ---------------------------------------------------------------- AUC


def delong(score: Array, label: Array) -> float:
    """The variance by the paper's words: kernel, structural components, their variances."""
    x, y = score[label > 0], score[label == 0]
    kernel = (y[None] < x[:, None]) + 0.5 * (y[None] == x[:, None])
    v10, v01 = kernel.mean(1), kernel.mean(0)
    return float(v10.var(ddof=1) / len(x) + v01.var(ddof=1) / len(y))


def obuchowski(score: Array, label: Array, clusters: Array) -> float:
    """The variance of clustered rows by the paper's words, one cluster after the other."""
    x, y = score[label > 0], score[label == 0]
    kernel = (y[None] < x[:, None]) + 0.5 * (y[None] == x[:, None])
    auc, (m, n) = kernel.mean(), kernel.shape
    cx, cy = clusters[label > 0], clusters[label == 0]
    s10 = s01 = s11 = 0.0
    for one in np.unique(clusters):
        of_x, of_y = cx == one, cy == one
        dx = kernel.mean(1)[of_x].sum() - of_x.sum() * auc
        dy = kernel.mean(0)[of_y].sum() - of_y.sum() * auc
        s10, s01, s11 = s10 + dx * dx, s01 + dy * dy, s11 + dx * dy
    i10, i01, both = (len(np.unique(each)) for each in (cx, cy, clusters))
    s10, s01 = s10 * i10 / ((i10 - 1) * m), s01 * i01 / ((i01 - 1) * n)
    return s10 / m + s01 / n + 2 * s11 * both / (both - 1) / (m * n)


@pytest.mark.parametrize("seed", range(8))
def test_the_variance_is_that_of_delong(seed: int) -> None:
    score, label = scores_of(seed, 60 + 40 * seed)
    value, variance = auc_variance(score, label)
    assert value == pytest.approx(metrics.auc(score, label), abs=1e-12)
    assert variance == pytest.approx(delong(score, label), rel=1e-9)
    alone = np.random.default_rng(seed).permutation(len(score))
    assert auc_variance(score, label, alone)[1] == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_the_variance_of_clusters_is_that_of_obuchowski(seed: int) -> None:
    score, label = scores_of(seed, 60 + 40 * seed)
    clusters = clusters_of(seed, len(score))
    variance = auc_variance(score, label, cluster_numbers(clusters))[1]
    assert variance == pytest.approx(obuchowski(score, label, clusters), rel=1e-9)


def test_the_interval_is_on_the_scale_of_log_odds() -> None:
    score, label = scores_of(0, 300)
    value, variance = auc_variance(score, label)
    low, high = auc_interval(score, label)
    odds = [math.log(each / (1 - each)) for each in (low, value, high)]
    reach = 1.959963984540054 * math.sqrt(variance) / (value * (1 - value))
    assert odds == pytest.approx([odds[1] - reach, odds[1], odds[1] + reach])


@pytest.mark.parametrize(
    ("score", "label"),
    [
        ([], []),
        ([1, 2, 3], [1, 1, 1]),
        ([1, 2, 3], [0, 0, 1]),  # one positive
        ([1, 2, 3, 4], [0, 0, 1, 1]),  # AUC 1: no spread to go by
    ],
)
def test_an_auc_without_a_variance_has_no_interval(score: list[int], label: list[int]) -> None:
    found = auc_interval(np.array(score, np.float32), np.array(label, np.float32))
    assert all(map(math.isnan, found))


# ---------------------------------------------------------------- against scipy's bootstrap


def measured(metric: str, score: Array, label: Array, users: Array) -> float:
    scale = 1.0
    kind = "regression" if metric in ("mae", "rmse") else "binary"
    return metrics.measure(kind, score, label, users, scale)[metric]


@pytest.mark.parametrize("metric", ["auc", "gauc", "logloss", "pcoc", "mae", "rmse"])
def test_intervals_of_users_are_those_of_the_bootstrap(metric: str) -> None:
    """Users are drawn with all of their rows: with what scipy's percentile method gives."""
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(250), random.integers(2, 9, 250))
    taste = random.normal(size=250)[users]
    label = (random.random(len(users)) < 1 / (1 + np.exp(1 - taste))).astype(np.float32)
    score = (0.7 * taste + 0.5 * random.normal(size=len(users)) - 1).astype(np.float32)
    own = [np.flatnonzero(users == user) for user in range(250)]

    def statistic(drawn: Array) -> float:
        at = np.concatenate([own[user] for user in drawn])
        again = np.repeat(np.arange(250), [len(own[user]) for user in drawn])  # each draw is one
        return measured(metric, score[at], label[at], again)

    kind = "regression" if metric in ("mae", "rmse") else "binary"
    found = intervals.intervals(kind, score, label, users)[metric]
    wanted = stats.bootstrap(
        (np.arange(250),), statistic, n_resamples=2000, vectorized=False, method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    width = wanted.high - wanted.low
    assert found == pytest.approx(tuple(wanted), abs=0.12 * width)


def test_rows_of_one_user_say_less_than_as_many_of_many() -> None:
    random = np.random.default_rng(3)
    users = np.repeat(np.arange(60), 20)
    label = (random.random(60)[users] > 0.5).astype(np.float32)  # of a user all the same
    score = (random.normal(size=60)[users] + label).astype(np.float32)
    rows, clustered = auc_interval(score, label), auc_interval(score, label, users)
    assert clustered[1] - clustered[0] > 3 * (rows[1] - rows[0])


# ---------------------------------------------------------------- how often they hold


def held(draw: Callable[[np.random.Generator], tuple[float, float]], true: float) -> float:
    """How many of 600 intervals hold the true value."""
    found = [draw(np.random.default_rng(seed)) for seed in range(600)]
    return float(np.mean([low <= true <= high for low, high in found]))


def test_95_of_100_intervals_of_auc_hold_it() -> None:
    true = float(stats.norm.cdf(1 / math.sqrt(2)))  # two normal distributions, 1 apart

    def draw(random: np.random.Generator) -> tuple[float, float]:
        label = np.repeat([0.0, 1.0], [120, 40])
        return auc_interval((random.normal(size=160) + label).astype(np.float32), label)

    assert 0.925 <= held(draw, true) <= 0.975


def test_95_of_100_intervals_of_clustered_auc_hold_it() -> None:
    """Rows of a user share half of the variance: intervals of rows would hold it too seldom."""
    true = float(stats.norm.cdf(1 / math.sqrt(2)))
    users = np.repeat(np.arange(50), 6)
    label = np.repeat([0.0, 1.0], [200, 100])[np.random.default_rng(0).permutation(300)]

    def scores(random: np.random.Generator) -> Array:
        parts = random.normal(size=50)[users] + random.normal(size=300)
        return (parts / math.sqrt(2) + label).astype(np.float32)

    assert 0.92 <= held(lambda random: auc_interval(scores(random), label, users), true) <= 0.975


def test_95_of_100_intervals_of_a_mean_hold_it() -> None:
    assert 0.92 <= held(lambda random: mean_interval(random.exponential(2, 200)), 2.0) <= 0.97


# ---------------------------------------------------------------- the parts


def test_the_ratio_of_a_mean_has_the_variance_of_the_mean() -> None:
    values = np.random.default_rng(0).exponential(size=50)
    value, variance = ratio(values, np.ones(50))
    assert value == pytest.approx(values.mean())
    assert variance == pytest.approx(values.var(ddof=1) / 50)


def test_users_that_are_not_known_are_one_each() -> None:
    assert cluster_numbers(np.array([7, -1, 7, -1, -1])).tolist() == [0, 1, 0, 2, 3]
    assert cluster_numbers(np.array([], np.int64)).tolist() == []


def test_gauc_counts_users_that_have_one() -> None:
    score = np.array([1, 2, 1, 2, 5, 6, 7], np.float32)
    label = np.array([0, 1, 1, 0, 1, 0, 1], np.float32)
    users = np.array([1, 1, 2, 2, 3, -1, -1])
    assert gauc_interval(score, label, users) == log_odds_interval(
        *ratio(np.array([2.0, 0.0]), np.array([2.0, 2.0]))
    )


@pytest.mark.parametrize("variance", [0.0, nan])
def test_what_has_no_spread_has_no_interval(variance: float) -> None:
    assert log_interval(0.5, variance) is NONE
    assert log_odds_interval(0.5, variance) is NONE


def test_intervals_stay_where_numbers_can_be() -> None:
    assert log_interval(1e-9, 1.0)[0] >= 0
    assert 0 <= log_odds_interval(0.999, 0.01)[0] < log_odds_interval(0.999, 0.01)[1] <= 1


@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_nothing_observed_has_no_interval(kind: str, rows: int) -> None:
    users = np.zeros(rows, np.int64)
    for given in (None, users):
        found = intervals.intervals(kind, np.zeros(rows), np.full(rows, nan), given)
        names = metrics.measure(kind, np.zeros(rows), np.full(rows, nan), given).keys()
        assert found.keys() == set(names)
        assert all(math.isnan(each) for own in found.values() for each in own)


@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("wrong", [nan, math.inf, -math.inf])
def test_a_mean_that_is_not_finite_has_no_interval(kind: str, wrong: float) -> None:
    """And no warning, which users could do nothing about."""
    output = np.array([wrong, 1, 2, -1, 0.5], np.float32)
    label, users = np.array([1, 0, 1, 0, 1], np.float32), np.array([1, 1, 2, 2, 3])
    for given in (None, users):
        found = intervals.intervals(kind, output, label, given)
        for metric in ("logloss",) if kind == "binary" else ("mae", "rmse", "pcoc"):
            assert all(map(math.isnan, found[metric])), metric


# ---------------------------------------------------------------- weights


def test_equal_weights_change_no_interval() -> None:
    score, label = scores_of(0, 400)
    users = clusters_of(0, 400)
    for kind in ("binary", "regression"):
        plain = intervals.intervals(kind, score, label, users)
        found = intervals.intervals(kind, score, label, users, 1.0, np.full(400, 2.5))
        for metric, interval in plain.items():
            assert found[metric] == pytest.approx(interval, rel=1e-9), metric


@pytest.mark.parametrize("metric", ["auc", "logloss", "gauc", "pcoc"])
def test_weighted_intervals_hold_as_often_as_they_say(metric: str) -> None:
    """Of samples of rows with weights; the truth is measured on very many of them."""
    random = np.random.default_rng(1)

    def drawn(count: int) -> tuple[Array, Array, Array, Array]:
        weight = random.exponential(size=count) + 0.2
        label = (random.random(count) < 0.4).astype(np.float64)
        score = random.normal(size=count) + label * (1 + 0.5 * (weight > 1))
        return score, label, np.arange(count) // 5, weight

    score, label, users, weight = drawn(300_000)
    truth = metrics.measure("binary", score, label, users, 1.0, weight)[metric]
    held = 0
    for _ in range(200):
        score, label, users, weight = drawn(400)
        low, high = intervals.intervals("binary", score, label, users, 1.0, weight)[metric]
        held += low <= truth <= high
    assert 178 <= held <= 199
