"""The synthetic log: deterministic, with the planted rates, structure and best AUC."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
from click.testing import CliRunner

from examples.kuairand import synthesize
from examples.kuairand.synthesize import BEHAVIOURS, COMMENT_STAY, FINISH, Log
from homespec.train import metrics


def labels(log: Log) -> dict[str, np.ndarray]:
    """What happened, by label."""
    shown = log.impressions
    derived = {
        FINISH: shown["play_time_ms"] >= shown["duration_ms"],
        COMMENT_STAY: shown["comment_stay_time"] > 0,
    }
    return {b.label: derived.get(b.label, shown.get(b.label)) for b in BEHAVIOURS}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        synthesize.write(synthesize.generate(seed, 2000), tmp_path / name)
    files = {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()}
    assert len(files) == 5
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()}
    assert files[synthesize.LOG_FILE] != (tmp_path / "c" / synthesize.LOG_FILE).read_bytes()


def test_rates(log: Log) -> None:
    done = labels(log)
    for b in BEHAVIOURS:
        assert log.truth[b.label].mean() == pytest.approx(b.rate, rel=0.1)
        noise = 5 * np.sqrt(b.rate / len(done[b.label]))
        assert done[b.label].mean() == pytest.approx(log.truth[b.label].mean(), abs=noise)
    assert max(b.rate for b in BEHAVIOURS) == 0.45
    assert min(b.rate for b in BEHAVIOURS) == 0.001


def test_labels_are_drawn_with_their_true_probabilities(log: Log) -> None:
    for label, done in labels(log).items():
        p = log.truth[label]
        likely = p > np.quantile(p, 0.7)
        for rows in (likely, ~likely):
            deviation = np.sqrt((p[rows] * (1 - p[rows])).sum())
            assert abs(done[rows].sum() - p[rows].sum()) < 5 * deviation


def test_times_agree_with_labels(log: Log) -> None:
    shown = log.impressions
    play, duration = shown["play_time_ms"], shown["duration_ms"]
    long = play >= np.minimum(duration, synthesize.LONG_VIEW_MS)
    np.testing.assert_array_equal(long, shown["long_view"])
    assert (log.truth[FINISH] <= log.truth["long_view"]).all()
    assert play.min() >= 0
    assert shown["comment_stay_time"].min() >= 0


def test_no_impression_twice_and_dates(log: Log) -> None:
    shown = log.impressions
    keys = np.stack([shown["user_id"], shown["video_id"], shown["time_ms"]])
    assert len(np.unique(keys, axis=1).T) == len(shown["date"]) == 12_000
    dates = [20220425 + d for d in range(6)] + [20220501 + d for d in range(4)]
    np.testing.assert_array_equal(np.unique(shown["date"]), dates)
    assert (np.diff(shown["time_ms"]) > 0).all()


def test_tasks_of_one_group_are_related_most(log: Log) -> None:
    log_odds = {label: np.log(p / (1 - p)) for label, p in log.truth.items() if label != FINISH}
    group = {b.label: b.group for b in BEHAVIOURS}
    within: list[float] = []
    across: list[float] = []
    for a, b in itertools.combinations(log_odds, 2):
        correlation = float(np.corrcoef(log_odds[a], log_odds[b])[0, 1])
        (within if group[a] == group[b] else across).append(correlation)
    assert np.mean(within) > np.mean(across) + 0.2
    assert min(within) > np.mean(across)


def test_no_scorer_expects_a_better_auc_than_the_true_probability(log: Log) -> None:
    p = log.truth["is_like"][:3000]
    best = metrics.auc(p, p)
    random = np.random.default_rng(0)
    for noise in (0.01, 0.1, 1.0):
        assert metrics.auc(np.log(p) + noise * random.normal(size=len(p)), p) < best
    assert metrics.auc(log.truth["is_click"][:3000], p) < best
    assert metrics.auc(np.round(p, 2), p) < best
    assert metrics.auc(p**3, p) == pytest.approx(best, abs=1e-12)


def test_bayes_json_is_what_many_draws_average_to(log: Log, tmp_path: Path) -> None:
    synthesize.write(log, tmp_path)
    written = json.loads((tmp_path / synthesize.BAYES_FILE).read_text())["auc"]
    assert list(written) == [b.label for b in BEHAVIOURS]
    held_out = log.impressions["date"] >= 20220503
    random = np.random.default_rng(0)
    for label in ("is_click", COMMENT_STAY):
        p = log.truth[label][held_out]
        draws = [metrics.auc(p, (random.random(len(p)) < p).astype(float)) for _ in range(100)]
        assert np.mean(draws) == pytest.approx(written[label], abs=4 * np.std(draws) / 10)


def test_columns_are_those_of_the_real_files(log: Log, tmp_path: Path) -> None:
    synthesize.write(log, tmp_path)
    columns = {p.name: pyarrow.csv.read_csv(p).column_names for p in tmp_path.glob("*.csv*")}
    assert columns[synthesize.LOG_FILE] == [
        "user_id", "video_id", "date", "hourmin", "time_ms", "is_click", "is_like", "is_follow",
        "is_comment", "is_forward", "is_hate", "long_view", "play_time_ms", "duration_ms",
        "profile_stay_time", "comment_stay_time", "is_profile_enter", "is_rand", "tab",
    ]  # fmt: skip
    assert columns[synthesize.USERS_FILE] == [
        "user_id", "user_active_degree", "is_lowactive_period", "is_live_streamer",
        "is_video_author", "follow_user_num", "follow_user_num_range", "fans_user_num",
        "fans_user_num_range", "friend_user_num", "friend_user_num_range", "register_days",
        "register_days_range", *(f"onehot_feat{i}" for i in range(18)),
    ]  # fmt: skip
    assert columns[synthesize.VIDEOS_FILE] == [
        "video_id", "author_id", "video_type", "upload_dt", "upload_type", "visible_status",
        "video_duration", "server_width", "server_height", "music_id", "music_type", "tag",
    ]  # fmt: skip
    assert columns[synthesize.HISTORY_FILE] == [
        "user_id",
        "video_id",
        "pos",
        "long_view",
        "is_like",
    ]


def test_history_has_at_most_fifty_views_of_a_user_in_order(log: Log) -> None:
    user, pos = log.history["user_id"], log.history["pos"]
    assert pos.max() < 50
    assert (np.diff(user) >= 0).all()
    np.testing.assert_array_equal(np.diff(pos)[np.diff(user) == 0], 1)


def test_command(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "log"), "--seed", "1", "--rows", "1000"]
    result = CliRunner().invoke(synthesize.main, arguments)
    assert result.exit_code == 0, result.output
    assert "1,000 impressions" in result.output
    assert len(list((tmp_path / "log").iterdir())) == 5
