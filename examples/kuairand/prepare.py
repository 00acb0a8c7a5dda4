"""From KuaiRand's CSV files to one row per impression, split by time.

    python -m examples.kuairand.prepare DIR OUT

Reads log_standard_*.csv, user_features_*.csv and video_features_basic_*.csv (also .csv.gz) of DIR,
the real ones or those of `synthesize.py`, and writes OUT/train.parquet (dates up to 2 May
2022) and OUT/valid.parquet (later ones), atomically. --valid-from and --valid-until hold
out other days: what is chosen on some should be measured on others.

Prior rates of users and videos, and what each user saw last (`histories.py`), come from
history_before_4_25.csv, which ends before the log begins (null where there is no history). KuaiRand
does not publish this file; --history-from-log makes it from the log (`early_log.py`). Past
rates (`historical_rates.py`) come from the log's days before that of the impression; both are there
once more as a vector (`standardize.py`). The published statistics files average over later
days: they leak.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from homespec.cli.errors import exit_2_on, script_needs

if __name__ == "__main__":
    script_needs("data", "numpy", "pyarrow")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from examples.kuairand.checksums import check_own, digest
from examples.kuairand.early_log import split_off
from examples.kuairand.empty_columns import empty_columns, notes
from examples.kuairand.historical_rates import with_pasts
from examples.kuairand.histories import FIRST_TAG, OF_EVENTS, first_tag, with_histories
from examples.kuairand.standardize import with_scaled
from homespec.atomic_write import replacing
from homespec.data import DataError
from homespec.data.paths import checked, reachable

VERSION = 6
"""Counts the meanings of prepared files; a change makes the old ones stale."""

NEEDED = ("log_standard_*.csv", "user_features_*.csv", "video_features_basic_*.csv")
VALID_FROM = 20220503
HISTORY_FILE = "history_before_4_25.csv"
HISTORY_END = 20220425
MISSING_CODE = -124
IMPRESSION = ("user_id", "video_id", "time_ms")
"""What identifies an impression: the log repeats some of them."""

TEXT_COLUMNS = (
    "user_active_degree", "follow_user_num_range", "fans_user_num_range", "friend_user_num_range",
    "register_days_range", "video_type", "upload_dt", "upload_type", "tag",
)  # fmt: skip
"""Columns that stay text even in a file in which all of their values look like numbers."""

PRIOR_KEYS = ("user_id", "video_id")
PRIOR_LABELS = {"long_view": "long_view", "like": "is_like"}
"""The behaviours of which there are prior rates, and their columns in the history."""
PSEUDO_VIEWS = 10.0
"""A prior rate counts this many more views, with the rate of all: few views prove little."""

BAYES_FILE = "bayes.json"
STAMP_FILE = "prepared.json"

EVENTS = pa.schema(
    [(name, pa.int64()) for name in ("user_id", "date", "pos", "video_id")]
    + [(name, pa.int8()) for name in ("long_view", "is_like")]
)
ROW_GROUP = 16_384
"""Rows that a training on files larger than its buffer reads in one piece."""


def prepare(
    source: Path, out: Path, log_days: bool = False, history_from_log: bool = False,
    valid_from: int = VALID_FROM, valid_until: int | None = None,
) -> bool:  # fmt: skip
    """Prepare the files of `source` into `out`; False if they were up to date.

    `log_days` continues the lists of earlier events into the log (`with_events`);
    `history_from_log` takes the impressions before `HISTORY_END` as the history, and not as rows.
    Dates such as 20220503 from `valid_from` to `valid_until` are held out; later ones are not read.

    Raises DataError if a file or column is missing or a split is empty.
    """
    logs, users, videos = _find(source, NEEDED)
    history = _matching(source, HISTORY_FILE)
    bayes = _matching(source, BAYES_FILE)
    sources = digest([*logs, *users, *videos, *history, *bayes])
    options = {
        "log_days": log_days, "history_from_log": history_from_log,
        "valid_from": valid_from, "valid_until": valid_until,
    }  # fmt: skip
    stamp = json.dumps({"version": VERSION, **options, "sources": sources}, indent=2) + "\n"
    if _up_to_date(out, stamp):
        return False
    check_own(
        out, ("train.parquet", "valid.parquet", BAYES_FILE, STAMP_FILE), STAMP_FILE, _own(out)
    )

    log = deduplicated(_read_all(logs, (*IMPRESSION, "date")))
    if valid_until is not None:
        log = log.filter(pc.less_equal(log["date"], valid_until))
    log, views = with_history(log, history, history_from_log)
    about_videos = with_first_tag(_features(videos, "video_id"))
    table = joined(log, _features(users, "user_id"), "user_id")
    table = joined(table, about_videos, "video_id")
    table = with_pasts(with_priors(table, views), valid_from)
    table = with_scaled(table, valid_from)
    table = with_events(table, views, about_videos, log_days, valid_from)
    train, valid = split(table, valid_from)
    names = ["train.parquet", "valid.parquet", *(p.name for p in bayes), STAMP_FILE]
    with replacing(*(out / name for name in names)) as (train_at, valid_at, *bayes_at, stamp_at):
        _write(train, train_at)
        _write(valid, valid_at)
        for copy_from, copy_to in zip(bayes, bayes_at, strict=True):
            shutil.copyfile(copy_from, copy_to)
        stamp_at.write_text(stamp)
    if not bayes:  # one of an earlier source would describe other rows
        (out / BAYES_FILE).unlink(missing_ok=True)
    return True


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(
        table, path, compression="zstd", row_group_size=ROW_GROUP, write_page_checksum=True
    )


def deduplicated(log: pa.Table) -> pa.Table:
    """The first row of each impression, in the order of the log."""
    numbered = log.append_column("row", pa.array(np.arange(log.num_rows)))
    firsts = numbered.group_by(list(IMPRESSION)).aggregate([("row", "min")])["row_min"]
    return log.take(np.sort(firsts.to_numpy()))


def joined(table: pa.Table, features: pa.Table, key: str) -> pa.Table:
    """Left join that keeps the order of `table`; a key without features gets nulls."""
    rows = pc.index_in(table[key], features[key].combine_chunks())
    for name in features.drop_columns(key).column_names:
        table = table.append_column(name, features[name].take(rows))
    return table


def with_history(
    log: pa.Table, history: list[Path], from_log: bool
) -> tuple[pa.Table, pa.Table | None]:
    """The log, and what its users saw before; None where nothing is known of that."""
    if from_log and history:
        raise DataError(f"{history[0]} is a history: leave out --history-from-log, or the file")
    if from_log:
        return split_off(log, HISTORY_END)
    if history and pc.min(log["date"]).as_py() < HISTORY_END:
        raise DataError(
            f"the log reaches before {HISTORY_END}, so {history[0]} overlaps it and would leak"
            " labels: remove one of the two"
        )
    return log, _read_all(history, ("user_id", "pos", *OF_EVENTS)) if history else None


def with_priors(table: pa.Table, views: pa.Table | None) -> pa.Table:
    """What users and videos did before the log begins: views and smoothed rates, null if unknown.

    Adds `user_prior_views`, `user_prior_long_view`, `user_prior_like`, and the same for videos.
    """
    if views is None:
        return _with_nulls(table)
    for key in PRIOR_KEYS:
        table = joined(table, _prior(views, key), key)
    return table


def _with_nulls(table: pa.Table) -> pa.Table:
    nothing = pa.nulls(table.num_rows, pa.float64())
    for key, measure in itertools.product(PRIOR_KEYS, ("views", *PRIOR_LABELS)):
        table = table.append_column(_prior_name(key, measure), nothing)
    return table


def with_first_tag(videos: pa.Table) -> pa.Table:
    """The videos with the first of their tags, which events of a history also have."""
    if "tag" not in videos.column_names:
        return videos
    return videos.append_column(FIRST_TAG, first_tag(videos["tag"]))


def with_events(
    table: pa.Table, views: pa.Table | None, videos: pa.Table, log_days: bool = False,
    valid_from: int = VALID_FROM,
) -> pa.Table:  # fmt: skip
    """What each user saw before, as lists `history_*`, oldest first; null if nothing.

    That is what is before the log; with `log_days` also the log's days before that of the
    impression, but none from `valid_from` on: no label of a held-out row becomes an input.
    """
    parts = []
    if views is not None:
        parts.append(_events(views, views["pos"], pa.nulls(len(views), pa.int64()).fill_null(0)))
    if log_days:
        missing = [name for name in OF_EVENTS if name not in table.column_names]
        if missing:
            raise DataError(f"the log lacks the column {missing[0]}, which --log-days needs")
        parts.append(_events(table, table["time_ms"], table["date"]))
    dates = table["date"].to_numpy()
    until = np.minimum(dates, valid_from) if log_days else np.ones(len(dates), np.int64)
    events = pa.concat_tables([*parts, EVENTS.empty_table()])
    return with_histories(table, events, videos, until)


def _events(views: pa.Table, pos: pa.ChunkedArray, date: pa.ChunkedArray) -> pa.Table:
    columns = {name: views[name] for name in ("user_id", *OF_EVENTS)}
    return pa.table(columns | {"pos": pos, "date": date}).select(EVENTS.names).cast(EVENTS)


def _prior(views: pa.Table, key: str) -> pa.Table:
    """Per user or video its views and its rates, drawn towards the rate of all of them."""
    sums = views.group_by(key).aggregate(
        [(c, "sum") for c in PRIOR_LABELS.values()] + [([], "count_all")]
    )
    count = sums["count_all"].cast(pa.float64())
    columns = {key: sums[key], _prior_name(key, "views"): count}
    for measure, label in PRIOR_LABELS.items():
        pseudo = pc.mean(views[label]).as_py() * PSEUDO_VIEWS
        rate = pc.divide(pc.add(sums[f"{label}_sum"], pseudo), pc.add(count, PSEUDO_VIEWS))
        columns[_prior_name(key, measure)] = rate
    return pa.table(columns)


def _prior_name(key: str, measure: str) -> str:
    return f"{key.removesuffix('_id')}_prior_{measure}"


def split(table: pa.Table, valid_from: int = VALID_FROM) -> tuple[pa.Table, pa.Table]:
    """The impressions before and from a date."""
    later = pc.greater_equal(table["date"], valid_from)
    parts = table.filter(pc.invert(later)), table.filter(later)
    if not all(part.num_rows for part in parts):
        dates = pc.min_max(table["date"]).as_py()
        raise DataError(
            f"the log's dates, {dates['min']} to {dates['max']}, leave one side of the split empty:"
            f" it needs dates before {valid_from} (train) and from then on (valid)"
        )
    return parts


def _features(paths: list[Path], key: str) -> pa.Table:
    """Side features: whole numbers as integers, codes of missing as nulls."""
    table = _read_all(paths, (key,))
    return pa.table({name: _clean(table[name]) for name in table.column_names})


def _clean(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type) and pc.all(pc.equal(pc.floor(column), column)).as_py():
        column = column.cast(pa.int64())  # a column of integers with gaps is written 1.0, 2.0
    if pa.types.is_integer(column.type):
        return pc.if_else(pc.equal(column, MISSING_CODE), None, column)
    return column


def _read_all(paths: list[Path], needed: tuple[str, ...]) -> pa.Table:
    return pa.concat_tables([_read(p, needed) for p in paths], promote_options="permissive")


def _read(path: Path, needed: tuple[str, ...]) -> pa.Table:
    types = dict.fromkeys(TEXT_COLUMNS, pa.string())
    options = pa.csv.ConvertOptions(
        column_types=types, strings_can_be_null=True, null_values=["", "NULL", "NaN", "nan"]
    )
    try:
        table = pa.csv.read_csv(path, convert_options=options)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read as CSV ({reason}); fetch it again") from None
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise DataError(f"{path} lacks the column {missing[0]}: is it KuaiRand's file?")
    return table


def _find(source: Path, patterns: Sequence[str]) -> list[list[Path]]:
    """The files of each pattern. Raises DataError that names every pattern without one."""
    files = {pattern: _matching(source, pattern) for pattern in patterns}
    if lacking := [pattern for pattern, paths in files.items() if not paths]:
        raise DataError(
            f"{source} holds no {' and no '.join(lacking)}: give the folder of KuaiRand's CSV files"
            " (KuaiRand-Pure/data), or make one with `python -m examples.kuairand.synthesize DIR`"
        )
    return list(files.values())


def _matching(source: Path, pattern: str) -> list[Path]:
    with reachable():
        paths = [*source.glob(pattern), *source.glob(f"{pattern}.gz")]
        return [checked(path) for path in sorted(paths)]


def _up_to_date(out: Path, stamp: str) -> bool:
    at = out / STAMP_FILE
    parts = (out / "train.parquet", out / "valid.parquet")
    return at.is_file() and at.read_text() == stamp and all(p.is_file() for p in parts)


def _own(out: Path) -> bool:
    """Whether an earlier preparation wrote the files of a folder."""
    try:
        stamp = json.loads((out / STAMP_FILE).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(stamp, dict) and {"version", "sources"} <= stamp.keys()


@click.command()
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--log-days", is_flag=True,
    help="Continue the lists of earlier events with the log's days before each impression.",
)  # fmt: skip
@click.option(
    "--history-from-log", is_flag=True,
    help="Take the impressions before 25 April 2022 as the history, instead of as rows.",
)  # fmt: skip
@click.option(
    "--valid-from", metavar="DATE", type=int, default=VALID_FROM, show_default=True,
    help="The first day to hold out.",
)  # fmt: skip
@click.option(
    "--valid-until", metavar="DATE", type=int,
    help="The last day to hold out; later ones are left out.  [default: that of the log]",
)  # fmt: skip
def main(
    source: Path, out: Path, log_days: bool, history_from_log: bool, valid_from: int,
    valid_until: int | None,
) -> None:  # fmt: skip
    """Join the CSV files of DIR and split them by time into OUT/train.parquet and valid.parquet."""
    with exit_2_on(DataError):
        made = prepare(source, out, log_days, history_from_log, valid_from, valid_until)
        history = history_from_log or _matching(source, HISTORY_FILE)
    rows = [f"{pq.read_metadata(out / f'{s}.parquet').num_rows:,} {s}" for s in ("train", "valid")]
    click.echo(f"{out}: {' and '.join(rows)} rows {'written' if made else 'are up to date'}")
    empty = empty_columns(out / "train.parquet")
    for note in notes(empty, None if history else source / HISTORY_FILE):
        click.echo(note)


if __name__ == "__main__":
    main()
