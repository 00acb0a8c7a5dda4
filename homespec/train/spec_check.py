"""Training: a run is resumed with the spec that it was started with, in whatever words."""

from __future__ import annotations

import json
from pathlib import Path

from homespec.analysis.spec_diff import Tree, changes, model_tree
from homespec.lower import Lowered
from homespec.train import RunError

MAX_SHOWN = 6


def check_spec(before: Tree, now: Tree, out: Path) -> None:
    """Raise RunError that says what `now` has otherwise than `before`, the spec of the run."""
    if changed := differences(before, now):
        raise RunError(
            f"{out} is of another spec: {changed}."
            " Resume it with its own spec and --set, or start another run in another --out"
        )


def differences(before: Tree, now: Tree) -> str:
    """What `now` has otherwise than `before`; empty if they are the same."""
    texts = list(map(str, changes(before, now)))
    more = f"; and {len(texts) - MAX_SHOWN} more differences" if len(texts) > MAX_SHOWN else ""
    return "; ".join(texts[:MAX_SHOWN]) + more


def kept_tree(spec: Lowered) -> Tree:
    """A spec as a checkpoint keeps it."""
    tree: Tree = json.loads(json.dumps(model_tree(spec)))
    return tree
