"""Random edits of random specs: what the plan says about weights and logits is true, in float64.

Every weight of both specs is accounted for once. Where the plan calls a tower the same, the new
model with the weights carried over gives the logits of the old one, to rounding; where it calls it
neutral, to what a gate that is closed leaves open.
"""

from __future__ import annotations

import random
from types import ModuleType
from typing import NamedTuple

import pytest
import torch
import yaml
from hierarchies import random_features, random_spec, randomise
from spec_edits import Edit, Spec, random_edit
from topologies import random_family, random_topology
from torch import Tensor, nn

import homespec
from homespec.api import LoadedSpec
from homespec.diff.carry import Plan, kept, plan
from homespec.diff.effect import Change, Effects
from homespec.diff.pair import inverse
from homespec.graph.identity import Renames
from homespec.migration.weights import Starts, carried_state

torch.set_num_threads(1)

PAIRS, IN_A_TEST = 300, 20
ROWS = 16


class Side(NamedTuple):
    """One of two specs, with its model in float64."""

    spec: Spec
    loaded: LoadedSpec
    code: ModuleType
    model: nn.Module

    @property
    def state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.code.logical_state(self.model)
        return {name: tensor.clone() for name, tensor in state.items()}


def side(spec: Spec, seed: int) -> Side:
    loaded = homespec.loads(yaml.safe_dump(spec, sort_keys=False))
    code = homespec.build_module(loaded, optimize=False)
    torch.manual_seed(seed)
    return Side(spec, loaded, code, code.Model().double().eval())


def edited(rng: random.Random, spec: Spec) -> Edit | None:
    """An edit that leaves the spec sound; None if ten do not."""
    for _ in range(10):
        edit = random_edit(rng, spec)
        try:
            homespec.loads(yaml.safe_dump(edit.spec, sort_keys=False))
        except homespec.SpecError:
            continue
        return edit
    return None


def pair(seed: int) -> tuple[Side, Side, Renames]:
    rng = random.Random(seed)
    spec = rng.choice([random_spec, random_topology, random_family])(seed)
    edit = edited(rng, spec)
    while edit is None:
        spec = random_spec(rng.randrange(10**6))
        edit = edited(rng, spec)
    old, new = side(spec, seed), side(edit.spec, seed + 1)
    generator = torch.Generator().manual_seed(seed)
    old.code.load_logical_state(old.model, randomise(old.state, generator))
    return old, new, Renames(edit.features, edit.places)


def features(spec: Spec) -> dict[str, Tensor]:
    return random_features(spec, ROWS, torch.Generator().manual_seed(1))


def migrated(old: Side, new: Side, carried: Plan) -> None:
    """Bring the weights of the old model into the new one."""
    ready = randomise(new.state, torch.Generator().manual_seed(2))  # what is fitted starts as NaN
    fresh = {
        n: ready[n] if n.endswith(("boundaries", "scaling", "vocabulary")) else t
        for n, t in new.state.items()
    }
    new.code.load_logical_state(new.model, carried_state(carried, old.state, fresh, Starts()))


def check_accounts(old: Side, new: Side, carried: Plan) -> None:
    used = [one.old.name for one in carried.carried.values() if one.old]
    assert sorted([*used, *(tensor.name for tensor in carried.dropped)]) == sorted(old.state)
    shapes = {one.tensor.name: one.tensor.shape for one in carried.carried.values()}
    assert shapes == {name: tensor.shape for name, tensor in new.state.items()}


def loses_nothing(carried: Plan) -> bool:
    """Whether all of the old model is in the new one."""
    parts = [
        kept(runs) == axis.size
        for one in carried.carried.values() if one.old
        for runs, axis in zip(one.runs, one.old.axes, strict=True)
    ]  # fmt: skip
    return all(parts) and not carried.dropped


def check_way_back(old: Side, new: Side, renames: Renames, carried: Plan) -> bool:
    """Where nothing is lost on the way there, the way back gives the same state."""
    if not loses_nothing(carried):
        return False
    graphs = new.loaded.analysis.graph, old.loaded.analysis.graph
    back = plan(*graphs, Renames(inverse(renames.features), inverse(renames.places)))
    state = carried_state(back, new.state, {n: 0 * t for n, t in old.state.items()}, Starts())
    assert all(torch.equal(state[name], tensor) for name, tensor in old.state.items())
    return True


def check_logits(old: Side, new: Side, renames: Renames, effects: dict[str, Change]) -> None:
    before, after = features(old.spec), features(new.spec)
    after |= {n: x for name, x in before.items() if (n := renames.feature(name)) in after}
    with torch.no_grad():
        was, now = old.model(before), new.model(after)
    names = {renames.place(name): name for name in was}
    for task, change in effects.items():
        if change <= Change.NEUTRAL:
            tolerance = 1e-9 if change is Change.SAME else 1e-5
            torch.testing.assert_close(
                now[task], was[names[task]], rtol=tolerance, atol=tolerance, msg=task
            )


@pytest.mark.parametrize("start", range(0, PAIRS, IN_A_TEST))
def test_what_the_plan_calls_the_same_is_the_same(start: int) -> None:
    for seed in range(start, start + IN_A_TEST):
        old, new, renames = pair(seed)
        graphs = old.loaded.analysis.graph, new.loaded.analysis.graph
        carried = plan(*graphs, renames)
        check_accounts(old, new, carried)
        migrated(old, new, carried)
        check_way_back(old, new, renames, carried)
        towers = Effects(*graphs, renames, carried).towers()
        check_logits(old, new, renames, {task: one.change for task, one in towers.items()})


def test_the_pairs_show_every_effect() -> None:
    """Of 60 pairs at least ten towers each: the test above is about something."""
    counts: dict[Change, int] = {}
    ways_back = 0
    for seed in range(60):
        old, new, renames = pair(seed)
        graphs = old.loaded.analysis.graph, new.loaded.analysis.graph
        carried = plan(*graphs, renames)
        ways_back += loses_nothing(carried)
        for effect in Effects(*graphs, renames, carried).towers().values():
            counts[effect.change] = counts.get(effect.change, 0) + 1
    assert ways_back > 5
    assert min(counts[change] for change in (Change.SAME, Change.NEUTRAL, Change.CHANGED)) > 10
