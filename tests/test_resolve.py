"""Resolving never fails: whatever groups and layers a valid spec names, it has both."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from homespec.checks import check_names
from homespec.resolve import Resolved, resolve
from homespec.resolve.families import FAMILIES
from homespec.resolve.tree import MAX_NESTING, Role
from homespec.schema import Spec
from homespec.source import parse

NAMES = st.sampled_from(["a", "b", "c", "d", "click", "like", "shared", "missing"])
MEMBERS = st.lists(NAMES, min_size=1, max_size=4)
LAYER = st.fixed_dictionaries(
    {"experts": st.dictionaries(NAMES, st.integers(0, 2), min_size=1), "outputs": MEMBERS}
)
SPECS = st.fixed_dictionaries(
    {"groups": st.dictionaries(st.sampled_from(["a", "b", "c", "d", "click"]), MEMBERS)},
    optional={
        "family": st.sampled_from(list(FAMILIES)),
        "layers": st.integers(1, 5) | st.lists(LAYER, min_size=1, max_size=3),
        "experts": st.fixed_dictionaries({"meta": st.lists(st.just({}), min_size=1, max_size=4)}),
        "gates": st.fixed_dictionaries({"meta": st.lists(st.just({}), min_size=1, max_size=4)}),
    },
)
DOCUMENT = parse("", "x.yaml")


def resolved(given: dict[str, Any]) -> Resolved:
    base = {"homespec": 1, "name": "m", "features": {"f": {"dense": 2}}}
    tasks: dict[str, Any] = {"click": {}, "like": {}}
    return resolve(Spec.model_validate({**base, "tasks": tasks, **given}), DOCUMENT)


@settings(max_examples=300)
@given(SPECS)
def test_every_valid_spec_resolves(given: dict[str, Any]) -> None:
    """Each name is in the tree once, and layers speak of its nodes alone."""
    model = resolved(given)
    names = [node.name for node in model.root.walk()]
    assert len(set(names)) == len(names)
    declared = {"shared", *given["groups"], "click", "like"}
    assert set(names) <= declared
    for layer in model.layers:
        assert {*layer.sets, *(node.name for node in layer.outputs)} <= declared
    if not check_names(model):
        assert {node.name for node in model.root.of(Role.TASK)} == {"click", "like"}


def test_deep_nesting_is_cut_off() -> None:
    """No recursion over what nests too deep, which a rule reports."""
    groups = {f"g{i}": [f"g{i + 1}"] for i in range(1000)} | {"g1000": ["click", "like"]}
    model = resolved({"groups": groups})
    assert max(node.depth for node in model.root.walk()) == MAX_NESTING + 1
    assert "nested-too-deep" in [d.rule.name for d in check_names(model)]
    assert not check_names(resolved({"groups": groups_of(MAX_NESTING)}))


def groups_of(levels: int) -> dict[str, list[str]]:
    """Groups that nest as deep as is allowed, with all tasks in the innermost one."""
    names = [f"g{i}" for i in range(levels)]
    inner = dict(zip(names, ([name] for name in names[1:]), strict=False))
    return {**inner, names[-1]: ["click", "like"]}
