"""Drafting: ids and categories: a vocabulary, or hash buckets with room against collisions."""

from __future__ import annotations

from typing import Any

import numpy as np

from homespec.analysis.yaml_writer import flow
from homespec.data.collisions import HashedTable, collisions
from homespec.drafting import name_words as names
from homespec.drafting.choice import Choice, LeftOut, nice, number, quoted, share, width
from homespec.drafting.seen import Seen
from homespec.schema.embedded import MAX_TEXT

SMALL = 100
"""Largest number of ids for which none should share a row."""
MOST_EACH = 100
"""Rows per id, so that ids do not share rows."""
MAX_BUCKETS = 5_000_000
ROOM = ((10_000, 10), (100_000, 4), (10**12, 2))
"""Rows per id, by the largest number of ids: with n rows per id, about 1/n of them share."""
LISTED = 8
"""Maximum number of texts that are listed."""
LIST_WIDTH = 44
"""Maximum number of characters of such a list."""
MANY_SEEN = 10
"""Minimum count of a listed text, unless the sample is all rows."""
FEW_REPEATS = 1.5
"""Rows per id below which there is little to learn about each."""
MIN_ROWS = 50
"""With fewer rows, repetitions are chance."""
SMALL_VOCAB = 1000
WORDS = 1000
"""So many texts get a vocabulary that is fitted."""
GROWTH = 1.2
"""By how much the texts of all rows may be more than those of the sample."""
EACH = tuple(range(1, 11))
"""The steps of round numbers that are close to each other."""


def choose_id(seen: Seen) -> Choice | LeftOut:
    """A feature of ids, or the reason why there is none."""
    if seen.ids is None:
        return LeftOut(seen.name, "numbers with fractions, or too large for float64, are not ids")
    if odd := seen.written_numbers:
        return LeftOut(
            seen.name, f"numbers written as {quoted(odd)}: write digits and a decimal point alone"
        )
    if _hardly_repeats(seen):
        if odd := seen.almost_numbers:
            return LeftOut(seen.name, _odd(odd))
        return LeftOut(
            seen.name,
            f"{_many(seen, 'different')}, in {seen.present:,} rows: an id that occurs once"
            " teaches nothing",
        )
    if names.is_session(seen.name) and seen.distinct > SMALL:
        return LeftOut(
            seen.name,
            "its name suggests a session: later rows have new ids; the key `within` of a task"
            " ranks the rows of a session",
        )
    options, said = _table(seen)
    return Choice(seen.name, {"id": options}, _comment(seen, said), width(seen.expected))


def _hardly_repeats(seen: Seen) -> bool:
    return seen.repeats < FEW_REPEATS and seen.present >= MIN_ROWS


def _table(seen: Seen) -> tuple[dict[str, Any], str]:
    """`vocab` or `buckets`, with a comment."""
    if seen.is_text:
        texts = _listed(seen)
        if texts:
            return {"vocab": texts}, ""
        if _are_words(seen):
            return {"vocab": _fitted(seen)}, ""
    elif (top := _top(seen)) is not None:
        return {"vocab": top + 1}, ""
    return buckets_for(seen)


def _top(seen: Seen) -> int | None:
    """The largest of whole numbers from 0 that leave few gaps; None for others."""
    ids = seen.ids
    assert ids is not None
    low, high = int(ids.min()), int(ids.max())
    if names.is_entity(seen.name):  # there will be more of them
        return None
    dense = high < SMALL_VOCAB and high < 4 * seen.distinct + 16
    settled = seen.rows == seen.total or seen.expected == seen.distinct
    return high if low >= 0 and dense and settled else None


def _listed(seen: Seen) -> list[str]:
    """The texts of a vocabulary in alphabetical order; [] if there are too many."""
    if seen.distinct > LISTED or (seen.rows < seen.total and seen.counts.min() < MANY_SEEN):
        return []
    texts = sorted(seen.texts)
    ids = seen.ids
    assert ids is not None
    if len(np.unique(ids)) < len(texts) or max(map(len, texts)) > MAX_TEXT:
        return []
    return texts if len(flow(texts)) <= LIST_WIDTH else []


def _are_words(seen: Seen) -> bool:
    """Whether texts are few and all known, so that a vocabulary can be fitted to them."""
    if seen.distinct > WORDS or names.is_entity(seen.name):
        return False
    return seen.rows == seen.total or seen.expected <= GROWTH * seen.distinct


def _fitted(seen: Seen) -> dict[str, int]:
    """How often a text has to occur to get a row, and how many rows there are.

    Rows that are held out may have all but one of a text's.
    """
    often = int(seen.counts.max()) >= MANY_SEEN
    return {"min_count": 2 if often else 1, "max_size": nice(GROWTH * seen.expected, EACH)}


def buckets_for(seen: Seen) -> tuple[dict[str, Any], str]:
    """Rows with room against collisions, and the number of the sample's ids that share one."""
    assert seen.ids is not None
    ids = np.unique(seen.ids)
    rows = _first_guess(seen, ids)
    few = 0 if len(ids) <= SMALL else 1.5 / _room(seen.expected) * len(ids)
    while rows < MOST_EACH * len(ids) and collisions(ids, rows).sharing > few:
        rows = nice(rows + 1, EACH)
    table = HashedTable.of([ids], rows)
    if table.now.rows < 0.5 * table.now.expected and (better := table.unpatterned()):
        rows = better.buckets
    sharing = collisions(ids, rows).sharing
    said = f", {share(sharing, len(ids))} share a row" if sharing else ""
    return {"buckets": rows}, said


def _first_guess(seen: Seen, ids: np.ndarray[Any, Any]) -> int:
    """Ten rows per id, or fewer for many ids; for whole numbers with few gaps, their range."""
    low, high, many = int(ids.min()), int(ids.max()), seen.expected
    if not seen.is_text and low >= 0 and high < 3 * many:
        return min(MAX_BUCKETS, nice(1.1 * max(high + 1, many)))
    factor = _room(many)
    return min(MAX_BUCKETS, max(10, nice(factor * many)))


def _room(ids: int) -> int:
    return next(rows for most, rows in ROOM if ids <= most)


def _many(seen: Seen, what: str) -> str:
    """The number of values; for a sample, also the expected number in all rows."""
    about = f", about {seen.expected:,} in all rows" if seen.expected > seen.distinct else ""
    return f"{seen.distinct:,} {what}{about}"


def _comment(seen: Seen, said: str) -> str:
    if seen.is_binary and seen.numbers is not None:
        ones = int(seen.counts[int(seen.numbers.argmax())])
        return "; ".join([f"0 and 1, {share(ones, seen.rows)} are 1", *_absent(seen)])
    what = "texts" if seen.is_text else "ids"
    parts = [f"{_many(seen, what if seen.distinct > 1 else what[:-1])}{said}"]
    top = int(seen.counts.max())
    if top >= 0.5 * seen.rows:
        parts.append(f"{share(top, seen.rows)} {_value(seen)}")
    if odd := seen.almost_numbers:
        parts.append(_odd(odd))
    return "; ".join([*parts, *_absent(seen)])


def _odd(text: str) -> str:
    return f"numbers but for {quoted(text)}: null in its place makes them such"


def _absent(seen: Seen) -> list[str]:
    return [f"{share(seen.absent, seen.rows)} missing"] if seen.absent else []


def _value(seen: Seen) -> str:
    if seen.numbers is None:
        return quoted(seen.texts[0])
    return f"are {number(float(seen.numbers[int(seen.counts.argmax())]))}"
