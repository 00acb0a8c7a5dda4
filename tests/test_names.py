"""Names that collide: refused by name, or the model is the same under any other names."""

from __future__ import annotations

import ast
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from adversarial import adversarial
from click.testing import CliRunner
from hierarchies import Spec, random_features, random_labels, randomise
from hypothesis import example, given, settings
from hypothesis import strategies as st
from parity import BATCH, assert_close, split
from set_twice import check_unique

import homespec
from homespec.cli.main import cli
from homespec.diagnostics import Severity
from homespec.drawing.mermaid import as_mermaid
from homespec.emit.naming import Naming
from homespec.emit.plain import plain_trunk
from homespec.emit.scope import Scope, Values
from homespec.graph.nodes import SelfGate

REFUSED = {"HS108", "HS109", "HS205", "HS213", "HS224", "HS244"}
"""The rules that refuse names."""


def loaded(spec: Spec) -> Any:
    """The spec; None where a name is refused, which is the only mistake that it may have."""
    try:
        return homespec.loads(yaml.safe_dump(spec, sort_keys=False))
    except homespec.SpecError as error:
        errors = [d for d in error.report.diagnostics if d.rule.severity is Severity.ERROR]
        if not {found.rule.code for found in errors} <= REFUSED:
            raise
        return None


def assert_same_model(spec: Spec, seed: int) -> bool:
    """All parameters have a logical name, and both layouts compute the same from the same state."""
    found = loaded(spec)
    if found is None:
        return False
    for optimize in (True, False):
        check_unique(homespec.compile(found, optimize=optimize))
    both = [
        (
            homespec.build(found, dtype=torch.float64, optimize=optimize),
            homespec.build_module(found, optimize=optimize),
        )
        for optimize in (True, False)
    ]
    generator = torch.Generator().manual_seed(seed)
    features = random_features(spec, BATCH, generator)
    labels = random_labels(spec, BATCH, generator)
    (model, code), (plain, plain_code) = both
    state = randomise(code.logical_state(model), generator)
    for each, functions in both:
        named = sum(tensor.numel() for tensor in split(functions.logical_state(each))[0].values())
        assert named == sum(p.numel() for p in each.parameters()), "parameters without a name"
        functions.load_logical_state(each, state)
        assert_close("loaded", functions.logical_state(each), state)
        assert set(functions.TASKS) == set(spec["tasks"])
    logits, expected = model.eval()(features), plain.eval()(features)
    assert_close("logits", logits, expected)
    assert_close("losses", code.losses(logits, labels), plain_code.losses(expected, labels))
    return True


@settings(max_examples=25)
@example(0)
@example(129)  # a layer called `order`
@example(130)  # one called `names`
@example(52050)  # joined projections of one input each, and of several
@given(st.integers(0, 10**9))
def test_any_names_are_refused_or_change_nothing(seed: int) -> None:
    assert_same_model(adversarial(random.Random(seed)), seed)


def test_most_names_are_fine() -> None:
    """The property above looks at models, not at refusals alone."""
    drawn = [adversarial(random.Random(seed)) for seed in range(20)]
    assert sum(loaded(spec) is not None for spec in drawn) > 10


TREE = """
homespec: 1
name: m
features: {%s: {id: {vocab: 9}, dim: 4}, n: {bucketize: [1], dim: 2}}
groups: {%s: [%s, c], other: [d, e]}
tasks: {%s: {label: a}, c: {}, d: {}, e: {}}
experts: {width: 4}
"""


@pytest.mark.parametrize("root", ["shared", "Shared", "SHARED", "sHaReD"])
@pytest.mark.parametrize("place", range(3))
def test_the_root_has_its_name_in_any_case(root: str, place: int) -> None:
    feature, group, task = (root if place == i else name for i, name in enumerate("fgt"))
    with pytest.raises(homespec.SpecError, match=f"`{root}` is reserved: it is the root"):
        homespec.loads(TREE % (feature, group, task, task))


SEQUENCE = """
homespec: 1
name: m
features: {item: {id: {vocab: 9}, dim: 4}, %s: {sequence: {of: [item], max_len: 3, encoder: din}}}
tasks: {a: {}, b: {}}
family: mmoe
experts: {width: 4, task: {shared: 2}}
"""


@pytest.mark.parametrize("name", ["logical", "names", "starts", "encoders", "tables", "rows"])
def test_sequences_have_names_of_attributes(name: str) -> None:
    spec = homespec.loads(SEQUENCE % name)
    both = [homespec.build_with_module(spec, optimize=optimize) for optimize in (True, False)]
    states = [code.logical_state(model).keys() for code, model in both]
    assert states[0] == states[1]


@pytest.mark.parametrize("word", ["nan", "NaN", "null", "none", "true", "false", "on", "yes"])
def test_words_of_yaml_are_names_of_tasks_with_labels(word: str, tmp_path: Path) -> None:
    """Every verb answers."""
    text = TREE % ("f", f'"{word}"' + "_", f'"{word}"', f'"{word}"')
    text = text.replace('"_', '_"')
    path = tmp_path / "words.yaml"
    path.write_text(text)
    for verb in ("validate", "show", "compile", "graph", "explain --spec", "show --expanded"):
        result = CliRunner().invoke(cli, [*verb.split(), str(path)])
        assert result.exit_code == 0, result.output
    again = tmp_path / "again.yaml"
    again.write_text(result.output)
    assert list(homespec.load(again).tasks) == list(homespec.load(path).tasks)
    assert assert_same_model(yaml.safe_load(text), 0)
    if word in ("on", "yes"):  # text in YAML 1.2, and no slips for a column
        homespec.loads(text.replace("{label: a}", "{}"))
    else:
        with pytest.raises(homespec.SpecError, match="HS224"):
            homespec.loads(text.replace("{label: a}", "{}"))


def test_projections_and_groups_that_differ_in_case() -> None:
    """The states along the path of `watch` are read by `watch_path`; a group is `watch_PATH`."""
    text = TREE.replace("other", "g_PATH") % ("f", "g", "t", "t")
    for spec in (text, text + "gates: {feature: false}\n", text + "family: ple\n"):
        assert assert_same_model(yaml.safe_load(spec), 1)


def test_states_of_a_node_and_nodes_called_alike_are_kept_apart() -> None:
    """`shared` has the states `shared.0` and `shared.1`, and a task is called `shared_0`."""
    text = """
homespec: 1
name: m
features: {f: {id: {vocab: 9}, dim: 4}}
tasks: {shared_0: {}, b: {}}
experts: {width: 4}
layers:
  - {experts: {shared: 2, shared_0: 1, b: 1}, outputs: [shared, shared_0, b]}
  - {experts: {shared: {count: 2, inputs: each}, shared_0: 1, b: 1}, outputs: [shared_0, b]}
"""
    drawn = as_mermaid(homespec.loads(text).analysis.graph).splitlines()
    boxes = [line.strip().partition("(")[0] for line in drawn if '("' in line]
    assert {"states_meta_0_shared", "states_meta_shared_0"} <= set(boxes)
    assert len(boxes) == len(set(boxes))
    assert assert_same_model(yaml.safe_load(text), 2)


SET_TWICE = {
    "in the file A": "A = 1\nA = 2",
    "in the file A, B": "import A\nA = B = 1\nB = 3",
    "in the file f": "f = 1\ndef f(): pass",
    "in a dict": "A = {'x': 1, 'y': 2, 'x': 3}",
    "in C f": "class C:\n    def f(self): pass\n    def f(self): pass",
    r"of Trunk self\.x": "class Trunk:\n    def __init__(self):\n        self.x = self.x = 2",
}


@pytest.mark.parametrize("message", SET_TWICE)
def test_what_is_set_twice_is_not_emitted(message: str) -> None:
    with pytest.raises(AssertionError, match=f"{message}.*would be set twice"):
        check_unique(SET_TWICE[message])


def test_variables_and_logical_names_are_looked_at() -> None:
    graph = homespec.loads(TREE % ("f", "g", "a", "a")).analysis.graph
    values = Values()
    scope = Scope("meta", Naming(graph), values)
    assert [scope.fresh("x") for _ in range(3)] == ["x", "x_", "x__"]
    values.take("gates.b.1")
    with pytest.raises(AssertionError, match=r"gates\.b\.1 would be set twice"):
        values.take("gates.b.1")
    gates = [node for node in graph if isinstance(node, SelfGate)]
    with pytest.raises(AssertionError, match=f"s_meta_{gates[0].identifier} would be set twice"):
        plain_trunk([*gates, gates[0]], graph)


def test_generated_text_parses_at_any_length_of_names() -> None:
    spec = TREE % ("f" * 63, "g" * 63, "t" * 63, "t" * 63)
    for optimize in (True, False):
        ast.parse(homespec.compile(homespec.loads(spec), optimize=optimize))
