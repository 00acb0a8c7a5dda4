"""The oracle's model, held against cases worked out by hand from HOME.md."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import Reference, columns_in
from reference_plan import plans
from torch import Tensor

torch.set_num_threads(1)

V = 6  # width of v in `home`


def home(**sections: Any) -> dict[str, Any]:
    """The paper's two groups over one dense feature, small."""
    spec = {
        "homespec": 1,
        "name": "small",
        "features": {"x": {"dense": V}},
        "groups": {"watch": ["click", "finish"], "interaction": ["like"]},
        "tasks": {"click": {}, "finish": {}, "like": {}},
        "experts": {"width": 4},
    }
    return {**spec, **sections}


def deep() -> dict[str, Any]:
    """Three levels of groups, groups declared out of order, members mixed."""
    groups = {
        "follow_up": ["subscribe", "revisit"],
        "watch": ["click", "finish"],
        "social": ["follow", "follow_up"],
        "interaction": ["like", "social", "comment"],
    }
    tasks = ["click", "finish", "like", "follow", "comment", "subscribe", "revisit"]
    return home(groups=groups, tasks={task: {} for task in tasks})


def randomised(spec: dict[str, Any], seed: int = 0) -> Reference:
    """A reference with no parameter left at zero."""
    model = Reference(spec)
    generator = torch.Generator().manual_seed(seed)
    state = model.logical_state()
    noise = {n: torch.randn(t.shape, generator=generator).double() for n, t in state.items()}
    model.load_logical_state(noise | {n: t for n, t in state.items() if "running" in n})
    return model


def inputs(batch: int = 12, seed: int = 1) -> Tensor:
    return torch.randn(batch, V, generator=torch.Generator().manual_seed(seed)).double()


def step(model: Reference, index: int, states: dict[str, Tensor]) -> dict[str, Tensor]:
    """What one layer of a model whose nodes have one state each makes of these states."""
    width = len(columns_in(model.columns["shared"]))
    v = torch.zeros(len(states["shared"]), width).double() if index else states["shared"]
    found = model.layers[index]({node: [x] for node, x in states.items()}, v)
    return {node: x for node, (x,) in found.items()}


def test_the_oracle_shares_no_code_with_homespec() -> None:
    for name in ("reference.py", "reference_plan.py"):
        lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if "homespec" in line and "import" in line.split()]


def test_features() -> None:
    features = {
        "tab": {"id": {"vocab": 3}, "dim": 2},
        "user": {"id": {"buckets": 4}, "dim": 2},
        "time": {"bucketize": [1, 2.5], "dim": 2},
        "text": {"dense": 2},
    }
    model = Reference(home(features=features))
    rows = {name: model.features[name].weight for name in ("tab", "user", "time")}
    assert [len(table) for table in rows.values()] == [4, 5, 4]
    raw = {
        "tab": torch.tensor([-1, 0, 2, 3]),
        "user": torch.tensor([-1, 3, 4, -5]),
        "time": torch.tensor([math.nan, 0.0, 1.0, 9.0]),
        "text": torch.tensor([[math.nan, 1.0], [2.0, 3.0], [0.0, 0.0], [4.0, math.nan]]),
    }
    tab, user, time = (
        rows["tab"][[0, 1, 3, 0]],
        rows["user"][[0, 4, 1, 4]],
        rows["time"][[0, 1, 2, 3]],
    )
    text = torch.tensor([[0.0, 1.0], [2.0, 3.0], [0.0, 0.0], [4.0, 0.0]])
    torch.testing.assert_close(model.v(raw), torch.cat([tab, user, time, text], 1))


def test_losses_leave_out_missing_labels() -> None:
    model = Reference(home(tasks={"click": {"weight": 2}, "finish": {}, "like": None}))
    logits = {task: torch.tensor([0.0, math.log(3)]).double() for task in model.tasks}
    labels = {
        "click": torch.tensor([1.0, 0.0]).double(),  # log 2 and log 4
        "finish": torch.tensor([math.nan, 1.0]).double(),  # log 4/3
        "like": torch.tensor([math.nan, math.nan]).double(),
    }
    losses = {task: x.item() for task, x in model.losses(logits, labels).items()}
    expected = {"click": 1.5 * math.log(2), "finish": math.log(4 / 3), "like": 0}
    assert losses == pytest.approx(expected)
    assert model.loss(logits, labels).item() == pytest.approx(3 * math.log(2) + math.log(4 / 3))


def test_home_is_sections_3_to_5_written_out() -> None:
    model = randomised(home())
    x = inputs()
    p, parts = model.logical_state(), model.parts

    def experts(layer: str, node: str, read: Tensor) -> list[Tensor]:
        gated = read * parts[f"feature_gates.{layer}.{node}"](read)
        return [parts[f"experts.{layer}.{node}.{k}"](gated) for k in range(2)]

    def softmax(name: str, read: Tensor) -> Tensor:
        linear = f"{name}.linears.0"
        return torch.softmax(read @ p[f"{linear}.weight"].T + p[f"{linear}.bias"], 1)

    def mix(name: str, read: Tensor, values: list[Tensor]) -> Tensor:
        return torch.einsum("bk,bkd->bd", softmax(name, read), torch.stack(values, 1))

    e = {n: experts("meta", n, x) for n in ("shared", "watch", "interaction")}
    z_watch = mix("gates.meta.watch", x, e["shared"] + e["watch"])
    z_watch = z_watch + mix("self_gates.meta.watch", x, e["watch"])
    z_inter = mix("gates.meta.interaction", x, e["shared"] + e["interaction"])
    z_inter = z_inter + mix("self_gates.meta.interaction", x, e["interaction"])
    z_shared = mix("gates.meta.shared", x, e["shared"] + e["watch"] + e["interaction"])
    z_shared = z_shared + mix("self_gates.meta.shared", x, e["shared"])

    shared = experts("task", "shared", z_shared)
    own = {"click": z_watch, "finish": z_watch, "like": z_inter}
    group = {t: experts("task", "watch", z_watch) for t in ("click", "finish")}
    group["like"] = experts("task", "interaction", z_inter)
    logits = model.trunk(x)
    for t, z in own.items():
        e_t = experts("task", t, z)
        h = mix(f"gates.task.{t}", torch.cat([z, z_shared], 1), shared + group[t] + e_t)
        h = h + mix(f"self_gates.task.{t}", z, e_t)
        hidden = torch.relu(
            h @ p[f"towers.{t}.linears.0.weight"].T + p[f"towers.{t}.linears.0.bias"]
        )
        y = hidden @ p[f"towers.{t}.linears.1.weight"].T + p[f"towers.{t}.linears.1.bias"]
        torch.testing.assert_close(logits[t], y[:, 0])


def test_hierarchy_mask_of_three_levels_by_hand() -> None:
    meta, meta2, meta3, task = plans(deep())
    assert [plan.name for plan in (meta, meta2, meta3, task)] == ["meta", "meta2", "meta3", "task"]
    assert {n: meta.visible(n) for n in meta.outputs} == {
        "shared": ["shared", "watch", "interaction"],
        "watch": ["shared", "watch"],
        "interaction": ["shared", "interaction"],
    }
    assert {n: meta2.visible(n) for n in meta2.outputs} == {
        "shared": ["shared", "watch", "interaction", "social"],
        "watch": ["shared", "watch"],
        "interaction": ["shared", "interaction", "social"],
        "social": ["shared", "interaction", "social"],
    }
    assert {n: meta3.visible(n) for n in meta3.outputs} == {
        "shared": ["shared", "watch", "interaction", "social", "follow_up"],
        "watch": ["shared", "watch"],
        "interaction": ["shared", "interaction", "social", "follow_up"],
        "social": ["shared", "interaction", "social", "follow_up"],
        "follow_up": ["shared", "interaction", "social", "follow_up"],
    }
    assert {n: task.visible(n) for n in task.outputs} == {
        "click": ["shared", "watch", "click"],
        "finish": ["shared", "watch", "finish"],
        "like": ["shared", "interaction", "like"],
        "follow": ["shared", "interaction", "social", "follow"],
        "subscribe": ["shared", "interaction", "social", "follow_up", "subscribe"],
        "revisit": ["shared", "interaction", "social", "follow_up", "revisit"],
        "comment": ["shared", "interaction", "comment"],
    }


def test_states_read_in_three_levels_by_hand() -> None:
    meta, meta2, meta3, task = plans(deep())
    assert meta.gate_states("interaction") == ["shared"]  # v, once
    assert meta2.source("social") == "interaction"
    assert meta2.gate_states("social") == ["interaction", "shared"]
    assert meta3.source("follow_up") == "social"
    assert meta3.gate_states("follow_up") == ["social", "interaction", "shared"]
    assert meta3.gate_states("shared") == ["shared"]
    assert task.source("subscribe") == "follow_up"
    assert task.source("comment") == "interaction"
    assert task.gate_states("revisit") == ["follow_up", "social", "interaction", "shared"]
    own = plans({**deep(), "gates": {"mixture": {"input": "own"}}})[-1]
    assert own.gate_states("revisit") == ["follow_up"]


def test_gated_gate_inputs_come_from_the_deepest_set_on_the_path() -> None:
    counts = {"meta": {"nodes": {"watch": 0}}, "task": {"task": 0, "shared": 0}}
    meta, task = plans(home(experts=counts))
    assert meta.gated_by("watch", "shared") == "shared"  # watch owns none and reads v like root's
    assert meta.gated_by("interaction", "shared") == "interaction"
    assert task.gated_by("click", "watch") == "watch"
    assert task.gated_by("click", "shared") is None
    assert plans(home())[1].gated_by("click", "watch") == "click"


def test_gated_options_change_what_the_gates_read() -> None:
    """With feature gates of 2 * sigmoid(large) = 2 everywhere, a gated copy is twice the state."""
    gates = {"mixture": {"gated": True}, "self": {"input": "gated"}, "feature": {"loras": 1}}
    plain = home(gates={"feature": {"loras": 1}}, groups={"all": ["like"]}, tasks={"like": {}})
    model, gated = randomised(plain), Reference({**plain, "gates": gates})
    state = model.logical_state()
    x = inputs().abs() + 0.1
    for name in state:
        if ".down." in name or ".up." in name:
            state[name].data.fill_(1e3)
    gated.load_logical_state(state)
    for name, tensor in gated.logical_state().items():
        if name.startswith(("gates.meta", "self_gates.meta")) and name.endswith("weight"):
            tensor.data /= 2  # undoes the doubling of what they read
    z, z_gated = step(model, 0, {"shared": x}), step(gated, 0, {"shared": x})
    torch.testing.assert_close(z_gated, z)


def test_self_gates_of_all_sets_add_one_residual_per_visible_set() -> None:
    experts = {"width": 4, "task": {"shared": 1, "group": 2, "task": 3}}
    base, every = ({"self": {"sets": sets}} for sets in ("outputs", "all"))
    model, more = (randomised(home(experts=experts, gates=gates)) for gates in (base, every))
    assert {n for n in more.parts if n.startswith("self_gates.task.")} == {
        f"self_gates.task.{n}"
        for n in ("shared", "watch", "interaction", "click", "finish", "like")
    }
    state = more.logical_state()
    model.load_logical_state({n: t for n, t in state.items() if n in model.logical_state()})
    states = {n: torch.randn(12, 4).double() for n in ("shared", "watch", "interaction")}
    few, many = step(model.eval(), 1, states), step(more.eval(), 1, states)

    def expert(node: str, k: int) -> Tensor:
        read = states[node]
        return more.parts[f"experts.task.{node}.{k}"](
            read * more.parts[f"feature_gates.task.{node}"](read)
        )

    shared = torch.sigmoid(more.parts["self_gates.task.shared"](states["shared"]))
    watch = torch.softmax(more.parts["self_gates.task.watch"](states["watch"]), 1)
    residual = shared * expert("shared", 0)
    residual = residual + watch[:, :1] * expert("watch", 0) + watch[:, 1:] * expert("watch", 1)
    torch.testing.assert_close(many["click"], few["click"] + residual)


def test_a_single_visible_expert_needs_no_gate() -> None:
    experts = {"width": 4, "meta": {"shared": 1, "group": 0}, "task": {"shared": 0, "group": 0}}
    model = randomised(home(experts={**experts, "norm": "none"}, gates={"self": False}))
    assert not [n for n in model.parts if n.startswith("gates.meta")]
    x = inputs()
    z = step(model, 0, {"shared": x})
    only = model.parts["experts.meta.shared.0"](x * model.parts["feature_gates.meta.shared"](x))
    for state in z.values():
        torch.testing.assert_close(state, only)


def test_every_expert_is_evaluated_once_per_sample() -> None:
    model = randomised(deep())
    calls: dict[str, int] = {}
    for name, part in model.parts.items():
        count = lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1})  # noqa: E731
        part.register_forward_hook(count)
    model({"x": inputs()})
    assert calls == dict.fromkeys(model.parts, 1)


# ---------------------------------------------------------------- names, defaults, inheritance


def test_defaults() -> None:
    spec = home()
    del spec["experts"]
    shapes = {n: tuple(t.shape) for n, t in Reference(spec).logical_state().items()}
    assert shapes["experts.meta.watch.1.linears.0.weight"] == (64, V)
    assert "experts.meta.watch.1.linears.0.bias" not in shapes  # BatchNorm takes its place
    assert "experts.meta.watch.2.linears.0.weight" not in shapes
    assert shapes["experts.task.click.1.norm.running_var"] == (64,)
    assert shapes["feature_gates.meta.shared.router.weight"] == (2, V)
    assert shapes["feature_gates.task.click.loras.1.down.weight"] == (16, 64)
    assert shapes["feature_gates.task.click.loras.1.up.weight"] == (64, 16)
    assert shapes["gates.task.like.linears.0.weight"] == (6, 128)
    assert shapes["self_gates.task.like.linears.0.bias"] == (2,)
    assert "self_gates.task.watch.linears.0.bias" not in shapes
    assert shapes["towers.like.linears.0.weight"] == (64, 64)
    assert shapes["towers.like.linears.1.weight"] == (1, 64)


def test_rate_starts_the_tower_at_its_log_odds() -> None:
    model = Reference(home(tasks={"click": {"rate": 0.2}, "finish": {}, "like": {}}))
    assert model.towers["click"].linears[-1].bias.item() == pytest.approx(math.log(0.25))


def test_the_most_specific_style_wins_key_by_key() -> None:
    experts = {
        "norm": "layer",
        "activation": "relu",
        "hidden": [3],
        "meta": {
            "activation": "dice",
            "group": {"count": 3, "norm": "none", "activation": "none"},
            "nodes": {"watch": 5},
        },
        "task": {"nodes": {"click": {"activation": "none"}}, "task": {"count": 1, "hidden": [7]}},
    }
    meta, task = plans(home(experts=experts))

    def style(options: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(options[key] for key in ("count", "norm", "activation", "hidden", "width"))

    assert style(meta.expert("shared")) == (2, "layer", "dice", [3], 64)
    assert style(meta.expert("interaction")) == (3, "none", "none", [3], 64)
    assert style(meta.expert("watch")) == (5, "none", "none", [3], 64)
    assert style(task.expert("watch")) == (2, "layer", "relu", [3], 64)
    assert style(task.expert("like")) == (1, "layer", "relu", [7], 64)
    assert style(task.expert("click")) == (1, "layer", "none", [7], 64)


def test_gates_inherit_key_by_key_and_a_mapping_switches_on() -> None:
    gates = {
        "feature": {"loras": 3, "rank": 5},
        "self": False,
        "mixture": {"hidden": [4]},
        "meta": [{"feature": {"rank": 7}, "self": True}, {"feature": False}, {}],
        "task": {"self": {"sets": "all"}, "mixture": {"input": "own"}, "feature": True},
    }
    meta, meta2, meta3, task = plans({**deep(), "gates": gates})
    rest = {"mix": "after_sigmoid", "activation": "none", "input": "own", "detach": False}
    assert meta.gate("feature") == {"loras": 3, "rank": 7, **rest}
    assert meta2.gate("feature") is None
    assert meta3.gate("feature") == task.gate("feature")
    assert task.gate("feature") == {"loras": 3, "rank": 5, **rest}
    assert [bool(plan.gate("self")) for plan in (meta, meta2, meta3, task)] == [
        True,
        False,
        False,
        True,
    ]
    assert task.gate("self")["sets"] == "all"
    assert (task.gate("mixture")["hidden"], task.gate("mixture")["input"]) == ([4], "own")
