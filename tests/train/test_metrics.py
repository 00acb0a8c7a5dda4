"""The measures against scikit-learn, by hand, and on many rows."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.metrics import roc_auc_score

from homespec.train import metrics
from homespec.train.metrics import Array, auc, calibration, gauc, log_loss, measure, weighted

nan = math.nan


@pytest.mark.parametrize("seed", range(10))
def test_auc_is_that_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(5, 5000))
    score = random.normal(size=n).astype(np.float32)
    score[: n // 2] = score[: n // 2].round(1)  # ties
    label = (random.random(n) < random.uniform(0.01, 0.99)).astype(np.float32)
    label[:2] = 0, 1
    assert auc(score, label) == pytest.approx(roc_auc_score(label, score), abs=1e-12)


def test_large_logits_are_no_ties() -> None:
    assert auc(np.array([40.0, 50.0, 60.0]), np.array([0.0, 0.0, 1.0])) == 1


def test_missing_labels_do_not_count() -> None:
    score = np.array([1.0, 2.0, 3.0, 9.0])
    assert auc(score, np.array([0.0, 1.0, 0.0, np.nan])) == auc(score[:3], np.array([0.0, 1, 0]))


def test_one_class_or_none_has_no_auc() -> None:
    for label in ([0.0, 0.0], [1.0, 1.0], [np.nan, np.nan], [np.nan, 1.0]):
        assert math.isnan(auc(np.array([1.0, 2.0]), np.array(label)))


def test_expected_auc_is_the_weighted_sum_over_pairs() -> None:
    random = np.random.default_rng(0)
    score, p = random.normal(size=30).round(1), random.random(30)
    won = pairs = 0.0
    for i in range(30):
        for j in set(range(30)) - {i}:
            weight = p[i] * (1 - p[j])
            won += weight * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
            pairs += weight
    assert auc(score, p) == pytest.approx(won / pairs, abs=1e-12)


# ---------------------------------------------------------------- GAUC


def gauc_by_users(score: Array, label: Array, user: Array) -> float:
    """GAUC from its definition: scikit-learn's AUC for one user after the other."""
    total = rows = 0.0
    for one in np.unique(user):
        own = (user == one) & ~np.isnan(label)
        if len(np.unique(label[own])) == 2:
            total += own.sum() * roc_auc_score(label[own], score[own])
            rows += own.sum()
    return total / rows if rows else nan


SCORES = st.sampled_from([-1e38, -1.5, -1.0, -1e-40, -0.0, 0.0, 1e-40, 0.5, 0.5000001, 1.0, 1e38])
ROWS = st.lists(st.tuples(SCORES, st.sampled_from([0.0, 1.0, nan]), st.integers(0, 3)), max_size=40)
USERS = {
    "int8": np.array([-128, -1, 0, 127], np.int8),
    "int64": np.array([-1, 0, 7, 8]),
    "far apart": np.array([-(2**63), -1, 5, 2**63 - 1]),
    "uint64": np.array([2**64 - 4, 2**64 - 3, 2**64 - 2, 2**64 - 1], np.uint64),
    "names": np.array(["a", "b", "c", "d"]),
}


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(rows=ROWS)
def test_gauc_is_that_of_scikit_learn(
    rows: list[tuple[float, float, int]], dtype: type, users: str
) -> None:
    score, label = (np.array([row[i] for row in rows], dtype) for i in (0, 1))
    user = USERS[users][np.array([row[2] for row in rows], int)]
    expected = gauc_by_users(score, label, user)
    assert gauc(score, label, user) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_gauc_weights_users_by_their_rows() -> None:
    score = np.array([1.0, 2.0, 1.0, 2.0, 3.0, 9.0])
    label = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    user = np.array([1, 1, 2, 2, 2, 3])  # AUC 1 of two rows, 0 of three; one class only
    assert gauc(score, label, user) == pytest.approx(2 / 5)


def test_gauc_of_one_user_is_the_auc() -> None:
    random = np.random.default_rng(0)
    score, label = random.normal(size=999).round(1), (random.random(999) < 0.1).astype(float)
    assert gauc(score, label, np.zeros(999, int)) == pytest.approx(auc(score, label), abs=1e-12)


def test_gauc_of_many_rows_is_little_more_than_sorting_them() -> None:
    random = np.random.default_rng(0)
    rows = 2_000_000
    score = random.normal(size=rows).astype(np.float32)
    label = (random.random(rows) < 0.2).astype(np.float32)
    user = random.integers(0, rows // 50, rows)

    def seconds(function, *args) -> float:  # type: ignore[no-untyped-def]
        started = time.thread_time()
        function(*args)
        return time.thread_time() - started

    ratios = [seconds(gauc, score, label, user) / seconds(np.lexsort, (score, user)) for _ in "abc"]
    assert min(ratios) < 2, ratios  # a sort by user and score; about 0.5 here


# ---------------------------------------------------------------- the others

LABELLED = st.lists(
    st.tuples(st.floats(-12, 12, width=32), st.sampled_from([0.0, 1.0, nan])), max_size=30
)


@given(rows=LABELLED)
def test_log_loss_and_pcoc_are_those_of_scikit_learn_and_numpy(
    rows: list[tuple[float, float]],
) -> None:
    logit, label = (np.array([row[i] for row in rows], np.float32) for i in (0, 1))
    seen = ~np.isnan(label)
    p = 1 / (1 + np.exp(-logit[seen].astype(float)))
    loss = sk.log_loss(label[seen], p, labels=[0, 1]) if seen.any() else nan
    assert log_loss(logit, label) == pytest.approx(loss, rel=1e-6, abs=1e-9, nan_ok=True)
    pcoc = p.mean() / label[seen].mean() if label[seen].any() else nan
    assert calibration(metrics.sigmoid(logit), label) == pytest.approx(pcoc, rel=1e-6, nan_ok=True)


def test_log_loss_of_huge_logits_is_finite() -> None:
    logit, label = np.array([1e4, -1e4, 1e4]), np.array([1.0, 0.0, 0.0])
    assert log_loss(logit, label) == pytest.approx(1e4 / 3)
    assert metrics.sigmoid(logit).tolist() == [1, 0, 1]


def test_a_binary_task_has_gauc_only_with_users() -> None:
    output, label = np.array([2.0, -1.0, 0.0, 5.0]), np.array([1.0, 0.0, 1.0, nan])
    plain = measure("binary", output, label)
    assert list(plain) == ["auc", "logloss", "pcoc"]
    grouped = measure("binary", output, label, np.array([1, 1, 2, 2]))
    assert grouped == {**plain, "gauc": 1.0}
    assert grouped["pcoc"] == pytest.approx(metrics.sigmoid(output[:3]).mean() / (2 / 3))


def test_a_row_of_nobody_does_not_count_for_gauc() -> None:
    output, label = np.array([2.0, -1.0, 0.0, 5.0]), np.array([1.0, 0.0, 1.0, 0.0])
    assert measure("binary", output, label, np.array([1, 1, -1, -1]))["gauc"] == 1
    assert math.isnan(measure("binary", output, label, np.array([-1, -1, -1, -1]))["gauc"])


@pytest.mark.parametrize("users", [[3, 1, -1, 3], [2**62, 7, -1, 2**62], [-(2**62), -1, 5, 6], []])
def test_users_that_lie_close_are_the_same_users(users: list[int]) -> None:
    given = np.array(users, np.int64)
    found = metrics.close_together(given)
    assert (found[:, None] == found).tolist() == (given[:, None] == given).tolist()
    assert (found == -1).tolist() == (given == -1).tolist()
    assert not len(given) or found.max() - found.min() < 2**31


def test_a_regression_is_measured_in_the_units_of_its_label() -> None:
    estimate, label = np.array([1.0, 2.0, 9.0]), np.array([1000.0, 4000.0, nan])
    found = measure("regression", estimate, label, scale=1000.0)
    assert found == {
        "mae": 1000.0,
        "rmse": pytest.approx(math.sqrt(2e6)),
        "pcoc": pytest.approx(3 / 5),
    }


def test_nothing_observed_measures_nothing() -> None:
    for kind in ("binary", "regression"):
        for rows in (0, 3):
            found = measure(kind, np.zeros(rows), np.full(rows, nan), np.zeros(rows, int))
            assert all(map(math.isnan, found.values())), (kind, found)


def test_the_metric_to_stop_by_is_a_mean_over_the_tasks_that_have_it() -> None:
    measured = {"a": {"auc": 0.6}, "b": {"auc": 0.9}, "c": {"auc": nan}, "d": {"mae": 5.0}}
    weights = {"a": 2.0, "b": 1.0, "c": 9.0, "d": 9.0}
    assert weighted(measured, "auc", weights) == pytest.approx((2 * 0.6 + 0.9) / 3)
    assert weighted(measured, "mae", weights) == 5
    assert math.isnan(weighted(measured, "gauc", weights))


# ---------------------------------------------------------------- weights


def weighted_rows(seed: int) -> tuple[Array, Array, Array, Array]:
    """Scores with ties, labels, users and weights, small whole numbers and 0 among them."""
    random = np.random.default_rng(seed)
    n = int(random.integers(20, 300))
    score = random.normal(size=n).round(1).astype(np.float32)
    label = (random.random(n) < 0.4).astype(np.float32)
    label[random.random(n) < 0.1] = nan
    return score, label, random.integers(-1, 8, n), random.integers(0, 4, n).astype(np.float32)


@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("seed", range(10))
def test_a_row_of_weight_n_counts_as_n_rows(seed: int, kind: str) -> None:
    score, label, user, weight = weighted_rows(seed)
    again = np.repeat(np.arange(len(score)), weight.astype(int))
    found = measure(kind, score, label, user, 2.0, weight)
    expected = measure(kind, score[again], label[again], user[again], 2.0)
    assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
def test_weighted_auc_is_that_of_scikit_learn(seed: int) -> None:
    score, label, _, weight = weighted_rows(seed)
    weight = weight + np.float32(0.3)
    seen = ~np.isnan(label)
    expected = roc_auc_score(label[seen], score[seen], sample_weight=weight[seen])
    assert auc(score, label, weight) == pytest.approx(expected, abs=1e-10)
    expected = sk.log_loss(label[seen], metrics.sigmoid(score[seen]), sample_weight=weight[seen])
    assert log_loss(score, label, weight) == pytest.approx(expected)


def test_measures_of_no_weight_are_of_nothing() -> None:
    zeros = np.zeros(3)
    found = measure("binary", np.ones(3), np.array([0.0, 1, 1]), np.arange(3), 1.0, zeros)
    assert all(math.isnan(value) for value in found.values())
    found = measure("regression", np.ones(3), np.ones(3), None, 1.0, zeros)
    assert all(math.isnan(value) for value in found.values())
