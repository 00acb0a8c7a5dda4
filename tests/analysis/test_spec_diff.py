"""What differs between the models of two specs, by path; other words are no difference."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hierarchies import Spec, specs
from hypothesis import given, settings
from topologies import random_family, random_topology

import homespec
from homespec.analysis.expand import expanded, explicit
from homespec.analysis.spec_diff import Tree, changes, known_to, model_tree

BASE: Spec = {
    "homespec": 1,
    "name": "m",
    "features": {"a": {"dense": 8}, "b": {"id": {"buckets": 10}, "dim": 4}},
    "groups": {"watch": ["click", "finish"], "social": ["like", "follow"]},
    "tasks": {"click": {}, "finish": {}, "like": {}, "follow": {}},
}


def tree_of(spec: Spec) -> Tree:
    return model_tree(homespec.loads(yaml.safe_dump(spec, sort_keys=False)).analysis)


def reordered(section: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(section.items()))


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        ({"description": "other words"}, []),
        ({"family": "home", "layers": 2}, []),
        ({"gates": {"self": True}}, []),
        ({"expect": {"budget": {"experts": 64}}}, []),
        ({"name": "n"}, ["`name` is n, was m"]),
        ({"init": "torch"}, ["`init` is torch, was auto"]),
        (
            {"features": {"a": {"dense": 9}}},
            ["feature `b` was removed", "`features.a.dense` is 9, was 8"],
        ),
        (
            {"features": reordered(BASE["features"])},
            ["`features`: the entries are in another order"],
        ),
        (
            {"experts": {"meta": {"shared": 3}}},
            ["`layers.meta.experts.shared.count` is 3, was 2"],
        ),
        (
            {"groups": {"watch": ["click", "like"], "social": ["finish", "follow"]}},
            ["group `watch` is click, like, was click, finish"],
        ),
        ({"tasks": {**BASE["tasks"], "like": {"weight": 2}}}, ["`tasks.like.weight` is 2.0, was"]),
        ({"layers": 3}, ["layer `meta2` is new"]),
    ],
)
def test_changes(change: dict[str, Any], texts: list[str]) -> None:
    lines = list(map(str, changes(tree_of(BASE), tree_of({**BASE, **change}))))
    assert bool(lines) == bool(texts)
    for text in texts:
        assert any(line.startswith(text) for line in lines), lines


def test_paths_name_the_place() -> None:
    (change,) = changes(tree_of(BASE), tree_of({**BASE, "experts": {"meta": {"shared": 3}}}))
    assert change.path == ("layers", "meta", "experts", "shared", "count")


@settings(max_examples=30)
@given(spec=specs())
def test_the_explicit_form_is_what_its_text_says(spec: Spec) -> None:
    check_explicit(spec)


@pytest.mark.parametrize("seed", range(20))
def test_the_explicit_form_of_families_and_layers_by_hand(seed: int) -> None:
    check_explicit(random_family(seed))
    check_explicit(random_topology(seed))


def check_explicit(spec: Spec) -> None:
    analysis = homespec.loads(yaml.safe_dump(spec, sort_keys=False)).analysis
    again = homespec.loads(expanded(analysis))
    assert explicit(analysis).model_dump() == again.model_dump()
    assert not list(changes(model_tree(analysis), model_tree(again.analysis)))


def older(tree: Tree, given: Tree) -> Tree:
    """A tree as a homespec wrote it that knew no key but those that have no default here."""
    return {
        key: older(value, given[key]) if isinstance(value, dict) else value
        for key, value in tree.items()
        if key in given
    }


def test_keys_that_an_older_homespec_did_not_know_have_their_defaults() -> None:
    analysis = homespec.loads(yaml.safe_dump(BASE, sort_keys=False)).analysis
    now, given = model_tree(analysis), model_tree(analysis, defaults=False)
    before = older(now, given)
    assert "weight" not in before["tasks"]["click"]  # among others
    assert list(changes(before, now))
    assert not list(changes(before, known_to(before, now, given)))
    spec = {**BASE, "tasks": {**BASE["tasks"], "click": {"weight": 2.0}}}
    analysis = homespec.loads(yaml.safe_dump(spec, sort_keys=False)).analysis
    now, given = model_tree(analysis), model_tree(analysis, defaults=False)
    changed = map(str, changes(before, known_to(before, now, given)))
    assert list(changed) == ["`tasks.click.weight` is new"]
