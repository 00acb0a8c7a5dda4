"""From single views to lists of what each user saw before an impression, oldest first."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data.columns import Array

MAX_EVENTS = 50
"""Events of a row that are kept, the latest: as many as the published history has of a user."""
FIRST_TAG = "first_tag"
OF_EVENTS = ("video_id", "long_view", "is_like")
"""The columns of each view."""
OF_VIDEOS = {
    "author_id": "author_id",
    FIRST_TAG: "tag",
    "music_type": "music_type",
    "video_duration": "duration_ms",
}
"""Attributes of the videos that events get, and their names there."""
DAY = 10**9
"""More than any date as a number."""


def first_tag(tags: pa.ChunkedArray) -> pa.ChunkedArray:
    """The first of tags written `39,68`, as a number if all are; null where there is none."""
    first = pc.replace_substring_regex(tags, ",.*", "")
    try:
        return first.cast(pa.int64())
    except pa.ArrowInvalid:
        return first


def with_histories(table: pa.Table, views: pa.Table, videos: pa.Table, until: Array) -> pa.Table:
    """`table` with lists `history_*` of what its users saw before the date `until` [N].

    `views` has user_id, date (0 for what is before the log), pos (the order within a date) and the
    columns of `OF_EVENTS`; `videos` has video_id. A user without views has null lists; unknown
    columns of an event's video are null within the list.
    """
    views = views.sort_by([(name, "ascending") for name in ("user_id", "date", "pos")])
    at = _last_before(views, table["user_id"].to_numpy(), until)
    videos_of_views = pc.index_in(views["video_id"], videos["video_id"].combine_chunks())
    for name in OF_EVENTS:
        table = table.append_column(f"history_{name}", at.lists(views[name]))
    for attribute, name in OF_VIDEOS.items():
        if attribute in videos.column_names:
            events = videos[attribute].take(videos_of_views)
            table = table.append_column(f"history_{name}", at.lists(events))
    return table


class _Ranges:
    """Stretches of the views, one for each row."""

    def __init__(self, low: Array, high: Array) -> None:
        sizes = high - low
        self.ends = np.cumsum(sizes)
        place = np.arange(sizes.sum()) - np.repeat(self.ends - sizes, sizes)
        self.index = pa.array(np.repeat(low, sizes) + place)
        self.offsets = pa.array(np.append(0, self.ends), pa.int32())
        self.empty = pa.array(sizes == 0)

    def lists(self, values: pa.ChunkedArray) -> pa.ListArray:
        """The values of each stretch, null where it is empty."""
        taken = values.combine_chunks().take(self.index)
        return pa.ListArray.from_arrays(self.offsets, taken, mask=self.empty)


def _last_before(views: pa.Table, users: Array, until: Array) -> _Ranges:
    keys = views["user_id"].to_numpy() * DAY + views["date"].to_numpy()
    low = np.searchsorted(keys, users * DAY)
    high = np.searchsorted(keys, users * DAY + until)
    return _Ranges(np.maximum(low, high - MAX_EVENTS), high)
