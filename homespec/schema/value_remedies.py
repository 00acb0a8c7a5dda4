"""Stage 2, schema: what to write for a value of the wrong type, as the place and the value tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from homespec.schema.key_remedies import counts
from homespec.schema.located_error import LocatedError, written
from homespec.schema.type_remedies import NUMBER, matches, retyped

ID = "{id: {buckets: 1000}, dim: 16}"
LAYER = "{experts: {shared: 2}, outputs: [shared]}"


MAX_REMEDY = 300
"""A help line with more characters would hide what it says."""


def value_remedy(error: LocatedError, wanted: str) -> str:
    """How to mend a value, from the place alone, else from the usual slips of type."""
    said = _by_place(error, error.value) or retyped(error, wanted)
    if len(said) > MAX_REMEDY:
        said = _by_place(error, [])
    return said or f"write {wanted} here"


def _by_place(error: LocatedError, value: Any) -> str:
    remedies = (remedy for pattern, remedy in PLACES if matches(error.path, pattern))
    return next((said for remedy in remedies if (said := remedy(error, value))), "")


def _features(_: LocatedError, value: Any) -> str:
    if not isinstance(value, list) or not value:
        return f"write each feature by its name: {{user_id: {ID}}}"
    return f"write each feature by its name: {_by_name(value, ID)}"


def _tasks(_: LocatedError, value: Any) -> str:
    if not isinstance(value, list) or not value:
        return "write each task by its name: {click: {label: is_click}, like: {}}"
    return f"write each task by its name: {_by_name(value, '{}')}"


NAMES = ("name", "feature_name", "task_name", "tower_name", "group_name", "label_name")


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


def _groups(_: LocatedError, value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(group, list) for group in value):
        named = {f"group_{i}": members for i, members in enumerate(value, 1)}
        return f"give each group a name: {written(named)}"
    if isinstance(value, list) and value and all(isinstance(group, dict) for group in value):
        return f"write each group by its name: {written(_groups_by_name(value))}"
    if value is None:
        return "list the groups and their members, or remove the key"
    return "write each group by its name, with its members: {watch: [click, finish]}"


def _groups_by_name(groups: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group in groups:
        own = next((group[key] for key in NAMES if key in group), None)
        members = next((below for below in group.values() if isinstance(below, list)), [])
        name = own or next(iter(group), "name")
        found[str(name)] = members or group.get(name) or []
    return found


def _group(_: LocatedError, value: Any) -> str:
    if isinstance(value, dict):
        lists = [below for below in value.values() if isinstance(below, list)]
        members = lists[0] if len(value) == 1 and lists else list(value)
        return f"list the names of its members: {written(members)}"
    return "list its members, or remove the group" if value is None else ""


def _member(_: LocatedError, value: Any) -> str:
    if isinstance(value, dict | list):
        return "declare this group under `groups:`, too, and put its name here"
    return ""


def _feature(_: LocatedError, value: Any) -> str:
    width = value if type(value) is int and value > 0 else 16
    return f"say what the feature is, such as {{id: {{buckets: 1000}}, dim: {width}}}"


def _id(_: LocatedError, value: Any) -> str:
    if type(value) is int:
        return f"write {{vocab: {value}}} for ids below {value}, or {{buckets: {value}}} to hash"
    if isinstance(value, list) and value:
        return _enumerated(value, "{{vocab: {}}}", "{{buckets: {}}}")
    also = f", and `column: {value}` beside `id`" if isinstance(value, str) else ""
    return f"write {{buckets: 1000}} to hash any id into 1000 rows{also}"


def _rows(error: LocatedError, value: Any) -> str:
    if isinstance(value, list) and value:
        return _enumerated(value, "`vocab: {}`", "`buckets: {}`")
    return ""


def _enumerated(words: list[Any], vocab: str, buckets: str) -> str:
    n = len(words)
    return (
        f"write {vocab.format(n)} and number them 0 to {n - 1} in the data, or "
        f"{buckets.format(max(100, n * n))} to hash them as they are"
    )


def _cuts(_: LocatedError, value: Any) -> str:
    if type(value) is int and value > 1:
        return f"write {{quantiles: {value}}} for {value} buckets fitted to the data, or a list"
    parts = [part for part in re.split(r"[,; ]+", value) if part] if isinstance(value, str) else []
    if parts and all(re.fullmatch(NUMBER, part) for part in parts):
        return f"write it as a list: [{', '.join(parts)}]"
    return "write the boundaries, such as [10, 20, 30], or {quantiles: 32}"


def _dense(_: LocatedError, value: Any) -> str:
    if isinstance(value, list) and value:
        return f"write how many numbers the vector has: {len(value)}"
    if isinstance(value, dict):
        numbers = [below for below in value.values() if type(below) is int]
        return f"write how many numbers the vector has: {numbers[0] if numbers else 128}"
    return "write how many numbers the vector has: 1" if value is True else ""


def _sequence(error: LocatedError, value: Any) -> str:
    of = value if isinstance(value, list) and value else [value]
    if not isinstance(value, list | str) or not value:
        of = _tables(error)[:1] or ["video_id"]
    return f"write {{of: {written(of)}, max_len: 50, encoder: din}}"


def _tables(error: LocatedError) -> list[str]:
    """The features of the document that have a table, of which an event can be."""
    features = (error.document.data or {}).get("features")
    found = features.items() if isinstance(features, dict) else ()
    return [name for name, f in found if isinstance(f, dict) and ("id" in f or "bucketize" in f)]


def _encoder(_: LocatedError, value: Any) -> str:
    return f"write `{value[0]}`" if isinstance(value, list) and len(value) == 1 else "write `din`"


def _columns(error: LocatedError, value: Any) -> str:
    below: Any = error.document.data
    for step in error.path[:-1]:
        below = below[step]
    fields = below["of"] if isinstance(below.get("of"), list) else ["video_id"]
    columns = value if isinstance(value, list) else [value or "hist_video_id"]
    return f"write the columns by field: {written(dict(zip(fields, columns, strict=False)))}"


def _with(_: LocatedError, value: Any) -> str:
    if isinstance(value, list) and value:
        return f"write each field by its name: {_by_name(value, ID)}"
    return f"write each field by its name: {{place: {ID}}}"


def _experts(_: LocatedError, value: Any) -> str:
    if type(value) is int:
        return counts(value, key="experts: ")
    if isinstance(value, list | str | bool):
        return "write how many and how wide, such as {all: {shared: 2}, hidden: [128], width: 64}"
    return ""


def _layer_experts(error: LocatedError, value: Any) -> str:
    """The key names layers, not a role in the tree; `task` is both."""
    if type(value) is int:
        role = "task" if error.path[-1] == "task" else "shared"
        whose = "of each task" if role == "task" else "shared by all tasks"
        return f"write {{{role}: {value}}} for that many experts {whose}"
    return ""


def _expert_set(_: LocatedError, value: Any) -> str:
    if isinstance(value, list) and value and all(type(width) is int for width in value):
        hidden = f"hidden: {value[:-1]}, " if len(value) > 1 else ""
        return f"write {{{hidden}width: {value[-1]}}}: the last one is the width of the output"
    return ""


def _tower(_: LocatedError, value: Any) -> str:
    if type(value) is int or isinstance(value, list):
        return f"write {{hidden: {written(value if isinstance(value, list) else [value])}}}"
    return "" if value is None else "write {hidden: [64]}"


def _widths(_: LocatedError, value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[\d,; ]+", value):
        return f"write it as a list: [{', '.join(re.findall(r'[0-9]+', value))}]"
    return ""


def _width(_: LocatedError, value: Any) -> str:
    if isinstance(value, list) and len(value) > 1 and all(type(width) is int for width in value):
        return f"write `hidden: {value[:-1]}, width: {value[-1]}`"
    return ""


def _gates(_: LocatedError, value: Any) -> str:
    if isinstance(value, bool):
        return f"write {{feature: {written(value)}, self: {written(value)}}}"
    if isinstance(value, list) and value:
        return "write {" + ", ".join(f"{gate}: true" for gate in value) + "}"
    return ""


def _switch(_: LocatedError, value: Any) -> str:
    if value in (0, 1) and value is not None:
        return f"write `{written(bool(value))}`"
    return "write true or false, or remove the key" if value is None else ""


def _mixture(_: LocatedError, value: Any) -> str:
    if isinstance(value, bool | str):
        return "remove it: the gates that mix experts are always there"
    return ""


def _task(_: LocatedError, value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return f"write {{label: {value}}}"
    if isinstance(value, int | float) and 0 < value < 1:
        return f"write {{rate: {value}}}"
    return "write {} for a task with every default"


def _layers(_: LocatedError, value: Any) -> str:
    if isinstance(value, dict):
        return f"write how many, such as 2, or a list of layers, such as [{LAYER}]"
    return ""


def _layer(_: LocatedError, value: Any) -> str:
    return f"write a layer, such as {LAYER}, or `layers: 2` for a family's"


def _one_text(_: LocatedError, value: Any) -> str:
    """Columns, tables and tasks of which there is one."""
    if isinstance(value, list) and value:
        one = " alone" if len(value) > 1 else ""
        return f"write {value[0]} without brackets{one}"
    return ""


def _product(_: LocatedError, value: Any) -> str:
    if isinstance(value, str):
        factors = re.findall(r"\w+", value)
        shown = written(factors) if len(factors) > 1 else f"[{value}, …]"
        return f"list the tasks whose probabilities multiply: {shown}"
    return ""


def _name(_: LocatedError, value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"begin it with a letter: n{re.sub(r'[^0-9]', '_', str(value))}"
    return ""


def _label(_: LocatedError, value: Any) -> str:
    if isinstance(value, list) and value:
        return f"write {value[0]} without brackets"
    return "name a column of the data, such as is_click"


def _rate(_: LocatedError, value: Any) -> str:
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]*)?)\s*%", str(value))
    share = float(match[1]) / 100 if match else 0
    return f"write a share, {share:g}" if 0 < share < 1 else ""


PLACES: tuple[tuple[str, Callable[[LocatedError, Any], str]], ...] = (
    ("name", _name),
    ("features", _features),
    ("features.*", _feature),
    ("features.*.id", _id),
    ("features.*.sequence.with.*", _feature),
    ("features.*.sequence.with.*.id", _id),
    ("**.id.vocab", _rows),
    ("**.id.buckets", _rows),
    ("**.bucketize", _cuts),
    ("features.*.dense", _dense),
    ("features.*.sequence", _sequence),
    ("features.*.sequence.encoder", _encoder),
    ("features.*.sequence.columns", _columns),
    ("features.*.sequence.with", _with),
    ("extends", _one_text),
    ("**.column", _one_text),
    ("**.table", _one_text),
    ("**.where", _one_text),
    ("groups", _groups),
    ("groups.*", _group),
    ("groups.*.*", _member),
    ("tasks", _tasks),
    ("tasks.*", _task),
    ("tasks.*.label", _label),
    ("tasks.*.rate", _rate),
    ("tasks.*.product", _product),
    ("tasks.*.tower", _tower),
    ("towers", _tower),
    ("experts", _experts),
    ("experts.all", _layer_experts),
    ("experts.meta", _layer_experts),
    ("experts.task", _layer_experts),
    ("experts.*.*", _expert_set),
    ("experts.*.nodes.*", _expert_set),
    ("layers.*.experts.*", _expert_set),
    ("layers", _layers),
    ("layers.*", _layer),
    ("gates", _gates),
    ("gates.meta", _gates),
    ("gates.task", _gates),
    ("**.gates.self", _switch),
    ("gates.*.self", _switch),
    ("**.gates.feature", _switch),
    ("gates.*.feature", _switch),
    ("**.mixture", _mixture),
    ("**.hidden", _widths),
    ("**.width", _width),
)
"""Places and what their remedies are; the first one that has something to say is taken."""
