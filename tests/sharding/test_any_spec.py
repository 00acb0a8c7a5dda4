"""The model before it is sharded = the generated one, on random specs with every kind of feature.

One process and no planner: this holds the fetching of embeddings and the state by logical name.
"""

from __future__ import annotations

import copy
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from event_specs import add_sequences
from hierarchies import random_features, random_labels, random_spec, randomise
from input_specs import add_inputs
from parity import gradients, load
from sharding_cases import KINDS, batch
from torch import Tensor

import homespec

ROWS = 16


def drawn(seed: int) -> dict[str, Any]:
    """A random hierarchy with sequences, shared tables and fitted boundaries."""
    spec, rng = random_spec(seed), random.Random(seed)
    if not any("sequence" in feature for feature in spec["features"].values()):
        add_inputs(rng, spec)
        add_sequences(rng, spec)
    widen(spec["features"])
    give_vocabularies(spec["features"])
    return spec


def give_vocabularies(features: dict[str, Any]) -> None:
    """Vocabularies that are fitted to data are refused."""
    for feature in features.values():
        if isinstance(feature.get("id", {}).get("vocab"), dict):
            feature["id"] = {"vocab": feature["id"]["vocab"]["max_size"]}
        give_vocabularies(feature.get("sequence", {}).get("with", {}))


def test_a_fitted_vocabulary_is_refused_by_name() -> None:
    from homespec import sharding

    vocabulary = "{vocab: {min_count: 2, max_size: 8}}"
    loaded = homespec.loads(
        f"homespec: 1\nname: m\nfamily: mmoe\nfeatures: {{city: {{id: {vocabulary}, dim: 4}}}}\n"
        "tasks: {a: {}, b: {}}\nexperts: {width: 4, hidden: []}\n"
    )
    with pytest.raises(sharding.UnshardableError, match="vocabulary of `city` is fitted to data"):
        sharding.build(loaded)


def widen(features: dict[str, Any]) -> None:
    """Make all widths of tables multiples of 4."""
    for feature in features.values():
        if "dim" in feature:
            feature["dim"] *= 4
        widen(feature.get("sequence", {}).get("with", {}))


def observe(
    model: Any, inputs: Any, loss: Any, labels: dict[str, Tensor], state: Any
) -> dict[str, dict[str, Tensor]]:
    """Outputs, gradients and a step's effect, by name."""
    evaluated = model.eval()(inputs)
    logits = model.train()(inputs)
    loss(logits, labels).backward()
    of_loss = gradients(model, SimpleNamespace(logical_state=state))
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    after = {name: tensor.detach().clone() for name, tensor in state(model).items()}
    return {"evaluated": evaluated, "logits": logits, "gradients": of_loss, "after": after}


@pytest.mark.parametrize("seed", range(40))
def test_it_computes_and_learns_the_same(seed: int) -> None:
    from homespec import sharding

    spec, generator = drawn(seed), torch.Generator().manual_seed(seed)
    loaded = load(spec)
    features = random_features(spec, ROWS, generator)
    labels = random_labels(spec, ROWS, generator)
    single, code = homespec.build(loaded), homespec.build_module(loaded)
    weights = randomise(code.logical_state(single), generator)
    state = {n: weights[n].to(t.dtype) for n, t in code.logical_state(single).items()}
    code.load_logical_state(single, state)
    model = sharding.build(loaded, tables="cpu")
    sharding.load_logical_state(model, state)
    back = sharding.logical_state(model)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    inputs = sharding.Preprocessor(loaded, sharding.boundaries_of(state))(features)
    wanted = observe(single, features, code.loss, labels, code.logical_state)
    observed = observe(model, inputs, code.loss, labels, sharding.logical_state)
    for what in wanted:
        assert observed[what].keys() == wanted[what].keys()
        for name in wanted[what]:
            exact = what in ("evaluated", "logits")  # gradients add up in another order
            tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-3, "atol": 1e-5}
            torch.testing.assert_close(observed[what][name], wanted[what][name], **tolerance)


def test_which_collection_holds_a_table() -> None:
    from homespec import sharding

    model = sharding.build(homespec.loads(KINDS))
    assert model.pooled is not None
    pooled = {c.name: c.feature_names for c in model.pooled.embedding_bag_configs()}
    assert pooled == {
        "user": ["user", "friend"],
        "user_tag": ["user_tag"],
        "price": ["price"],
        "pair": ["pair"],
    }
    unpooled = {
        width: [config.name for config in collection.embedding_configs()]
        for width, collection in model.unpooled.items()
    }
    assert unpooled == {
        "width_16": ["video"],
        "width_8": ["tag", "age", "brands", "near/long"],
        "width_4": ["seen/long", "seen/delay"],
    }
    keys = {"video", "last", "seen.video", "mean.last", "drift.video", "same.video"}
    assert set(model.tables["video"].keys) == {*keys, "near.video", "twin.video"}
    assert model.tables["video"].look_ups == 2 + 6 + 4 + 3 + 8 + 8 + 8


def test_a_row_is_asked_for_once() -> None:
    from homespec import sharding

    loaded = homespec.loads(KINDS)
    features, _ = batch(loaded, 0)
    inputs = sharding.Preprocessor(loaded, BOUNDARIES)(features)
    assert inputs.rows is not None
    assert inputs.of_events is not None
    assert sorted(inputs.rows.keys()) == ["friend", "pair", "price", "user", "user_tag"]
    for rows in inputs.of_events.to_dict().values():
        assert (rows.values().diff() > 0).all()
    tags = torch.cat([v.flatten() for key, v in features.items() if key.endswith("tag")])
    known = tags[(tags >= 0) & (tags < 2)]
    wanted = torch.cat([torch.tensor([0]), 1 + known]).unique()
    assert torch.equal(inputs.of_events["tag"].values(), wanted)
    assert inputs.features.keys() == features.keys() - {"user", "friend", "price"}


# ---------------------------------------------------------------- fitted boundaries

BOUNDARIES = {"age": [-2.0, 0.0, 0.0, 2.0], "price": [-1.0, 0.5, 1.0]}


def test_boundaries_are_those_of_the_model() -> None:
    from homespec import sharding

    loaded = homespec.loads(KINDS)
    model = sharding.build(loaded, BOUNDARIES, tables="cpu")
    state = sharding.logical_state(model)
    assert sharding.boundaries_of(state) == BOUNDARIES
    features, _ = batch(loaded, 0)
    rows = sharding.Preprocessor(loaded, sharding.boundaries_of(state))
    single, code = homespec.build(loaded), homespec.build_module(loaded)
    code.load_logical_state(single, state)
    for same in (model, copy.deepcopy(model)):
        for task, logit in same(rows(features)).items():
            assert torch.equal(logit, single(features)[task])


def test_rows_by_other_boundaries_are_refused() -> None:
    from homespec import sharding

    loaded = homespec.loads(KINDS)
    model = sharding.build(loaded, BOUNDARIES, tables="cpu")
    other = {**BOUNDARIES, "age": [-2.0, 0.0, 0.5, 2.0]}
    inputs = sharding.Preprocessor(loaded, other)(batch(loaded, 0)[0])
    with pytest.raises(ValueError, match="rows were computed with boundaries of age that"):
        model(inputs)
    unset = sharding.build(loaded, tables="cpu")
    with pytest.raises(ValueError, match="the boundaries of age, price are not known: pass them"):
        unset(inputs)


def test_what_is_not_known_is_named_as_what_it_is() -> None:
    from homespec import sharding

    number = "features.cost={number: {scale: log}}"
    loaded = homespec.loads(KINDS, overrides=[number])
    inputs = sharding.Preprocessor(loaded, BOUNDARIES)(batch(loaded, 0)[0])
    both = "the boundaries of age, price and the scaling of cost are not known"
    with pytest.raises(ValueError, match=both):
        sharding.build(loaded, tables="cpu")(inputs)
    with pytest.raises(ValueError, match="the scaling of cost is not known: pass them"):
        sharding.build(loaded, BOUNDARIES, tables="cpu")(inputs)


def test_boundaries_that_the_spec_does_not_need_or_lacks() -> None:
    from homespec import sharding

    loaded = homespec.loads(KINDS)
    with pytest.raises(ValueError, match="the boundaries of age, price are needed to compute rows"):
        sharding.Preprocessor(loaded)
    with pytest.raises(KeyError, match=r"missing \['price'\]"):
        sharding.Preprocessor(loaded, {"age": BOUNDARIES["age"]})
    with pytest.raises(ValueError, match="price needs 3 boundaries, not 2"):
        sharding.build(loaded, {**BOUNDARIES, "price": [0.0, 1.0]})
    plain = homespec.loads(KINDS, overrides=["features.age.bucketize=[1]", "features.price=null"])
    with pytest.raises(KeyError, match=r"fits no boundaries to data: unknown \['age'\]"):
        sharding.Preprocessor(plain, {"age": [1.0]})
