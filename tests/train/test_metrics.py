"""AUC against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from homespec.train.metrics import auc


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
