"""Export: determines the weights that fit a compiled package: those of the same inference graph."""

from __future__ import annotations

import ast
import hashlib
import json

from homespec.api import LoadedSpec, compile  # noqa: A004
from homespec.diff.breaks import Breaks
from homespec.diff.compare import compare
from homespec.diff.pair import BREAKS
from homespec.export import Weights
from homespec.scoring import Output

SERVED = {Breaks.INTERFACE, Breaks.CHECKPOINT, Breaks.NUMERICS}
"""The kinds of breakage that mean a changed inference graph."""
MAX_SHOWN = 6


def graph_sha256(
    spec: LoadedSpec,
    tasks: tuple[str, ...],
    output: Output,
    weights: Weights = "float32",
    user_features: tuple[str, ...] = (),
) -> str:
    """The hash of what is compiled: the code of the inference file, and the selected outputs.

    Comments, docstrings and everything about training do not count.
    """
    tree = ast.parse(
        compile(spec, mode="inference", tasks=tasks, user_features=user_features or None)
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:] or [ast.Pass()]
    meanings = [(task, spec.tasks[task].kind, spec.tasks[task].scale) for task in tasks]
    tables = [] if weights == "float32" else [weights]
    text = json.dumps([ast.unparse(tree), output, meanings, *tables])
    return hashlib.sha256(text.encode()).hexdigest()


def differences(before: LoadedSpec, now: LoadedSpec) -> str:
    """The changes between two specs' inference graphs, as `homespec diff` words them; or ""."""
    changes = compare(before.analysis, now.analysis).changes
    texts = [each.message for each in changes if SERVED.intersection(BREAKS[each.rule.code])]
    more = f"; and {len(texts) - MAX_SHOWN} more changes" if len(texts) > MAX_SHOWN else ""
    return "; ".join(texts[:MAX_SHOWN]) + more
