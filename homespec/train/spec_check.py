"""Training: a run is resumed with the spec that it was started with, in whatever words."""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path

from homespec.analysis.spec_diff import Tree, changes, known_to, model_tree
from homespec.lower import Lowered
from homespec.train import RunError

MAX_SHOWN = 6
INIT = "init"
"""How weights start: of no matter to those that are there, and older runs do not say it."""


def check_spec(before: Tree, now: Lowered, out: Path) -> None:
    """Raise RunError that says what the spec has otherwise than `before`, that of the run.

    How its weights started is part of it.
    """
    if changed := _changed(before, now, set() if INIT in before else {INIT}):
        raise RunError(
            f"{out} belongs to another spec: {changed}. Resume it with its own spec and --set, "
            "or start a new run in another --out"
        )


def differences(before: Tree, now: Lowered) -> str:
    """What a spec has otherwise than `before`, to which weights belong; empty if nothing."""
    return _changed(before, now, {INIT})


def _changed(before: Tree, spec: Lowered, ignored: Set[str]) -> str:
    now = known_to(before, _plain(model_tree(spec)), _plain(model_tree(spec, defaults=False)))
    old, new = ({k: v for k, v in tree.items() if k not in ignored} for tree in (before, now))
    texts = list(map(str, changes(old, new)))
    more = f"; and {len(texts) - MAX_SHOWN} more differences" if len(texts) > MAX_SHOWN else ""
    return "; ".join(texts[:MAX_SHOWN]) + more


def _plain(tree: Tree) -> Tree:
    """A tree as a checkpoint keeps it."""
    plain: Tree = json.loads(json.dumps(tree))
    return plain
