"""A synthetic short-video log whose true probabilities are known, in KuaiRand's files.

    python -m examples.kuairand.synthesize OUT --seed 0 --rows 150000

Every behaviour is drawn, independently given the impression, with a probability that depends on
the scene and on *interests*: one that all behaviours share, one per group, one of its own. An
interest is a sum of effects of user and video features, of the ids themselves, and of an affinity
between kinds of users and kinds of videos. So tasks of one group are related more closely than
tasks of different groups, and the best AUC that any model can expect is known (`bayes.json`).
"""

from __future__ import annotations

import contextlib
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from homespec.cli.errors import exit_2_on, script_needs

if __name__ == "__main__":
    script_needs("data", "numpy", "pyarrow")

import numpy as np
import pyarrow as pa
import pyarrow.csv

from examples.kuairand import synthetic_entities
from examples.kuairand.checksums import check_own
from examples.kuairand.synthetic_entities import Array, Table
from homespec.atomic_write import replacing
from homespec.data import DataError
from homespec.train import metrics

LOG_FILE = "log_standard_4_25_to_5_04_pure.csv.gz"
USERS_FILE = "user_features_pure.csv"
VIDEOS_FILE = "video_features_basic_pure.csv"
HISTORY_FILE = "history_before_4_25.csv.gz"
BAYES_FILE = "bayes.json"

FIRST_HELD_OUT_DATE = 20220503
HISTORY_VIEWS = 50
"""Views of each user that the history keeps, at most."""
LONG_VIEW_MS = 18_000
"""A view is long when it reaches this time, or the end of a shorter video."""
FINISH = "play_time_ms >= duration_ms"
COMMENT_STAY = "comment_stay_time > 0"


@dataclass(frozen=True)
class Behaviour:
    """A behaviour of the log: how often it happens and what moves its log-odds.

    `scene`, `shared`, `group_interest` and `own` are standard deviations in log-odds; `length` is
    the effect of a video e times as long as the median one.
    """

    label: str
    group: str
    rate: float
    scene: float
    shared: float
    group_interest: float
    own: float
    length: float = 0.0


BEHAVIOURS = (
    Behaviour("is_click", "watch", 0.45, 1.0, 0.5, 0.8, 0.3),
    Behaviour("long_view", "watch", 0.317, 0.8, 0.5, 0.9, 0.3, -0.2),
    Behaviour(FINISH, "watch", 0.156, 0.2, 0.2, 0.6, 0.3, -0.9),  # given a long view
    Behaviour(COMMENT_STAY, "interaction", 0.045, 0.5, 0.4, 1.1, 0.3),
    Behaviour("is_profile_enter", "interaction", 0.019, 0.4, 0.3, 1.2, 0.3),
    Behaviour("is_like", "interaction", 0.017, 0.5, 0.5, 1.4, 0.4),
    Behaviour("is_comment", "interaction", 0.0026, 0.4, 0.4, 1.3, 0.3),
    Behaviour("is_follow", "interaction", 0.0013, 0.4, 0.4, 1.3, 0.3),
    Behaviour("is_forward", "interaction", 0.001, 0.4, 0.4, 1.2, 0.3),
    Behaviour("is_hate", "interaction", 0.001, 0.4, -0.4, 1.0, 0.5),
)

USER_SIGNAL = (
    "user_active_degree", "follow_user_num_range", "fans_user_num_range", "register_days_range",
    "onehot_feat1", "onehot_feat4", "onehot_feat9",
)  # fmt: skip
VIDEO_SIGNAL = ("tag", "upload_type", "music_type")
USER_KIND, VIDEO_KIND = "onehot_feat1", "tag"
"""The features between whose values there are affinities."""


@dataclass(frozen=True)
class Log:
    """A synthetic log, its side tables and the true probability of each behaviour, by label."""

    impressions: Table
    users: Table
    videos: Table
    history: Table
    truth: dict[str, Array]


def generate(seed: int, rows: int) -> Log:
    """Draw a log of `rows` impressions; equal arguments give equal logs."""
    user_rng, video_rng, shown_rng, taste_rng, act_rng = np.random.default_rng(seed).spawn(5)
    users = synthetic_entities.make_users(user_rng, max(50, rows // 40))
    videos = synthetic_entities.make_videos(video_rng, max(50, rows // 80))
    before = rows // 2
    counts = len(users["user_id"]), len(videos["video_id"])
    shown = synthetic_entities.make_impressions(shown_rng, before, rows, *counts)
    filled = np.nan_to_num(videos["video_duration"], nan=60_000.0).astype(np.int64)
    shown["duration_ms"] = filled[shown["video_id"]]
    truth = _probabilities(taste_rng, shown, users, videos)
    shown |= _draw_behaviours(act_rng, shown["duration_ms"], truth)
    log, truth = ({c: v[before:] for c, v in table.items()} for table in (shown, truth))
    return Log(log, users, videos, _history({c: v[:before] for c, v in shown.items()}), truth)


def _probabilities(
    rng: np.random.Generator, shown: Table, users: Table, videos: Table
) -> dict[str, Array]:
    """The true probability of each behaviour for each impression, by label."""
    groups = ["shared", *dict.fromkeys(b.group for b in BEHAVIOURS)]
    interests = {name: _Interest.draw(rng, users, videos).of(shown) for name in groups}
    scene = _standardised(rng.normal(size=synthetic_entities.TABS.max() + 1)[shown["tab"]])
    length = np.log(shown["duration_ms"] / 70_000)
    truth: dict[str, Array] = {}
    for b in BEHAVIOURS:
        own = _Interest.draw(rng, users, videos).of(shown)
        log_odds = b.scene * scene + b.shared * interests["shared"]
        log_odds += b.group_interest * interests[b.group] + b.own * own + b.length * length
        within = np.ones(len(log_odds))
        if b.label == FINISH:  # to finish is to view long, and for short videos the same thing
            within = truth["long_view"]
            log_odds[shown["duration_ms"] <= LONG_VIEW_MS] = np.inf
        truth[b.label] = within * _sigmoid(log_odds + _intercept(log_odds, within, b.rate))
    return truth


@dataclass(frozen=True)
class _Interest:
    """Effects of users [U] and videos [N], and the two sides of their affinity [U, K], [N, K]."""

    user: Array
    video: Array
    user_taste: Array
    video_taste: Array

    @classmethod
    def draw(cls, rng: np.random.Generator, users: Table, videos: Table) -> _Interest:
        return cls(
            _effects(rng, [users[c] for c in USER_SIGNAL]),
            _effects(rng, [videos[c] for c in VIDEO_SIGNAL]),
            _category_effects(rng, users[USER_KIND], 3),
            _category_effects(rng, videos[VIDEO_KIND], 3),
        )

    def of(self, shown: Table) -> Array:
        """The interest in each impression, with mean 0 and deviation 1 over the log."""
        u, v = shown["user_id"], shown["video_id"]
        affinity = (self.user_taste[u] * self.video_taste[v]).sum(axis=1) / np.sqrt(3)
        return _standardised(self.user[u] + self.video[v] + 0.7 * affinity)


def _effects(rng: np.random.Generator, columns: list[Array], id_share: float = 0.3) -> Array:
    """An effect per entity: of its features for the most part, the rest of the entity itself."""
    effects = np.stack([_category_effects(rng, column, 1)[:, 0] for column in columns])
    by_feature: Array = effects.sum(axis=0) / np.sqrt(len(columns))
    return by_feature + id_share * rng.normal(size=len(by_feature))


def _category_effects(rng: np.random.Generator, column: Array, size: int) -> Array:
    """A normal vector [rows, size] that rows of the same category (or missing) have in common."""
    values, codes = np.unique(column, return_inverse=True)
    effects: Array = rng.normal(size=(len(values), size))
    return effects[codes]


def _standardised(values: Array) -> Array:
    scaled: Array = (values - values.mean()) / values.std()
    return scaled


def _sigmoid(log_odds: Array) -> Array:
    return 1 / (1 + np.exp(-log_odds))


def _intercept(log_odds: Array, within: Array, rate: float) -> float:
    """The shift of the log-odds at which the mean of `within * sigmoid` is `rate`, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        if (within * _sigmoid(log_odds + middle)).mean() < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _draw_behaviours(rng: np.random.Generator, duration: Array, truth: dict[str, Array]) -> Table:
    """Draw what the users did: the label columns and times of the log."""
    done = {label: rng.random(len(duration)) < p for label, p in truth.items() if label != FINISH}
    finish_if_long = truth[FINISH] / truth["long_view"]
    finish = done["long_view"] & (rng.random(len(duration)) < finish_if_long)
    stay = np.ceil(rng.lognormal(9.0, 1.0, len(duration)))
    columns = {label: d.astype(np.int64) for label, d in done.items() if label != COMMENT_STAY}
    return columns | {
        "play_time_ms": _play_times(rng, duration, done["long_view"], finish),
        "comment_stay_time": np.where(done[COMMENT_STAY], stay, 0).astype(np.int64),
    }


def _play_times(rng: np.random.Generator, duration: Array, long: Array, finish: Array) -> Array:
    """Play times [ms] that agree with the labels `long` and `finish`."""
    long_from = np.minimum(duration, LONG_VIEW_MS)
    short = long_from * rng.random(len(duration)) ** 3
    short[rng.random(len(duration)) < 0.15] = 0
    longer = long_from + (duration - long_from) * rng.random(len(duration))
    finished = duration * (1 + rng.exponential(0.3, len(duration)))
    return np.floor(np.where(finish, finished, np.where(long, longer, short))).astype(np.int64)


def _history(seen: Table) -> Table:
    """What happened before the log, by user and in order, at most 50 views each."""
    order = np.argsort(seen["user_id"], kind="stable")
    user = seen["user_id"][order]
    pos = np.arange(len(user)) - np.searchsorted(user, user)
    kept = order[pos < HISTORY_VIEWS]
    table = {column: seen[column][kept] for column in ("user_id", "video_id")}
    labels = {column: seen[column][kept] for column in ("long_view", "is_like")}
    return table | {"pos": pos[pos < HISTORY_VIEWS]} | labels


def bayes_auc(log: Log) -> dict[str, float]:
    """The best expected AUC on the held-out days, by label."""
    held_out = log.impressions["date"] >= FIRST_HELD_OUT_DATE
    return {label: metrics.auc(p[held_out], p[held_out]) for label, p in log.truth.items()}


LOG_COLUMNS = (
    "user_id", "video_id", "date", "hourmin", "time_ms", "is_click", "is_like", "is_follow",
    "is_comment", "is_forward", "is_hate", "long_view", "play_time_ms", "duration_ms",
    "profile_stay_time", "comment_stay_time", "is_profile_enter", "is_rand", "tab",
)  # fmt: skip


def write(log: Log, out: Path) -> None:
    """Write the log as KuaiRand's files and bayes.json, all of them or none.

    Raises DataError where the real files are: those come without bayes.json.
    """
    zero = np.zeros(len(log.impressions["date"]), np.int64)
    impressions = log.impressions | {"profile_stay_time": zero, "is_rand": zero}
    tables = {
        LOG_FILE: {column: impressions[column] for column in LOG_COLUMNS},
        USERS_FILE: log.users,
        VIDEOS_FILE: log.videos,
        HISTORY_FILE: log.history,
    }
    check_own(out, tables, BAYES_FILE, (out / BAYES_FILE).exists())
    auc = {label: round(value, 6) for label, value in bayes_auc(log).items()}
    with replacing(*(out / name for name in (*tables, BAYES_FILE))) as (*tables_at, bayes_at):
        for table, path in zip(tables.values(), tables_at, strict=True):
            _write_csv(table, path)
        bayes_at.write_text(json.dumps({"split": "valid", "auc": auc}, indent=2) + "\n")


def _write_csv(columns: Table, path: Path) -> None:
    """Write CSV, compressed if the name says so, without the time that gzip would record."""
    arrays = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    with path.open("wb") as raw, contextlib.ExitStack() as open_files:
        file: IO[bytes] | gzip.GzipFile = raw
        if path.suffix == ".gz":
            file = open_files.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))
        pa.csv.write_csv(pa.table(arrays), file)


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Seed of all random draws.")
@click.option(
    "--rows", default=150_000, show_default=True, type=click.IntRange(1000), help="Impressions."
)
def main(out: Path, seed: int, rows: int) -> None:
    """Write a synthetic log of a short-video service, in KuaiRand's files, to the folder OUT."""
    with exit_2_on(DataError):
        write(generate(seed, rows), out)
    click.echo(f"{rows:,} impressions and the best expected AUCs ({BAYES_FILE}) are in {out}")


if __name__ == "__main__":
    main()
