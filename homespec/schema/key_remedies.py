"""Stage 2, schema: remedies for keys that are not part of the language."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from homespec.diagnostics.suggest import closest, folded, listing
from homespec.schema.dropout_remedies import dropout_of_section, dropout_of_task, whose_dropout
from homespec.schema.jsonschema import choices_at, keys_at
from homespec.schema.located_error import Path, written
from homespec.schema.synonyms import CHOICES, KEYS, meaning
from homespec.schema.training_words import TRAINING, part_rate, penalty, training_remedy

Remedy = str | Callable[[Path, str, Any], str]
"""The text to write, or a function of the section's place, the key and the value that returns
it."""

MAX_REMEDY = 200
"""Maximum number of characters of a help line, which would otherwise be hard to read."""


def meant_key(parent: Path, key: str) -> str | None:
    """The key of a section that is probably meant, by meaning or spelling."""
    known = keys_at(parent)
    meant = _meant_by(section_of(parent), key)
    return meant if meant in known else closest(key, known)


def _meant_by(section: str, key: str) -> str | None:
    """The meaning of another library's key in such a section."""
    return meaning(KEYS.get(section, {}), key)


def key_remedy(parent: Path, key: str, value: Any) -> str:
    """The remedy for an unknown key: by the same letters, then by meaning, then by similarity."""
    known = keys_at(parent)
    if key == "<<":
        return "YAML 1.2 has no merge keys: write the keys out, or `extends` another spec"
    same = next((k for k in known if folded(k) == folded(key)), None)
    remedy = _by_meaning(parent, key, value) or _elsewhere(parent, known, key, value)
    if remedy and same is None and len(remedy) <= MAX_REMEDY:
        return remedy
    guess = same or closest(key, known)
    return f"did you mean `{guess}`?" if guess else f"known keys are {listing(known)}"


def section_of(path: Path) -> str:
    """The kind of section at a place, with its name in `synonyms.KEYS`."""
    names = tuple(step for step in path if isinstance(step, str))
    if names[:1] == ("features",):
        inner = names[2:]
        if inner[:1] == ("sequence",):
            inner = inner[3:] if inner[1:2] == ("with",) and len(inner) > 2 else inner
        kinds = {
            ("id",): "id",
            ("id", "vocab"): "vocab",
            ("list",): "list",
            ("cross",): "cross",
            ("sequence",): "sequence",
            ("sequence", "encoder"): "encoder",
        }
        return kinds.get(inner, "?") if inner else "features"
    if names[:1] == ("tasks",):
        return "tasks" if len(names) == 2 else "towers"
    if "gates" in names:
        return "gates" if names[-1] in ("gates", "meta", "task") else "?"
    if names[:1] == ("expect",):
        return names[-1]
    return {(): "", "towers": "towers"}.get(names and names[0], "experts")


def _by_meaning(parent: Path, key: str, value: Any) -> str:
    section = section_of(parent)
    meant = _meant_by(section, key)
    if meant is not None:
        remedy = REMEDIES.get((section, meant)) or _renamed(meant, value)
        return remedy if isinstance(remedy, str) else remedy(parent, key, value)
    flag = meaning(TRAINING, key) if section == "" else None
    return "" if flag is None else training_remedy(flag, value)


def _elsewhere(parent: Path, known: list[str], key: str, value: Any) -> str:
    """A key that belongs one level up, or in one of the sections here."""
    if parent and isinstance(parent[-1], str) and key in keys_at(parent[:-1]):
        return f"write `{key}: {written(value)}` beside `{parent[-1]}`, not inside"
    for below in known:
        if key in keys_at((*parent, below)) and not _is_long(value):
            return f"write `{below}: {{{key}: {written(value)}}}`"
    return ""


def _is_long(value: Any) -> bool:
    return len(written(value)) > 60


def _number(value: Any, otherwise: int) -> int:
    """The number that was meant, or the length of a list that was written out."""
    if isinstance(value, list):
        return len(value)
    return value if type(value) is int and value > 0 else otherwise


def _renamed(meant: str, value: Any) -> str:
    return f"did you mean `{meant}`?" if _is_long(value) else f"write `{meant}: {written(value)}`"


def _numbered(text: str, default: int) -> Remedy:
    """A text with the number that was written, or the length of the list."""
    return lambda parent, key, value: text.format(_number(value, default))


def _named(meant: str) -> Remedy:
    """A key with a single name, which other libraries write in a list."""

    def remedy(parent: Path, key: str, value: Any) -> str:
        name = value[0] if isinstance(value, list) and value else value
        plain = name.rpartition(":")[2] if isinstance(name, str) else written(name)
        return f"write `{meant}: {plain}`"

    return remedy


def _chosen(key: str, default: str) -> Remedy:
    """A key with the choice that the value means; in a mapping, which is the choice, its parent."""

    def remedy(parent: Path, _: str, value: Any) -> str:
        choices = choices_at(parent if parent[-1:] == (key,) else (*parent, key))
        word = str(value)
        same = next((choice for choice in choices if folded(choice) == folded(word)), None)
        meant = same or meaning(CHOICES.get(key, {}), word.rpartition(".")[2])
        return f"write `{key}: {meant if meant in choices else default}`"

    return remedy


def _hidden(parent: Path, key: str, value: Any) -> str:
    """Widths of layers; for experts, the last one is that of the output."""
    widths = value if isinstance(value, list) else [value]
    if not all(type(width) is int for width in widths):
        return "write `hidden: [128]`, the widths of the hidden layers"
    if section_of(parent) == "experts" and len(widths) > 1:
        return f"write `hidden: {widths[:-1]}, width: {widths[-1]}`: the output has the last width"
    return f"write `hidden: {widths}`"


def _count(parent: Path, key: str, value: Any) -> str:
    count = _number(value, 2)
    if not parent or parent == ("experts",):
        return counts(count, key="" if parent else "experts: ")
    is_set = parent[-1] in ("shared", "group") or len(parent) > 2
    return f"write `count: {count}`" if is_set else f"write `shared: {count}`, for the shared ones"


def counts(count: int, key: str = "") -> str:
    """The remedy for a number of experts without an owner."""
    inside = f"all: {{shared: {count}}}"
    said = f"{key}{{{inside}}}" if key else inside
    return f"write `{said}` for the shared ones; `group` and `task` have counts of their own"


def _norm(parent: Path, key: str, value: Any) -> str:
    norm = "layer" if "layer" in key.casefold() else "batch"
    return f"write `norm: {norm if value not in (False, None, 'false') else 'none'}`"


def _boundaries(parent: Path, key: str, value: Any) -> str:
    return f"write `bucketize: {written(value) if isinstance(value, list) else '[10, 20, 30]'}`"


def _tower(parent: Path, key: str, value: Any) -> str:
    if isinstance(value, int | list):
        widths = value if isinstance(value, list) else [value]
        return f"write `tower: {{hidden: {written(widths)}}}`"
    return "remove it: each task has a tower; `tower: {hidden: [64]}` says how wide"


def _family(parent: Path, key: str, value: Any) -> str:
    """The first word in a section on the model that names a family."""
    words = [*value, *value.values()] if isinstance(value, dict) else [value]
    families = {folded(family): family for family in choices_at(("family",))}
    known = (families[folded(word)] for word in map(str, words) if folded(word) in families)
    return f"write `family: {next(known, 'home')}`"


def _mixture(parent: Path, key: str, value: Any) -> str:
    if isinstance(value, dict):
        return _renamed("mixture", value)
    return "remove it: the gates that mix experts are always on"


def _experts_hidden(parent: Path, key: str, value: Any) -> str:
    """Widths of experts at the top of a spec, or inside a section of another library."""
    if isinstance(value, dict):
        value = next((below for below in value.values() if isinstance(below, list)), [])
    widths = value if isinstance(value, list) else [value]
    if not widths or not all(type(width) is int for width in widths):
        widths = [128, 64]
    hidden = written(widths[:-1]) if len(widths) > 1 else "[]"
    return f"write `experts: {{hidden: {hidden}, width: {widths[-1]}}}`: the output has the last"


def _towers(parent: Path, key: str, value: Any) -> str:
    return f"write `towers: {{hidden: {_hidden_of(value, 64)}}}`, or for one task `tower:`"


def _gate_hidden(inside: str) -> Remedy:
    def remedy(parent: Path, key: str, value: Any) -> str:
        if not value:
            return "remove it: gates have no hidden layers unless `mixture: {hidden: […]}` says so"
        return f"write `{inside.format(_hidden_of(value, 32))}`"

    return remedy


def _hidden_of(value: Any, otherwise: int) -> str:
    """The widths that were written, or a layer of this width if there are none."""
    widths = value if isinstance(value, list) else [value]
    are_widths = widths and all(type(width) is int for width in widths)
    return written(widths if are_widths else [otherwise])


def _both_hidden(parent: Path, key: str, value: Any) -> str:
    hidden = _hidden_of(value, 64)
    tower, expert = f"towers: {{hidden: {hidden}}}", f"experts: {{hidden: {hidden}}}"
    return f"say for which part: write `{tower}`, or `{expert}`"


def _activation(parent: Path, key: str, value: Any) -> str:
    word = value[0] if isinstance(value, list) and value else value
    choices = choices_at(("experts", "activation"))
    meant = meaning(CHOICES["activation"], str(word)) if word not in choices else word
    return f"say for which part: write `experts: {{activation: {meant or 'relu'}}}`, or `towers:`"


def _top_norm(parent: Path, key: str, value: Any) -> str:
    norm = _norm(parent, key, value).partition("`")[2].rstrip("`")
    return f"say for which part: write `experts: {{{norm}}}`, or `towers: {{{norm}}}`"


def _named_tasks(parent: Path, key: str, value: Any) -> str:
    names = value if isinstance(value, list) else [value]
    entries = ", ".join(f"{name}: {{}}" for name in names if isinstance(name, str))
    return f"write `tasks: {{{entries or 'click: {}'}}}`"


def _scaled(parent: Path, key: str, value: Any) -> str:
    """The scaling of a number, from the value, such as `method=minmax,min=2`, or else the key."""
    words = [*re.findall(r"[A-Za-z]\w+", str(value)), key]
    known = choices_at((*parent, "number", "scale"))
    meant = (w if w in known else meaning(CHOICES["scale"], w) for w in words if w != "method")
    scale = next((each for each in meant if each in known), "standard")
    return f"write `number: {{scale: {scale}}}`, in place of another kind"


MAX_LISTED = 60
"""Maximum number of words in a list that is repeated."""


def enumerated(words: list[Any], vocab: str, buckets: str) -> str:
    """The remedy for a list of words that are ids; `vocab` and `buckets` have a {} for each."""
    n, shown = len(words), written(words)
    if len(shown) <= MAX_LISTED:
        given = vocab.format(shown)
        hashed = buckets.format(max(100, n * n))
        return f"write {given} to give each its own row, or {hashed} to hash"
    return (
        f"write {vocab.format(n)} and number them 0 to {n - 1} in the data, or "
        f"{buckets.format(max(100, n * n))} to hash them as they are"
    )


def _vocab_list(parent: Path, key: str, value: Any) -> str:
    if isinstance(value, list | dict) and value:
        return enumerated([*value], "`id: {{vocab: {}}}`", "`id: {{buckets: {}}}`")
    return "list its words, `id: {vocab: [US, DE]}`, or hash them, `id: {buckets: 1000}`"


def _task_experts(parent: Path, key: str, value: Any) -> str:
    count = _number(value, 2)
    if parent == ("experts",):
        return f"write `task: {{task: {count}}}`: that many for each task, in the last layer"
    own = "task" in keys_at(parent)
    return f"write `task: {count}`" if own else "write it as `task: {task: …}` of `experts`"


def _shared_experts(parent: Path, key: str, value: Any) -> str:
    count = _number(value, 2)
    is_outer = parent == ("experts",)
    return f"write `all: {{shared: {count}}}`" if is_outer else f"write `shared: {count}`"


def _in_group(parent: Path, key: str, value: Any) -> str:
    return f"write it in the groups: `groups: {{{written(value)}: [{parent[-1]}, …]}}`"


NO_PADDING = "remove it: missing ids, null or -1, have a row of their own"
ONE_LOGIT = "remove it: a tower ends in one logit; losses and scores apply what they need"
NO_DROPOUT = "remove it: gates have no dropout; experts, towers and features have"

REMEDIES: dict[tuple[str, str], Remedy] = {
    ("", "experts"): _count,
    ("", "features"): "write `features:`, a mapping by name, such as "
    "{user_id: {id: {buckets: 1000}, dim: 16}}",
    ("", "towers"): _towers,
    ("", "family"): _family,
    ("", "dim"): _numbered("write `dim: {}`", 16),
    ("", "layers"): lambda parent, key, value: f"write `layers: {_number(value, 2) or 2}`",
    ("", "experts.shared"): _numbered("write `experts: {{all: {{shared: {}}}}}`", 2),
    ("", "experts.task"): _numbered(
        "write `experts: {{task: {{task: {}}}}}`: that many of each task", 2
    ),
    ("", "experts.hidden"): _experts_hidden,
    ("", "experts.width"): _numbered("write `experts: {{width: {}}}`", 64),
    ("", "gates.hidden"): _gate_hidden("gates: {{mixture: {{hidden: {}}}}}"),
    ("", "hidden"): _both_hidden,
    ("", "activation"): _activation,
    ("", "norm"): _top_norm,
    ("", "dropout"): whose_dropout,
    ("", "regularizer"): penalty,
    ("features", "regularizer"): penalty,
    ("tasks", "regularizer"): penalty,
    **{(place, "learning rate"): part_rate for place in ("features", "experts", "towers", "tasks")},
    ("", "family of its name"): lambda parent, key, value: _family(parent, key, key),
    ("", "tasks"): _named_tasks,
    ("", "kind"): "remove it: a task is binary unless its entry says `kind: regression`",
    ("", "label"): "write each task with its label, such as `tasks: {click: {label: is_click}}`",
    ("", "feature groups"): "remove it: all features are one input, which every expert may read",
    ("features", "number"): _scaled,
    ("features", "vocab list"): _vocab_list,
    ("features", "padding"): NO_PADDING,
    ("features", "nothing"): "remove it: each feature is used, and trained unless `homespec train "
    "--freeze` keeps it, or `frozen: true` a table that begins with a file",
    ("features", "name"): "remove it: the key of the entry is the name",
    ("experts", "all.shared"): _shared_experts,
    ("experts", "all.task"): _task_experts,
    ("experts", "bias"): "remove it: Linears have a bias, unless a norm makes it redundant",
    ("experts", "sparse"): "remove it: gates weigh all experts that they see",
    ("towers", "regularizer"): penalty,
    ("towers", "output"): ONE_LOGIT,
    ("tasks", "where"): _named("where"),
    ("tasks", "dropout"): dropout_of_task,
    ("tasks", "group"): _in_group,
    ("tasks", "output"): ONE_LOGIT,
    ("sequence", "candidate"): "remove it: the candidate is the features that `of` names",
    ("sequence", "columns"): "write the column of each field: `columns: {FIELD: COLUMN}`",
    ("gates", "mixture.hidden"): _gate_hidden("mixture: {{hidden: {}}}"),
    ("gates", "softmax"): "remove it: a gate is a softmax over all experts that it sees",
    ("gates", "dropout"): NO_DROPOUT,
    ("", "init"): _chosen("init", "auto"),
    ("features", "dim"): _numbered("write `dim: {}`", 16),
    ("features", "buckets"): _numbered("write `id: {{buckets: {}}}`", 1000),
    ("features", "vocab"): _numbered("write `id: {{vocab: {}}}`", 1000),
    ("features", "bucketize"): _boundaries,
    ("features", "column"): _named("column"),
    ("features", "sequence"): "write past events as "
    "`sequence: {of: [video_id], max_len: 50, encoder: mean}`",
    ("features", "cross"): "write the pair of two ids as "
    "`cross: {of: [user_id, tab], buckets: 100000}`",
    ("features", "list"): "write several ids in a row as `list: {max_len: 20, pool: mean}`",
    ("features", "kind"): "remove it: a key such as `id`, `bucketize` or `dense` says what a "
    "feature is",
    ("features", "missing"): "remove it: missing ids and numbers have a row of the table, missing "
    "vectors are 0",
    ("id", "dim"): _numbered("write `dim: {}` beside `id`, not inside", 16),
    ("id", "buckets"): _numbered("write `buckets: {}`", 1000),
    ("id", "vocab"): _numbered("write `vocab: {}`", 1000),
    ("experts", "hidden"): _hidden,
    ("experts", "count"): _count,
    ("experts", "norm"): _norm,
    ("experts", "activation"): _chosen("activation", "swish"),
    ("experts", "dropout"): dropout_of_section,
    ("experts", "regularizer"): penalty,
    ("towers", "hidden"): _hidden,
    ("towers", "activation"): _chosen("activation", "relu"),
    ("towers", "norm"): _norm,
    ("towers", "dropout"): dropout_of_section,
    ("tasks", "kind"): _chosen("kind", "binary"),
    ("tasks", "label"): _named("label"),
    ("tasks", "tower"): _tower,
    ("tasks", "loss"): "remove it: a binary task has the cross-entropy of its logit",
    ("tasks", "metrics"): "remove it: `homespec train` has fixed metrics, and `--monitor` "
    "chooses the one to watch",
    ("tasks", "classes"): "remove it: a task is `binary` or a `regression`",
    ("sequence", "encoder"): _chosen("encoder", "din"),
    ("encoder", "encoder"): _chosen("encoder", "din"),
    ("list", "pool"): _chosen("pool", "mean"),
    ("gates", "mixture"): _mixture,
}
"""(Kind of section, meaning) -> the remedy; other keys merely have another name."""
