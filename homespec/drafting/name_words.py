"""Drafting: interprets the name of a column; the words are those of public ranking logs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from homespec.schema.identifiers import NAME, is_identifier, is_reserved
from homespec.source.scalars import resolve

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def _of(words: str) -> frozenset[str]:
    return frozenset(words.split())


NAMED_LABELS = _of("label labels target y outcome response groundtruth ctr cvr ctcvr")
"""Names of labels."""
BEHAVIOURS = _of(
    "click clicks clicked clk like likes liked follow followed comment commented"
    " share shared forward forwarded favorite favourite fav collect collected hate dislike report"
    " skip skipped buy buys bought purchase purchased order ordered pay paid payment cart"
    " conversion convert converted install installed download downloaded subscribe subscribed"
    " signup register registered view viewed watch watched finish finished complete completed play"
    " played enter churn churned default survived unsubscribe open opened reply retweet exit"
    " booking booked reservation reserved cancellation canceled cancelled fraud refunded redeemed"
)
"""Behaviours of users."""
RATINGS = _of("rating ratings score stars star")
IDS = _of(
    "id ids uid vid iid pid sid aid cid gid did uuid guid key code recode zip zipcode postcode"
    " sku asin isbn ip mac hash token username login"
)
CATEGORIES = _of(
    "type category categories cat cate class tag tags genre genres brand tab channel level"
    " status gender sex city country region province state os device group kind model"
)
USERS = _of("user uid member customer visitor buyer account userid viewer person")
ITEMS = _of("item video vid iid product ad sku movie song article news goods")
OTHERS = _of("merchant advertiser campaign publisher creative seller shop store driver")
"""Things for which a number is an id and not an amount, if the name ends with them."""
HISTORY = _of("hist history seq sequence last recent past clicked viewed prev")
EARLIER = _of("hist history last recent past prev previous previously before ever already prior")
"""Words for the time before the impression: `previous_purchase` is an input."""
TIMES = _of("time date day dt ds ts timestamp datetime ms created updated at when month week year")
SPENT = _of(
    "play played watch watched stay view viewing viewed dwell listen listened read"
    " reading browse consume consumed finish"
)
AMOUNTS = _of(
    "time ms sec secs second seconds duration length ratio rate pct percent progress minutes"
)
SESSIONS = _of("session request req visit trace impression")
ROW_NUMBERS = _of("index idx row rownum rowid rownumber unnamed")


def words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: `playTime_ms` -> play, time, ms."""
    return tuple(word.lower() for word in _WORD.findall(name))


def has(name: str, known: Collection[str]) -> bool:
    """Whether the name contains one of these words."""
    return any(word in known for word in words(name))


def is_spent_time(name: str) -> bool:
    """Whether it is a watch time or progress, which is known after the impression."""
    return has(name, SPENT) and has(name, AMOUNTS)


def is_entity(name: str) -> bool:
    """Whether it names users or items, whose number grows: `user_id`, `video`."""
    last = words(name)[-1:]
    of_one = has(name, USERS | ITEMS) and has(name, IDS)
    return of_one or any(word in USERS | ITEMS | OTHERS for word in last)


def is_session(name: str) -> bool:
    """Whether it names a session or request, whose id does not come again: `request_id`."""
    return has(name, SESSIONS) and (has(name, IDS) or words(name)[-1] in SESSIONS)


def is_behaviour(name: str) -> bool:
    """Whether it says that something happened: `is_click`, `buy`, but not a count or time."""
    counts = {"num", "count", "cnt", "total"}
    return has(name, BEHAVIOURS) and not has(name, AMOUNTS | IDS | EARLIER | counts)


def is_named_label(name: str) -> bool:
    """Whether the name says that it is a label."""
    return has(name, NAMED_LABELS)


def is_only_label(name: str) -> bool:
    """Whether it only says that it is a label: `label`, `target`, but not `target_price`."""
    return bool(words(name)) and all(word in NAMED_LABELS for word in words(name))


def feature_name(column: str, taken: Collection[str]) -> str:
    """A name for a feature or task of this column, different from those `taken`, ignoring case."""
    plain = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")[:55]
    if column.isascii() and NAME.fullmatch(column):
        name = column
    if not name[:1].isalpha():
        name = f"column_{name}".rstrip("_")
    if not is_identifier(name) or is_reserved(name) or resolve(name) != name:
        name += "_"
    lower = {other.lower() for other in taken}
    unique, number = name, 1
    while unique.lower() in lower:
        number += 1
        unique = f"{name[:58]}_{number}"
    return unique


def task_name(column: str, taken: Collection[str]) -> str:
    """The name of a task: the column's name without `is_`, `has_` or `label_`."""
    bare = re.sub(r"^(is|has|label|target)[_ -](?=[A-Za-z])", "", column, flags=re.IGNORECASE)
    taken_as_is = is_identifier(bare) and is_reserved(bare)  # such as `forward`
    return feature_name(column if taken_as_is else bare, taken)
