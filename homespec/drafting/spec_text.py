"""Drafting: the text of a drafted spec, with the numbers that support each choice."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from homespec.analysis.yaml_writer import flow
from homespec.drafting.choice import Choice, harmless, nice, quoted
from homespec.drafting.draft import Draft
from homespec.drafting.given_labels import describe
from homespec.drafting.grouping import group_name, space_of
from homespec.drafting.labels import Candidate
from homespec.drafting.name_words import feature_name, task_name
from homespec.schema.labels import BARE

WIDTH = 99
ALIGNED = 26
"""Names up to this length are aligned."""
COMMENTS = 58
"""Column of comments, if the line leaves room."""
DIM = 8
MODELINE = "# yaml-language-server: $schema=../schemas/homespec-v1.schema.json"


@dataclass(frozen=True)
class Names:
    """The names of columns in the spec."""

    features: dict[str, str]
    tasks: list[str]
    groups: list[str]


def names_of(draft: Draft) -> Names:
    """A unique name for each feature, task and group."""
    tasks: list[str] = []
    for task in draft.tasks:
        tasks.append(task_name(task.column, tasks))
    features: dict[str, str] = {}
    for choice in draft.features:
        features[choice.column] = feature_name(choice.column, features.values())
    groups: list[str] = []
    for group in draft.groups:
        own = [tasks[place] for place in group.members]
        groups.append(group_name(own, {*tasks, *groups}))
    return Names(features, tasks, groups)


def spec_text(draft: Draft, name: str, asked: str, steps: list[str]) -> str:
    """The whole file; `asked` is the command that wrote it, `steps` are the next commands."""
    names = names_of(draft)
    lines = [
        MODELINE,
        *_wrapped(f"Written by `{harmless(asked)}` from {_rows(draft)}. The comments say what"
                  " was found in these rows. Read them, and change what you know better."),
        "homespec: 1", f"name: {name}", *_family(draft), "",
        *_features(draft, names), "",
        *_groups(draft, names),
        *_tasks(draft, names), "",
        *_experts(draft), "",
        "# Next:", *(f"#   {harmless(step)}" for step in steps),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _rows(draft: Draft) -> str:
    rows, total = draft.sample.table.num_rows, draft.sample.rows
    if rows == total:
        return f"all {total:,} rows"
    return f"{rows:,} of {total:,} rows, in stretches that are evenly spread"


def _printable(text: str) -> str:
    """A comment in which control characters, as names of columns may have, are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ",
        break_long_words=True, break_on_hyphens=False,
    )  # fmt: skip


def _commented(text: str, comment: str, indent: str) -> list[str]:
    """A line with its comment, which is after it or on separate lines before it."""
    comment = _printable(comment)
    line = f"{text.ljust(COMMENTS)}  # {comment}"
    if len(line) <= WIDTH:
        return [line]
    line = f"{text}  # {comment}"
    return [line] if len(line) <= WIDTH else [*_wrapped(comment, indent), text]


def _family(draft: Draft) -> list[str]:
    many = len(draft.tasks)
    if draft.groups:
        return []
    why = "one task" if many == 1 else f"{many} tasks, without two distinct groups"
    return _commented("family: mmoe", f"{why}: experts are shared, each task has a gate", "")


def _features(draft: Draft, names: Names) -> Iterator[str]:
    if draft.features:
        yield f"dim: {DIM}"
    yield "features:"
    aligned = _aligned(names.features.values())
    for choice in draft.features:
        own = names.features[choice.column]
        options = flow(_options(choice, own, names))
        yield from _entry(own, options, choice.comment, aligned)
    if draft.left_out:
        yield "  # Left out:"
        for each in draft.left_out:
            yield from _item(f"{_shown(each.column)}: {each.reason}")


def _aligned(names: Iterable[str]) -> int:
    """The width to which names are padded; longer names are not padded."""
    return max((len(name) for name in names if len(name) <= ALIGNED), default=0)


def _options(choice: Choice, own: str, names: Names) -> dict[str, Any]:
    """The options of a feature; a sequence refers to features by name."""
    options = dict(choice.options)
    if "sequence" in options:
        sequence = dict(options["sequence"])
        sequence["of"] = [names.features[column] for column in sequence["of"]]
        sequence["columns"] = {names.features.get(field, field): column
                               for field, column in sequence["columns"].items()}  # fmt: skip
        return {"sequence": sequence}
    if choice.dim not in (0, DIM):
        options["dim"] = choice.dim
    if choice.column != own:
        options["column"] = choice.column
    return options


def _entry(name: str, options: str, comment: str, aligned: int) -> list[str]:
    start = f"  {name}:".ljust(aligned + 4) if len(name) <= aligned else f"  {name}: "
    if len(start) + len(options) <= WIDTH or "  " in options:
        return _commented(start + options, comment, "  ")
    below = textwrap.wrap(
        options, WIDTH, initial_indent="    ", subsequent_indent="     ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [*_wrapped(comment, "  "), start.rstrip(), *below]


def _item(text: str) -> list[str]:
    return textwrap.wrap(
        _printable(text), WIDTH, initial_indent="  #   ", subsequent_indent="  #     ",
        break_long_words=True, break_on_hyphens=False,
    )  # fmt: skip


def _shown(column: str) -> str:
    """A column's name in a comment: in quotes unless it is one word."""
    return column if BARE.fullmatch(column) and len(column) <= 63 else quoted(column)


def _groups(draft: Draft, names: Names) -> Iterator[str]:
    if not draft.groups:
        return
    yield from _wrapped("Tasks with correlated labels. A correlation is relative to the largest"
                        " one that the rates allow.")  # fmt: skip
    yield "groups:"
    for own, group in zip(names.groups, draft.groups, strict=True):
        members = [names.tasks[place] for place in group.members]
        yield from _entry(own, flow(members), f"mean correlation {group.correlation:.2f}",
                          max(map(len, names.groups)))  # fmt: skip
    yield ""


def _tasks(draft: Draft, names: Names) -> Iterator[str]:
    yield "tasks:"
    aligned = _aligned(names.tasks)
    spaces = _spaces(draft.tasks)
    for place, (own, task) in enumerate(zip(names.tasks, draft.tasks, strict=True)):
        label = f"{{label: {_in_single_quotes(str(task.label))}"
        options = flow(_of_task(task))[1:]
        options = label + (", " if len(options) > 1 else "") + options
        space = spaces[place]
        only = "" if space is None else f"; 1 only where {names.tasks[space]} is"
        yield from _entry(own, options, _why(task) + only, aligned)


def _spaces(tasks: list[Candidate]) -> list[int | None]:
    """For each task, the index of a task without which it is never positive, or None."""
    binary = [task.values if not task.regression else np.full_like(task.values, np.nan)
              for task in tasks]  # fmt: skip
    return [space_of(place, binary) for place in range(len(tasks))]


def _in_single_quotes(label: str) -> str:
    """A label as YAML, in single quotes if it contains texts in double quotes."""
    plain = '"' in label and "'" not in label and label.isprintable() and label.isascii()
    return f"'{label}'" if plain else flow(label)


def _of_task(task: Candidate) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if task.label.unknown is not None:
        options["unknown"] = int(float(task.label.unknown))
    if task.regression:
        return options | {"kind": "regression", "scale": _scale(task)}
    rate = float(f"{task.rate:.2g}") if 0 < task.rate < 1 else 0.0
    return options | ({"rate": rate} if 0 < rate < 1 else {})


def _scale(task: Candidate) -> float:
    """A round unit in which labels have a magnitude of about 1."""
    known = task.values[np.isfinite(task.values)]
    size = float(np.sqrt(np.mean(known**2))) if len(known) else 1.0
    if not 1e-12 < size < 1e12:
        return 1.0
    power = 10.0 ** math.floor(math.log10(size))
    return float(f"{power * nice(size / power):g}")


def _why(task: Candidate) -> str:
    if task.regression:
        return f"{describe(task)}; {task.why}"
    known = task.values[~np.isnan(task.values)]
    if not len(known):
        return f"no label in the rows that were read; {task.why}"
    return f"{task.counted}; {task.why}"


def _experts(draft: Draft) -> list[str]:
    if draft.groups:
        return [
            "experts:", "  hidden: [128]", "  width: 64", "  meta: {shared: 2, group: 2}",
            "  task: {shared: 2, group: 2, task: 1}", "towers: {hidden: [32]}",
        ]  # fmt: skip
    return [
        "experts: {hidden: [128], width: 64, norm: batch, activation: swish}",
        "towers: {hidden: [32]}",
    ]
