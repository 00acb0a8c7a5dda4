"""Write impressions.csv, eight days of an invented video app, and today.csv, the ninth.

A row is a video that was shown to a user. Tastes of users and the appeal of videos are drawn first;
what users do follows from them by chance. So there is something to learn, and a limit to it.
The same seed gives the same rows.
"""

from __future__ import annotations

import csv
from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DAYS, ROWS_A_DAY, USERS, VIDEOS, AUTHORS = 9, 4_000, 400, 400, 100
CATEGORIES = ["comedy", "cooking", "diy", "gaming", "music", "news", "pets", "sports", "travel"]
TABS = ["feed", "following", "search"]
HISTORY = 10
"""A history holds this many videos: the last ones that the user clicked on."""
HEADER = (
    "time day user_id video_id author_id categories duration_s tab history"
    " is_click play_s is_like is_comment is_share is_follow"
)


def chance(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability of a logit."""
    return 1 / (1 + np.exp(-logit))


def rows(seed: int = 0) -> Iterator[list[object]]:
    """The rows in the order of their times, with the columns of HEADER."""
    random = np.random.default_rng(seed)
    count = DAYS * ROWS_A_DAY

    # the world: videos, and users with tastes and habits
    author = random.integers(AUTHORS, size=VIDEOS)
    first, second = random.integers(len(CATEGORIES), size=(2, VIDEOS))
    duration = np.exp(random.normal(3.4, 0.7, VIDEOS)).clip(5, 300).round()
    appeal, warmth = random.normal(0, 0.8, (2, VIDEOS))
    taste, bond = random.normal(0, 1, (2, USERS, len(CATEGORIES)))
    eager, kind, chatty = random.normal(0, [[0.6], [0.9], [0.9]], (3, USERS))

    # what is shown: a few videos and users make most of the rows
    user = random.choice(USERS, count, p=random.dirichlet(np.ones(USERS)))
    video = random.choice(VIDEOS, count, p=random.dirichlet(np.ones(VIDEOS)))
    tab = random.choice(3, count, p=[0.7, 0.2, 0.1])
    moment = np.sort(random.integers(DAYS * 86_400, size=count))

    # what users do: a click starts the video, and everything else needs a click
    likes, ties = (of[user, first[video]] + 0.5 * of[user, second[video]] for of in (taste, bond))
    interest = likes + appeal[video] + eager[user] + np.array([0, 0.4, 0.8])[tab]
    warm = ties + warmth[video] + np.array([0, 0.5, -0.5])[tab]
    drawn = random.random((5, count))
    click = drawn[0] < chance(interest - 0.7)
    share_played = np.exp(random.normal(0.5 * interest, 0.8)) * (20 / duration[video]) ** 0.6
    played = np.where(click, duration[video] * share_played.clip(0, 1.5), 0).round(1)
    like = click & (drawn[1] < chance(warm + kind[user] - 2.0))
    comment = click & (drawn[2] < chance(warm + chatty[user] - 3.0))
    share = click & (drawn[3] < chance(warm + 0.7 * kind[user] - 3.2))
    follow = click & (drawn[4] < chance(warm + kind[user] + 2 * (tab == 1) - 4.0))

    clicked: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=HISTORY))
    for i, (u, v) in enumerate(zip(user.tolist(), video.tolist(), strict=True)):
        day, second_of_day = divmod(int(moment[i]), 86_400)
        hour, minute = divmod(second_of_day // 60, 60)
        about = sorted({CATEGORIES[first[v]], CATEGORIES[second[v]]})
        yield [
            f"2026-03-{day + 1:02} {hour:02}:{minute:02}", day + 1, u, v, author[v],
            "|".join(about), int(duration[v]), TABS[tab[i]], " ".join(map(str, clicked[u])),
            int(click[i]), played[i], *(int(did[i]) for did in (like, comment, share, follow)),
        ]  # fmt: skip
        if click[i]:
            clicked[u].append(v)


def main() -> None:
    """Write both files."""
    for is_today, part in groupby(rows(), key=lambda row: row[1] == DAYS):
        path, written = Path("today.csv" if is_today else "impressions.csv"), list(part)
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADER.split(), *written])
        print(f"wrote {path}: {len(written):,} impressions")


if __name__ == "__main__":
    main()
