"""Training: a run is resumed with the spec that it was started with, in whatever words."""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path

from homespec.analysis.spec_diff import Tree, changes, model_tree
from homespec.lower import Lowered
from homespec.train import RunError

MAX_SHOWN = 6
INIT = "init"
"""How weights start: of no matter to those that are there, and older runs do not say it."""


def check_spec(before: Tree, now: Tree, out: Path) -> None:
    """Raise RunError that says what `now` has otherwise than `before`, the spec of the run.

    How its weights started is part of it.
    """
    if changed := _changed(before, now, set() if INIT in before else {INIT}):
        raise RunError(
            f"{out} is of another spec: {changed}."
            " Resume it with its own spec and --set, or start another run in another --out"
        )


def differences(before: Tree, now: Tree) -> str:
    """What `now` has otherwise than `before`, to which weights belong; empty if nothing."""
    return _changed(before, now, {INIT})


def _changed(before: Tree, now: Tree, ignored: Set[str]) -> str:
    old, new = ({k: v for k, v in tree.items() if k not in ignored} for tree in (before, now))
    texts = list(map(str, changes(old, new)))
    more = f"; and {len(texts) - MAX_SHOWN} more differences" if len(texts) > MAX_SHOWN else ""
    return "; ".join(texts[:MAX_SHOWN]) + more


def kept_tree(spec: Lowered) -> Tree:
    """A spec as a checkpoint keeps it."""
    tree: Tree = json.loads(json.dumps(model_tree(spec)))
    return tree
