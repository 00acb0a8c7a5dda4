"""One user's features for many candidates: the law is that nothing but the work changes."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hierarchies import random_features, randomise
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import load
from test_inference import DRAWS, assert_equal, both, drawn_tasks
from test_sequences import ENCODERS, everything, spec_of
from test_specialised import unused
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import homespec
from homespec.graph.feature_nodes import SPLIT, SplitInput
from homespec.graph.nodes import ExpertSet, FeatureGate, Port, Projection
from homespec.passes import optimise
from homespec.passes.pipeline import pipeline
from homespec.variant import variant

torch.set_num_threads(1)

ROWS = (1, 2, 7)
Spec = dict[str, Any]
NEEDED = ("drop-training", "fold-batch-norm")
"""Passes without which a file is not one for inference."""
TEXT = """\
homespec: 1
name: small
features:
  user_id: {id: {buckets: 50}, dim: 8}
  video_id: {id: {buckets: 50}, dim: 4}
  age: {bucketize: [18, 30], dim: 2}
  hour: {bucketize: [6, 18], dim: 2}
tasks: {click: {}, like: {}}
"""
MMOE = f"{TEXT}family: mmoe\n"
HOME = f"{TEXT}groups: {{watch: [click], act: [like]}}\n"
USER = ["user_id", "age"]
OF_HISTORY = [
    ["history"], ["history", "user"], ["history", "video"], ["video", "tag"], ["user"],
    ["history", "video", "tag"], ["tag", "history", "age"],
]  # fmt: skip


def request_of(features: dict[str, Tensor], user: Iterable[str]) -> tuple[Any, Any]:
    """Features as a request has them, and as rows which all have the user's of the first."""
    own = [name for name in features if name.partition(".")[0] in set(user)]
    rows = len(next(t for n, t in features.items() if n not in own))
    request = {n: t[:1].clone() if n in own else t for n, t in features.items()}
    whole = {n: t.expand(rows, *t.shape[1:]).contiguous() for n, t in request.items()}
    return request, whole


def drawn_spec(kind: str, seed: int) -> Spec:
    spec = DRAWS[kind](seed)
    if len(spec["features"]) < 2:
        spec["features"]["other"] = {"id": {"buckets": 9}, "dim": 4}
    return spec


def drawn_user(spec: Spec, rng: random.Random) -> list[str]:
    """Some of the features, and never all."""
    names = [name for name, feature in spec["features"].items() if "cross" not in feature]
    return rng.sample(names, rng.randint(1, len(names) - 1))


def check(spec: Spec, user: list[str], seed: int, **options: Any) -> None:
    """A file for one user's candidates gives what the trained model gives for whole rows."""
    full, _, model, _ = both(spec, seed, mode="inference", user_features=user, **options)
    for rows in ROWS:
        features = random_features(spec, rows, torch.Generator().manual_seed(seed + rows))
        request, whole = request_of(features, user)
        assert_equal(model(request), full(whole))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", DRAWS)
def test_equals_rows_that_repeat_the_user(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    spec = drawn_spec(kind, seed)
    tasks = drawn_tasks(spec, seed) if rng.random() < 0.3 else None
    check(spec, drawn_user(spec, rng), seed, tasks=tasks)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(list(DRAWS)), st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_equals_them_whichever_passes_run(kind: str, seed: int, rng: random.Random) -> None:
    spec = drawn_spec(kind, seed)
    passes = [name for name in pipeline(for_user("any")) if name not in NEEDED]
    skipped = rng.sample(passes, rng.choice([0, 1, 2]))
    check(spec, drawn_user(spec, rng), seed, skip_passes=skipped)


@pytest.mark.parametrize("user", OF_HISTORY, ids="-".join)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder(encoder: str, user: list[str]) -> None:
    check(spec_of(ENCODERS[encoder]), user, len(user))


def test_histories_of_the_user_and_of_candidates_in_one_file() -> None:
    """Their tensors have other numbers of rows, and classes of encoders serve both."""
    spec = everything()
    for i, name in enumerate(list(ENCODERS)):
        spec["features"][f"other_{i}"] = spec["features"][name]
    check(spec, ["user", *ENCODERS], 0)


AT = f"""\
{TEXT.replace("age: {", "age: {at: click, ")}family: cgc
experts: {{norm: batch, activation: swish}}
"""


def test_the_users_features_may_be_those_of_other_tasks() -> None:
    """What is left is a file that takes rows; and one whose rows nothing tells apart is none."""
    loaded = homespec.loads(AT)
    code = homespec.build_module(loaded, mode="inference", tasks="like", user_features="age")
    assert list(code.FEATURES) == ["user_id", "video_id", "hour"]
    ids = {name: torch.ones(3).long() for name in ("user_id", "video_id")}
    assert code.Model()(ids | {"hour": torch.ones(3)})["like"].shape == (3,)
    with pytest.raises(ValueError, match="the tasks like read only the user's features"):
        homespec.compile(
            loaded, mode="inference", tasks="like", user_features="user_id,video_id,hour"
        )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", DRAWS)
def test_files_are_tidy(kind: str, seed: int, tmp_path: Path) -> None:
    spec = drawn_spec(kind, seed)
    user = drawn_user(spec, random.Random(seed))
    source = homespec.compile(load(spec), mode="inference", user_features=user)
    assert unused(source) == []
    path = tmp_path / "small.py"
    path.write_text(source)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F", str(path)]
    found = subprocess.run(ruff, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("user", [["user", *ENCODERS], ["user", "video"]], ids=["events", "query"])
def test_the_number_of_candidates_stays_free_in_exported_programs(user: list[str]) -> None:
    spec = everything(4)
    full, _, model, module = both(spec, 0, mode="inference", user_features=user)
    generator = torch.Generator().manual_seed(0)
    example, _ = request_of(random_features(spec, 5, generator), user)
    candidates = torch.export.Dim("candidates", min=1, max=4096)
    shapes = {name: {} if name in module.USER else {0: candidates} for name in module.FEATURES}
    program = torch.export.export(model, (module.ordered(example),), dynamic_shapes=(shapes,))
    for rows in (1, 2, 64):
        request, whole = request_of(random_features(spec, rows, generator), user)
        assert_equal(program.module()(module.ordered(request)), full(whole))


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", DRAWS)
def test_logical_weights_are_those_of_any_other_file(kind: str, seed: int) -> None:
    """What the two parts of a weight came from is what a state of them has."""
    spec = drawn_spec(kind, seed)
    loaded = load(spec)
    user = drawn_user(spec, random.Random(seed))
    code = homespec.build_module(loaded, mode="inference")
    model = homespec.build(loaded, mode="inference", dtype=torch.float64)
    state = randomise(code.logical_state(model), torch.Generator().manual_seed(seed))
    code.load_logical_state(model, state)
    split = homespec.build_module(loaded, mode="inference", user_features=user)
    parts = homespec.build(loaded, mode="inference", user_features=user, dtype=torch.float64)
    split.load_logical_state(parts, code.logical_state(model))
    found, wanted = split.logical_state(parts), code.logical_state(model)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


def test_weights_of_another_shape_are_refused_and_change_nothing() -> None:
    loaded = homespec.loads(MMOE)
    code = homespec.build_module(loaded, mode="inference", user_features=USER)
    model = code.Model()
    state = {name: torch.ones_like(tensor) for name, tensor in code.logical_state(model).items()}
    name = "gates.task.click.linears.0.weight"
    state[name] = state[name][:, :-1]
    with pytest.raises(ValueError, match=rf"{name} is \(2, 15\), not \(2, 16\)"):
        code.load_logical_state(model, state)
    assert not any(parameter.any() for parameter in model.parameters())


# ---------------------------------------------------------------- the pass


def for_user(*user: str, **options: Any) -> Any:
    return variant(mode="inference", user_features=user, **options)


def test_what_is_linear_in_v_reads_its_parts() -> None:
    loaded = homespec.loads(HOME)
    graph = optimise(loaded.analysis.graph, for_user(*USER).asking(loaded.tasks, loaded.features))
    (split,) = graph.of(SplitInput)
    assert (split.columns, split.user, split.width) == (((0, 8), (12, 14)), 10, 16)
    assert {node.reads for node in graph.of(Projection) if node.width == 16} == {(Port(SPLIT),)}
    gates = [gate for gate in graph.of(FeatureGate) if gate.width == 16]
    assert gates
    assert all(gate.reads[0] == Port("input") for gate in gates)


def test_without_feature_gates_nothing_reads_v_whole() -> None:
    loaded = homespec.loads(MMOE)
    graph = optimise(loaded.analysis.graph, for_user(*USER))
    assert graph.readers("input") == []
    assert all(node.reads == (Port(SPLIT),) for node in graph.of(ExpertSet))
    source = homespec.compile(loaded, mode="inference", user_features=USER)
    assert "expand" not in source[source.index("class Features") : source.index("class Trunk")]


def test_a_history_that_candidates_are_compared_with_is_no_column_of_the_user() -> None:
    spec = spec_of("din")
    graph = load(spec).analysis.graph
    assert not optimise(graph, for_user("history")).of(SplitInput)
    (split,) = optimise(graph, for_user("history", "video", "tag")).of(SplitInput)
    assert split.user == 4 + 2 + 4 + 2 + 2 + 3  # video and tag, then those of events, seen, delay


def test_products_of_the_user_are_made_once() -> None:
    loaded = homespec.loads(MMOE)
    whole = homespec.build(loaded, mode="inference")
    parts = homespec.build(loaded, mode="inference", user_features=USER)
    rows = 100
    features = {name: torch.ones(rows, dtype=torch.int64) for name in loaded.features}
    features |= {name: features[name].float() for name in ("age", "hour")}
    request, same = request_of(features, USER)
    made = {}
    for key, model, given_ in (("whole", whole, same), ("parts", parts, request)):
        with FlopCounterMode(display=False) as counter:
            model(given_)
        made[key] = counter.get_total_flops()
    graph = optimise(loaded.analysis.graph, for_user(*USER))
    (gates,) = (sum(s.columns for s in node.sections) for node in graph.of(Projection))
    first = gates + sum(node.count * node.widths[1] for node in graph.of(ExpertSet))
    assert made["whole"] - made["parts"] == 2 * first * 10 * (rows - 1)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user_features": ["user"]}, "no feature `user`. Did you mean `user_id`?"),
        ({"user_features": ["user_id", "click"]}, "no feature `click`. The features are `user_id`"),
        ({"user_features": "user_id,video_id,age,hour"}, "all features are the user's"),
        ({"user_features": []}, "no user feature is given"),
        ({"user_features": USER, "mode": "training"}, "needs --mode inference"),
        ({"user_features": USER, "optimize": False}, "has no --user-features"),
    ],
)
def test_messages(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        homespec.compile(homespec.loads(MMOE), **{"mode": "inference", **options})
    assert message in str(raised.value)


def test_a_tensor_of_a_sequence_is_not_a_feature() -> None:
    with pytest.raises(ValueError, match=r"a tensor of `history`\. Give `history`, all of"):
        homespec.compile(load(spec_of("din")), mode="inference", user_features=["history.video"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_id": torch.ones(3).long()}, r"user_id of the user must be \[1\], not \[3\]"),
        ({"video_id": torch.ones(2).long()}, r"feature hour must be \[2\], not \[3\]"),
        ({"age": torch.ones(1, 1)}, r"age of the user must be \[1\], not \[1, 1\]"),
        ({"user_id": torch.ones(1)}, "user_id is an id"),
    ],
)
def test_requests_of_another_shape(change: dict[str, Tensor], message: str) -> None:
    model = homespec.build(homespec.loads(MMOE), mode="inference", user_features=USER)
    ids = {"user_id": torch.ones(1).long(), "video_id": torch.ones(3).long()}
    features = {**ids, "age": torch.ones(1), "hour": torch.ones(3)}
    assert model(features)["click"].shape == (3,)
    with pytest.raises(ValueError, match=message):
        model(features | change)


def test_user_features_are_in_the_order_of_the_spec() -> None:
    loaded = homespec.loads(MMOE)
    texts = {
        homespec.compile(loaded, mode="inference", user_features=user)
        for user in (USER, USER[::-1], "age, user_id", ["age,user_id", "age"])
    }
    assert len(texts) == 1
    assert "--user-features user_id,age " in texts.pop()
