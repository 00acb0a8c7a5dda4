"""Mutated specs: `validate` never raises, and what validates compiles, imports and trains.

A third of the mutations is to the text (cut, doubled and foreign characters), the others are to the
data (keys and values removed, renamed, moved and replaced by hostile ones).
"""

from __future__ import annotations

import copy
import random
import sys
from typing import Any

import torch
import yaml
from hierarchies import random_spec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from topologies import random_family, random_topology

import homespec
from homespec.bench.random_batch import set_fitted
from homespec.compiler import analyse, validate_document
from homespec.diagnostics import Report, Severity
from homespec.diagnostics.render import FORMATS, render
from homespec.graph.feature_nodes import Feature
from homespec.graph.nodes import ExpertSet
from homespec.graph.sequences import Sequence
from homespec.schema.input_tensors import input_tensors
from homespec.source import parse

HOSTILE: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 10**400, 1e308, 0.5, float("nan"), float("inf")),
    *("", "on", "1", "1e-3", "import os", "__init__", "forward", "shared", "сlick", "a" * 1000),
    *(
        "batch",
        "width/loras",
        "own",
        "gated",
        "each",
        "all",
        "v",
        "ml_mmoe",
        "moe",
        "like",
        "\u202e",
        "x >= 1",
        "__import__('os')",
    ),
    *([], {}, [[]], [1, "a", None], {"count": 1}, {"hidden": [4]}, {"nodes": {"click": 1}}),
    *([{"outputs": ["shared"], "experts": {"shared": 2}}], ["shared"], {"shared": 3}),
]
CHARACTERS = [*":{}[],#&*!|>'\"%@`\t\n -?", "\r\n", "é", "\u2028", "\x00", "\ufeff", "<<: *a"]


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values below the top."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


def mutate_data(spec: dict[str, Any], rng: random.Random) -> str:
    """One to three changes to the data of a spec."""
    spec = copy.deepcopy(spec)
    for _ in range(rng.randint(1, 3)):
        *path, key = rng.choice(places(spec))
        parent: Any = spec
        for step in path:
            parent = parent[step]
        kind = rng.choice(["remove", "replace", "replace", "rename", "move", "add"])
        if kind == "remove":
            del parent[key]
        elif kind == "replace":
            parent[key] = rng.choice(HOSTILE)
        elif kind == "rename" and isinstance(parent, dict):
            parent[str(rng.choice([f"{key}x", "hidden", "shared", *HOSTILE]))] = parent.pop(key)
        elif kind == "move":
            parent[key] = copy.deepcopy(spec.get(rng.choice(list(spec) or [""])))
        elif isinstance(parent, list):
            parent.append(rng.choice([*parent, *HOSTILE]))
        if not spec:
            break
    return yaml.safe_dump(spec, sort_keys=False, allow_unicode=rng.random() < 0.5)


def mutate_text(spec: dict[str, Any], rng: random.Random) -> str:
    """One to three changes to the text of a spec."""
    text = yaml.safe_dump(spec, sort_keys=False, default_flow_style=rng.random() < 0.3)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice([1, 1, 5, 40]))
        kind = rng.choice(["cut", "insert", "double", "truncate"])
        if kind == "cut":
            text = text[:at] + text[end:]
        elif kind == "insert":
            text = text[:at] + rng.choice(CHARACTERS) + text[at:]
        elif kind == "double":
            text = text[:end] + text[at:]
        elif rng.random() < 0.3:
            text = text[:at]
    return text


def check_report(text: str) -> Report:
    """Validate a text; every span lies inside it and every format renders."""
    document = parse(text, "fuzz.yaml")
    report = Report.of(validate_document(document), {"fuzz.yaml": document.text})
    lines = document.text.split("\n")
    for diagnostic in report.diagnostics:
        for span in (diagnostic.span, *(label.span for label in diagnostic.related)):
            assert span.start <= span.end, diagnostic
            assert 1 <= span.start.line <= len(lines), diagnostic
            assert 1 <= span.start.column <= len(lines[span.start.line - 1]) + 1, diagnostic
        assert diagnostic.message, diagnostic
        assert diagnostic.help or diagnostic.rule.severity is Severity.WARNING, diagnostic
        assert len(diagnostic.help or "") < 600, diagnostic
    for name in FORMATS:
        assert isinstance(render(report, name), str)
    return report


def is_small(text: str) -> bool:
    """Whether the model is worth running in a test."""
    graph = analyse(parse(text, "fuzz.yaml")).graph
    sets = graph.of(ExpertSet)
    size = sum(s.count * a * b for s in sets for a, b in zip(s.widths, s.widths[1:], strict=False))
    return size < 200_000 and sum(s.count for s in sets) < 100


def run_once(text: str, seed: int, optimize: bool) -> None:
    """One training step on random data."""
    spec = homespec.loads(text, "fuzz.yaml")
    generator = torch.Generator().manual_seed(seed)
    if any(task.weight > 1e30 for task in spec.tasks.values()):
        return  # the loss is infinite, as asked for
    tables = [node for node in spec.analysis.graph.of(Feature) if node.rows]
    sequences = spec.analysis.graph.of(Sequence)
    if any(t.rows > 1_000_000 or t.width > 4096 for t in tables):
        return
    if any(node.max_len > 100 or node.width > 4096 for node in sequences):
        return
    features = {}
    for tensor in input_tensors(spec):
        shape = (8, tensor.length) if tensor.length else (8,)
        if tensor.kind == "id":
            features[tensor.name] = torch.randint(-1, 1000, shape, generator=generator)
        elif tensor.kind in ("number", "weight"):
            features[tensor.name] = torch.randn(shape, generator=generator)
        else:
            features[tensor.name] = torch.randn(*shape, tensor.width, generator=generator)
    model = homespec.build(spec, optimize=optimize)
    module = sys.modules[type(model).__module__]
    set_fitted(module, model, spec)
    labels = {t: torch.randint(0, 2, (8,), generator=generator).float() for t in module.TASKS}
    loss = module.loss(model(features), labels)
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad is not None for parameter in model.parameters()), text


@settings(max_examples=500, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
@example(seed=121134)  # self gates alone over sets that serve unequally many outputs
def test_mutated_specs(seed: int) -> None:
    rng = random.Random(seed)
    spec = rng.choice([random_spec, random_family, random_topology])(rng.randrange(500))
    mutate = mutate_text if rng.random() < 0.34 else mutate_data
    text = mutate(spec, rng)
    report = check_report(text)
    if not report.has_errors and is_small(text):
        for optimize in (True, False):
            run_once(text, seed, optimize)
