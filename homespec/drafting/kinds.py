"""Drafting: the feature that a column of single values becomes, or why it becomes none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data.columns import Array
from homespec.drafting import name_words as names
from homespec.drafting.choice import Choice, LeftOut, quoted
from homespec.drafting.days import keys, order_of
from homespec.drafting.id_choice import choose_id
from homespec.drafting.number_choice import choose_number
from homespec.drafting.seen import Seen

CATEGORIES = 20
"""At most this many whole numbers from 0 are categories."""
DAY = r"([0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4})"
CLOCK = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?( ?[AaPp][Mm])?"
DATE = rf"^{DAY}([ T]{CLOCK})?( ?(Z|UTC|[+-][0-9]{{2}}:?[0-9]{{2}}))?$"
EPOCHS = ((1e8 * 3, 5e9), (1e8 * 3 * 1e3, 5e9 * 1e3), (1e8 * 3 * 1e6, 5e9 * 1e6))
"""Seconds, milliseconds and microseconds since 1970, from 1979 to 2128."""


def choose(seen: Seen, wide: bool) -> Choice | LeftOut:
    """A feature of the column, or the reason why there is none."""
    if not seen.distinct:
        return LeftOut(seen.name, "every row is missing")
    if seen.distinct == 1 and not seen.absent:
        return LeftOut(seen.name, f"every row is {quoted(seen.texts[0])}")
    if is_time(seen):
        return LeftOut(
            seen.name,
            f"a time, {quoted(_least(seen))} to {quoted(_greatest(seen))}: future rows have"
            " later values",
        )
    if numbers_rows(seen):
        return LeftOut(seen.name, "it numbers the rows")
    if seen.numbers is None or is_category(seen):
        return choose_id(seen)
    return choose_number(seen, wide)


def is_category(seen: Seen) -> bool:
    """Whether numbers are ids or categories, by their name or because they are few, from 0."""
    if not seen.is_whole:
        return seen.is_huge
    assert seen.numbers is not None
    if seen.distinct == 2:
        return True
    if names.has(seen.name, names.IDS) or names.is_entity(seen.name):
        return not names.has(seen.name, names.AMOUNTS | {"num", "count", "cnt", "price", "age"})
    low, high = float(seen.numbers.min()), float(seen.numbers.max())
    few = CATEGORIES if not names.has(seen.name, names.CATEGORIES) else 10_000
    return low >= 0 and seen.distinct <= few and (high < 1000 or few > CATEGORIES)


def is_time(seen: Seen) -> bool:
    """Whether it is a time or a date: by type, as text, as 20240501, as a Unix time, or counted."""
    if not seen.distinct:
        return False
    if pa.types.is_temporal(seen.kind):
        return True
    if seen.is_text:
        return bool(pc.all(pc.match_substring_regex(seen.values, DATE)).as_py())
    if seen.numbers is None or not names.has(seen.name, names.TIMES):
        return False
    low, high = float(seen.numbers.min()), float(seen.numbers.max())
    if any(least <= low and high < most for least, most in EPOCHS):
        return True
    if not seen.is_whole:
        return False
    return _is_day(seen.numbers) or _is_day(seen.numbers * 100 + 1) or _counts_up(seen)


def _is_day(numbers: Array) -> bool:
    """Whether all numbers are days like 20240501, in the 20th or 21st century."""
    month, day = numbers // 100 % 100, numbers % 100
    in_range = (numbers > 19_000_000) & (numbers < 22_000_000) & (month >= 1) & (month <= 12)
    return bool((in_range & (day >= 1) & (day <= 31)).all())


def _counts_up(seen: Seen) -> bool:
    """Whether it never decreases from row to row, as the number of a day in a log."""
    return seen.distinct > 2 and not seen.absent and bool((np.diff(seen.row_numbers) >= 0).all())


def numbers_rows(seen: Seen) -> bool:
    """Whether it numbers the rows of the file."""
    if not seen.is_whole or seen.absent or seen.distinct < max(seen.rows, 3):
        return False
    steps = np.diff(seen.row_numbers)
    by_one = float((steps == 1).mean())
    return by_one > 0.9 or (names.has(seen.name, names.ROW_NUMBERS) and bool((steps > 0).all()))


def _least(seen: Seen) -> str:
    return _extreme(seen, least=True)


def _greatest(seen: Seen) -> str:
    return _extreme(seen, least=False)


def _extreme(seen: Seen, least: bool) -> str:
    if seen.numbers is not None:
        place = seen.numbers.argmin() if least else seen.numbers.argmax()
        return str(seen.values[int(place)].as_py())
    texts = seen.values.to_pylist() if seen.is_text else []
    if order := order_of(texts):
        times = keys(seen.values, order)
        return str(texts[int(times.argmin() if least else times.argmax())])
    both = pc.min_max(seen.values)
    return str(both["min" if least else "max"].as_py())
