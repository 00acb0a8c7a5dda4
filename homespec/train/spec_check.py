"""Training: checks that a run is resumed with an equivalent spec."""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path

from homespec.analysis.spec_diff import Tree, changes, known_to, model_tree
from homespec.lower import Lowered
from homespec.train import RunError

MAX_SHOWN = 6
INIT = "init"
"""Options for initial weights, which do not matter for existing weights and which older runs
lack."""


def check_spec(before: Tree, now: Lowered, out: Path) -> None:
    """Raise RunError with the differences of the spec from `before`, that of the run.

    The options for initial weights also count.
    """
    if changed := _changed(before, now, set() if INIT in before else {INIT}):
        raise RunError(
            f"{out} belongs to another spec: {changed}. Resume it with its own spec and --set, "
            "or start a new run in another --out"
        )


def differences(before: Tree, now: Lowered) -> str:
    """The differences of a spec from `before`, to which weights belong; empty if there are none."""
    return _changed(before, now, {INIT})


def _changed(before: Tree, spec: Lowered, ignored: Set[str]) -> str:
    now = known_to(before, _plain(model_tree(spec)), _plain(model_tree(spec, defaults=False)))
    old, new = ({k: v for k, v in tree.items() if k not in ignored} for tree in (before, now))
    texts = list(map(str, changes(old, new)))
    more = f"; and {len(texts) - MAX_SHOWN} more differences" if len(texts) > MAX_SHOWN else ""
    return "; ".join(texts[:MAX_SHOWN]) + more


def _plain(tree: Tree) -> Tree:
    """A tree in the form in which a checkpoint stores it."""
    plain: Tree = json.loads(json.dumps(tree))
    return plain
