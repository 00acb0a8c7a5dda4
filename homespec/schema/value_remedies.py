"""Stage 2, schema: remedies for values of the wrong type, from the place and the value."""

from __future__ import annotations

import re
from collections.abc import Callable
from string import Template
from typing import Any

from homespec.diagnostics.suggest import closest, listing
from homespec.schema.dropout_remedies import percent_as_share
from homespec.schema.jsonschema import choices_at
from homespec.schema.key_remedies import counts, enumerated
from homespec.schema.located_error import LocatedError, written
from homespec.schema.synonyms import CHOICES, KEYS, REMEDIES_OF_WORDS, meaning
from homespec.schema.type_remedies import NUMBER, YES_AND_NO, matches, meant_number, retyped

MAX_REMEDY = 300
"""Maximum number of characters of a help line, which would otherwise be hard to read."""

ID = "{id: {buckets: 1000}, dim: 16}"
HASHED = "write {buckets: 1000} to hash any id into 1000 rows"
GROUP = "{watch: [click, finish]}"
SHARED = "experts shared by all tasks"
EXPERTS = "{all: {shared: 2}, hidden: [128], width: 64}"
LAYER = "{experts: {shared: 2}, outputs: [shared]}"
PROMISES = "{isolated: [[watch, interaction]], budget: {parameters: 10M}}"
NAMES = ("name", "feature_name", "task_name", "tower_name", "group_name", "label_name")
"""Keys under which other libraries give the name of an entry in a list."""

Test = Callable[[Any], bool]
Remedy = str | Callable[[LocatedError, Any], str]


def value_remedy(error: LocatedError, wanted: str) -> str:
    """The remedy for a value, from the place, or else for usual mistakes of type."""
    remedy = _by_place(error, error.value) or retyped(error, wanted)
    if len(remedy) > MAX_REMEDY:
        remedy = _by_place(error, [])
    return remedy or f"write {wanted} here"


def choice_remedy(key: str, value: Any, choices: list[str]) -> str:
    """The remedy for a word that a key does not accept: by meaning, or else by spelling."""
    word, listed = written(value), f"choices are {listing(choices)}"
    if remedy := meaning(REMEDIES_OF_WORDS.get(key, {}), word):
        return remedy
    meant = meaning(CHOICES.get(key, {}), word.rpartition(".")[2])  # nn.SiLU
    if meant is None:
        meant = closest(word, choices)
    if meant in choices:
        return f"did you mean `{meant}`? {listed}"
    return f"{listed}; features are a list: [{word}]" if key == "input" and word else listed


def _by_place(error: LocatedError, value: Any) -> str:
    remedies = (
        _filled(remedy, error, value)
        for places, is_such, remedy in REMEDIES
        if is_such(value) and any(matches(error.path, place) for place in places.split())
    )
    return next(filter(None, remedies), "")


def _filled(remedy: Remedy, error: LocatedError, value: Any) -> str:
    if not isinstance(remedy, str):
        return remedy(error, value)
    entries = value if isinstance(value, list) else []
    first = written(entries[0]) if entries else ""
    return Template(remedy).substitute(value=written(value), first=first, n=len(entries))


def anything(_: Any) -> bool:
    """Any value."""
    return True


def filled(value: Any) -> bool:
    """A list that is not empty."""
    return isinstance(value, list) and bool(value)


def widths(value: Any) -> bool:
    """A list of integers."""
    return filled(value) and all(type(width) is int for width in value)


def of(*types: type) -> Test:
    """A value of exactly one of these types: true is not an integer."""
    return lambda value: type(value) in types


null, text, whole, mapping = of(type(None)), of(str), of(int), of(dict)


def _by_name(entries: list[Any], otherwise: str) -> str:
    """Entries of a list as a mapping; those that have a `name` by it."""
    parts = []
    for entry in entries[:4]:
        if isinstance(entry, dict):
            own = next((entry[key] for key in NAMES if key in entry), None)
            rest = {key: value for key, value in entry.items() if key not in NAMES}
            if own is None and len(entry) == 1:  # - click: {…}
                ((own, rest),) = entry.items()
            parts.append(f"{own or 'name'}: {written(rest)}")
        else:
            parts.append(f"{entry}: {otherwise}")
    return "{" + ", ".join([*parts, *(["…"] if len(entries) > 4 else [])]) + "}"


def _name(_: LocatedError, value: float) -> str:
    return f"begin it with a letter: n{re.sub(r'[^0-9]', '_', str(value))}"


def _groups(_: LocatedError, value: list[Any]) -> str:
    if all(isinstance(group, list) for group in value):
        named = {f"group_{i}": members for i, members in enumerate(value, 1)}
        return f"give each group a name: {written(named)}"
    if all(isinstance(group, dict) for group in value):
        return f"write each group by its name: {written(dict(map(_named_group, value)))}"
    return ""


def _named_group(group: dict[str, Any]) -> tuple[str, Any]:
    own = next((group[key] for key in NAMES if key in group), None)
    members = next((below for below in group.values() if isinstance(below, list)), [])
    name = own or next(iter(group), "name")
    return str(name), members or group.get(name) or []


def _members(_: LocatedError, value: dict[str, Any]) -> str:
    lists = [below for below in value.values() if isinstance(below, list)]
    members = lists[0] if len(value) == 1 and lists else list(value)
    return f"list the names of its members: {written(members)}"


def _means_dim(word: str) -> bool:
    return word == "dim" or meaning(KEYS[""], word) == "dim"


def _feature(error: LocatedError, value: Any) -> str:
    if type(value) is int and len(error.path) == 2 and _means_dim(str(error.path[1])):
        return f"write `dim: {value}` beside `features`, not inside, for all embeddings"
    width = value if type(value) is int and value > 0 else 16
    return f"say what the feature is, such as {{id: {{buckets: 1000}}, dim: {width}}}"


def _vocabulary(_: LocatedError, value: str) -> str:
    """Remedies for a word; a number in quotes has its own."""
    if any(letter.isdigit() for letter in value):
        return ""
    return "write {min_count: 5, max_size: 10000}, a number of ids, or a list"


def _enumerated(vocab: str, buckets: str) -> Remedy:
    """The remedy for a list of words where their number is expected."""
    return lambda _, words: enumerated(words, vocab, buckets)


def _boundaries(_: LocatedError, value: int | str) -> str:
    if isinstance(value, int):
        quantiles = (
            f"write {{quantiles: {value}}} for {value} buckets fitted to the data, or a list"
        )
        return quantiles if value > 1 else ""
    parts = [part for part in re.split(r"[,; ]+", value) if part]
    are_numbers = parts and all(re.fullmatch(NUMBER, part) for part in parts)
    return f"write it as a list: [{', '.join(parts)}]" if are_numbers else ""


def _scale(_: LocatedError, value: str) -> str:
    scales = choices_at(("features", "", "number", "scale"))
    meant = value if value in scales else meaning(CHOICES["scale"], value)
    return f"write {{scale: {meant}}}" if meant else ""


def _list(_: LocatedError, value: str) -> str:
    pools = choices_at(("features", "", "list", "pool"))
    meant = value if value in pools else meaning(CHOICES["pool"], value)
    return f"write {{max_len: 20, pool: {meant}}}" if meant else ""


def _first_integer(value: dict[str, Any], default: int) -> int:
    return next((number for number in value.values() if type(number) is int), default)


def _sequence(error: LocatedError, value: Any) -> str:
    """The fields are those that were written, or else the first feature with a table."""
    of = value if isinstance(value, list) and value else [value]
    if not isinstance(value, list | str) or not value:
        features = (error.document.data or {}).get("features")
        entries = features.items() if isinstance(features, dict) else ()
        has_table = (
            n for n, f in entries if isinstance(f, dict) and ("id" in f or "bucketize" in f)
        )
        of = [next(has_table, "video_id")]
    return f"write {{of: {written(of)}, max_len: 50, encoder: din}}"


def _cross(error: LocatedError, value: Any) -> str:
    """The two ids are those that were written, or else the first two features with `id`."""
    features = (error.document.data or {}).get("features")
    entries = features.items() if isinstance(features, dict) else ()
    ids = [name for name, feature in entries if isinstance(feature, dict) and "id" in feature]
    given = value if isinstance(value, list) and len(value) == 2 else [*ids, "user_id", "tab"][:2]
    return f"write {{of: {written(given)}, buckets: 100000}}"


def _columns(error: LocatedError, value: Any) -> str:
    below: Any = error.document.data
    for step in error.path[:-1]:
        below = below[step]
    fields = below["of"] if isinstance(below.get("of"), list) else ["video_id"]
    columns = value if isinstance(value, list) else [value or "hist_video_id"]
    return f"write the columns by field: {written(dict(zip(fields, columns, strict=False)))}"


def _task(_: LocatedError, value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return f"write {{label: {value}}}"
    if isinstance(value, int | float) and 0 < value < 1:
        return f"write {{rate: {value}}}"
    return "write {} for a task with every default"


def _product(_: LocatedError, value: str) -> str:
    factors = re.findall(r"\w+", value)
    shown = written(factors) if len(factors) > 1 else f"[{value}, …]"
    return f"list the tasks whose probabilities are multiplied: {shown}"


def _weight_column(_: LocatedError, value: dict[str, Any]) -> str:
    column = next((name for name in value.values() if isinstance(name, str)), "COLUMN")
    return f"write `sample_weight: {column}` for a column of weights of rows"


def _percent(_: LocatedError, value: str) -> str:
    share = percent_as_share(value)
    return "" if share is None else f"write a share, {share:g}"


def _expert_set(_: LocatedError, value: list[int]) -> str:
    hidden = f"hidden: {value[:-1]}, " if len(value) > 1 else ""
    return f"write {{{hidden}width: {value[-1]}}}: the last one is the width of the output"


def _without_brackets(_: LocatedError, value: list[Any]) -> str:
    """Keys for a single column, table or task."""
    return f"write {value[0]} without brackets{' alone' if len(value) > 1 else ''}"


def _amount(_: LocatedError, value: str) -> str:
    number = meant_number(value.removesuffix("B").removesuffix("b"), whole=True)
    return f"write {number}" if number else "write a number, such as 10000000, 10M, 500k or 2G"


def _isolated(_: LocatedError, value: Any) -> str:
    pairs = [[k, v] for k, v in value.items()] if isinstance(value, dict) else [value]
    return f"write a list for each pair, or larger set, that is isolated: {written(pairs)}"


def _detach(_: LocatedError, value: str) -> str:
    """Entries of `input` are a list; words for true and false are left to others."""
    if value.lower() in YES_AND_NO or not value.strip():
        return ""
    return f"write the entries of `input` as a list: [{value}]"


def _widths(_: LocatedError, value: str) -> str:
    numbers = re.findall(r"[0-9]+", value)
    is_list = re.fullmatch(r"[\d,; ]+", value)
    return f"write it as a list: [{', '.join(numbers)}]" if is_list else ""


FEATURES = "features.* features.*.sequence.with.*"
IDS = "features.*.id features.*.sequence.with.*.id"
DENSE = "write how many numbers the vector has: "
EVENTS, ENCODER = "features.*.sequence.with", "features.*.sequence.encoder"
EXPERT_SETS = "experts.*.* experts.*.nodes.* layers.*.experts.*"
TOWERS = "towers tasks.*.tower"
SWITCHES = "**.gates.self gates.*.self **.gates.feature gates.*.feature"
GATES = "gates gates.meta gates.task"

REMEDIES: tuple[tuple[str, Test, Remedy], ...] = (
    ("name", of(int, float), _name),
    ("version", of(int), "write three numbers, such as $value.0.0"),
    ("version", of(float), "write three numbers, such as $value.0"),
    ("features", filled, lambda _, v: f"write each feature by its name: {_by_name(v, ID)}"),
    ("features", anything, f"write each feature by its name: {{user_id: {ID}}}"),
    (FEATURES, anything, _feature),
    (IDS, whole, "write {vocab: $value} for ids below $value, or {buckets: $value} to hash"),
    (IDS, filled, _enumerated("{{vocab: {}}}", "{{buckets: {}}}")),
    (IDS, text, f"{HASHED}, and `column: $value` beside `id`"),
    (IDS, anything, HASHED),
    ("**.id.vocab", text, _vocabulary),
    ("**.id.vocab **.id.buckets", filled, _enumerated("`vocab: {}`", "`buckets: {}`")),
    ("**.bucketize", of(int, str), _boundaries),
    ("**.bucketize", anything, "write the boundaries, such as [10, 20, 30], or {quantiles: 32}"),
    ("features.*.number", text, _scale),
    ("features.*.number", anything, "write {scale: standard}, or log, minmax or none"),
    ("features.*.list", whole, "write {max_len: $value, pool: mean}"),
    ("features.*.list", text, _list),
    ("features.*.list", anything, "write {max_len: 20, pool: mean}"),
    ("features.*.dense", filled, f"{DENSE}$n"),
    ("features.*.dense", mapping, lambda _, v: f"{DENSE}{_first_integer(v, 128)}"),
    ("features.*.dense", lambda value: value is True, f"{DENSE}1"),
    ("features.*.cross", anything, _cross),
    (
        "features.*.cross.of",
        text,
        lambda _, v: f"list two ids, such as [{v.strip() or 'user_id'}, other_id]",
    ),
    ("**.detach", text, _detach),
    ("features.*.sequence", anything, _sequence),
    (ENCODER, lambda value: filled(value) and len(value) == 1, "write `$first`"),
    (ENCODER, anything, "write `din`"),
    ("features.*.sequence.columns", anything, _columns),
    (EVENTS, filled, lambda _, v: f"write each field by its name: {_by_name(v, ID)}"),
    (EVENTS, anything, f"write each field by its name: {{place: {ID}}}"),
    (
        "features.*.column",
        lambda value: filled(value) and len(value) > 1,
        lambda _, v: f"write `columns: {written(v)}`, to get one feature per column",
    ),
    ("extends **.column **.table **.where", filled, _without_brackets),
    ("groups", filled, _groups),
    ("groups", null, "list the groups and their members, or remove the key"),
    ("groups", anything, f"write each group by its name, with its members: {GROUP}"),
    ("groups.*", mapping, _members),
    ("groups.*", null, "list its members, or remove the group"),
    (
        "groups.*.*",
        of(dict, list),
        "declare this group under `groups:` as well, and write its name here",
    ),
    ("tasks", filled, lambda _, v: f"write each task by its name: {_by_name(v, '{}')}"),
    ("tasks", anything, "write each task by its name: {click: {label: is_click}, like: {}}"),
    ("tasks.*", anything, _task),
    ("tasks.*.label", filled, "write $first without brackets"),
    ("tasks.*.label", anything, "name a column of the data, such as is_click"),
    ("tasks.*.weight tasks.*.sample_weight", mapping, _weight_column),
    ("tasks.*.weight", text, "write `sample_weight: $value` for a column of weights of rows"),
    ("tasks.*.sample_weight", filled, "write $first without brackets"),
    (
        "tasks.*.sample_weight",
        of(int, float),
        "name a column of the data; `weight: $value` is the weight of the task's loss in the sum",
    ),
    ("tasks.*.within", text, "write {column: $value}, the column of sessions"),
    ("tasks.*.within", of(int, float), "write {column: session_id, weight: $value}"),
    ("tasks.*.rate **.dropout feature_dropout", text, _percent),
    ("tasks.*.product", text, _product),
    (TOWERS, whole, "write {hidden: [$value]}"),
    (TOWERS, of(list), "write {hidden: $value}"),
    (TOWERS, of(str, float, bool), "write {hidden: [64]}"),
    ("experts", whole, lambda _, v: counts(v, key="experts: ")),
    ("experts", of(list, str, bool), f"write how many and how wide, such as {EXPERTS}"),
    ("experts.task", whole, "write {task: $value} for that many experts of each task"),
    ("experts.all experts.meta", whole, f"write {{shared: $value}} for that many {SHARED}"),
    (EXPERT_SETS, widths, _expert_set),
    ("layers", mapping, f"write their number, such as 2, or a list of layers, such as [{LAYER}]"),
    ("layers.*", anything, f"write a layer, such as {LAYER}, or `layers: 2` for a family's"),
    (GATES, of(bool), "write {feature: $value, self: $value}"),
    (GATES, filled, lambda _, v: f"write {written(dict.fromkeys(map(str, v), True))}"),
    (SWITCHES, lambda value: value in (0, 1), lambda _, v: f"write `{written(bool(v))}`"),
    (SWITCHES, null, "write true or false, or remove the key"),
    ("expect", anything, f"write a promise, such as {PROMISES}"),
    ("expect.isolated", of(list, dict), _isolated),
    ("expect.isolated", anything, "write [[watch, interaction]]"),
    ("expect.reads", anything, "write the nodes by task, such as {hate: [interaction]}"),
    ("expect.budget", of(int, float, str), "write {parameters: $value}"),
    ("expect.budget", anything, "write {parameters: 10M}"),
    ("expect.budget.*", text, _amount),
    ("**.mixture", of(bool, str), "remove it: the gates that mix experts are always on"),
    ("**.hidden", text, _widths),
    ("**.width", widths, lambda _, v: f"write `hidden: {v[:-1]}, width: {v[-1]}`" * (len(v) > 1)),
)
"""Places, a test of the value's form, and the remedy; the first that applies counts.

In a text, `$value` is the value, `$first` its first entry and `$n` the number of its entries.
"""
