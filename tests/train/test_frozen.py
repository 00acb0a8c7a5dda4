"""`--freeze`: what it names is the same after training, bit by bit, and takes no part in it."""

from __future__ import annotations

import dataclasses
import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from ddp_steps import SETTINGS as DDP_SETTINGS
from ddp_steps import SPEC
from small_spec import SMALL
from test_ddp import torchrun, write

import homespec
from homespec.data.batches import Batch
from homespec.train import RunError, checkpoint, run
from homespec.train.frozen import Frozen
from homespec.train.lit_module import RankingModule
from homespec.train.losses import means
from homespec.train.notes import idle
from homespec.train.patterns import matching
from homespec.train.settings import Settings
from homespec.train.torch_compile import obstacle

SETTINGS = Settings(batch_size=128, limit_rows=700, compile=False, lr=1e-2, clip=0.5)
FROZEN = (
    "experts.*.watch.*",  # a slice of stacks, with norms and their statistics
    "features.user_id.*",  # a part of a merged table
    "towers.click.linears.0.*",
    "gates.meta.shared.*",
)
DICE = SMALL.replace("experts: {", "experts: {activation: dice, ")


def train(spec: Any, data: Path, out: Path, **changed: Any) -> run.Result:
    settings = dataclasses.replace(SETTINGS, **changed)
    return run.train(spec, run.Place([data], out), settings, lambda line: None)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.read(out / "checkpoints" / "last").weights)


def is_frozen(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in FROZEN)


@pytest.fixture(scope="module")
def before(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs to start from, whose optimisers have moments, by spec and table optimiser."""
    folder = tmp_path_factory.mktemp("before")
    for name, text, tables in (
        ("adam", SMALL, "adam"), ("adagrad", SMALL, "adagrad"), ("dice", DICE, "adam"),
    ):  # fmt: skip
        train(homespec.loads(text), data, folder / name, table_optimizer=tables)
    return {name: folder / name for name in ("adam", "adagrad", "dice")}


CASES: dict[str, dict[str, Any]] = {
    "decay in the gradient": {"weight_decay": 0.1},
    "decoupled decay": {"optimizer": "adamw", "weight_decay": 0.1},
    "one module for each expert": {"optimize": False, "weight_decay": 0.1},
    "tables apart": {"merge_tables": False},
    "sparse tables": {"table_optimizer": "adagrad", "weight_decay": 0.1},
    "surgery": {"weighting": "pcgrad", "table_optimizer": "adagrad"},
    "learned weights": {"weighting": "uncertainty"},
    "bf16": {"precision": "bf16"},
}


@pytest.mark.parametrize("case", CASES)
def test_frozen_weights_are_the_same_bit_by_bit(
    case: str, data: Path, tmp_path: Path, before: dict[str, Path]
) -> None:
    if "pcgrad" in CASES[case].values():
        pytest.importorskip("torchjd")
    check(SMALL, before[CASES[case].get("table_optimizer", "adam")], data, tmp_path, CASES[case])


def test_statistics_of_dice_are_frozen_too(
    data: Path, tmp_path: Path, before: dict[str, Path]
) -> None:
    check(DICE, before["dice"], data, tmp_path, {"optimize": False})
    check(DICE, before["dice"], data, tmp_path / "optimised", {})


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))
@pytest.mark.parametrize("tables", ["adam", "adagrad"])
def test_compiled(tables: str, data: Path, tmp_path: Path, before: dict[str, Path]) -> None:
    changed = {"compile": True, "table_optimizer": tables, "weight_decay": 0.1}
    result = check(SMALL, before[tables], data, tmp_path, changed)
    assert result.compilations == 1


def check(text: str, source: Path, data: Path, out: Path, changed: dict[str, Any]) -> run.Result:
    start = {"init_from": str(source), "init_moments": True, "freeze": FROZEN, "epochs": 2}
    result = train(homespec.loads(text), data, out / "run", **start | changed)
    old, new = weights(source), weights(out / "run")
    still = {name for name in old if torch.equal(old[name], new[name])}
    assert still == {name for name in old if is_frozen(name)}
    assert "experts.task.watch.0.norm.running_var" in still or "dice" in text
    kept = checkpoint.read(out / "run" / "checkpoints" / "last").optimizer
    assert not [key for key in kept if is_frozen(key.partition("/")[2])]
    return result


def test_a_slice_that_is_frozen_is_as_good_as_a_module_of_its_own(
    data: Path, tmp_path: Path, before: dict[str, Path]
) -> None:
    """torch's own way to freeze modules in plain code gives the same losses: gradients of frozen
    weights count neither for the norm nor for conflicts."""
    for weighting in ("fixed", "pcgrad"):
        start = {"init_from": str(before["adam"]), "freeze": FROZEN, "weighting": weighting}
        for name, optimize in (("a", True), ("b", False)):
            train(
                homespec.loads(SMALL), data, tmp_path / weighting / name, **start, optimize=optimize
            )
        one, other = (means(tmp_path / weighting / name / "losses.csv", 1, 5) for name in "ab")
        assert one == pytest.approx(other, rel=1e-4)


def test_frozen_slices_have_no_gradient(small: Any) -> None:
    settings = dataclasses.replace(SETTINGS, freeze=FROZEN)
    module = RankingModule(small, settings)
    rows = {name: torch.arange(16) % 9 for name in ("user_id", "video_id", "tag", "tab")}
    features = rows | {"duration_ms": torch.rand(16) * 1e5}
    labels = {task: torch.randint(2, (16,)).float() for task in module.tasks}
    step = module.train_step
    losses_T = step.losses(Batch(features, labels))
    step.backward(step.weighting.loss(losses_T), losses_T)
    grads = {n: p.grad for n, p in module.model.named_parameters() if p.grad is not None}
    by_name = module.code.logical_views(module.model, grads)
    assert not any(grad.any() for name, grad in by_name.items() if is_frozen(name))
    assert by_name["experts.meta.interaction.0.linears.0.weight"].any()


def test_without_patterns_nothing_is_looked_at(small: Any) -> None:
    """A run without --freeze starts and steps as fast as if there was no such flag."""
    model = homespec.build(small)
    nothing: Any = None
    frozen = Frozen(model, nothing, ())
    optimizer = torch.optim.SGD(model.parameters())
    frozen.hold(optimizer)
    assert [frozen.names, frozen.masks, frozen.remark] == [set(), {}, ""]
    assert frozen.statistics() == {}
    assert all(weight.requires_grad for weight in model.parameters())
    hooks = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    assert not any(hooks)


def test_a_resumed_run_may_change_its_form(data: Path, tmp_path: Path) -> None:
    """What is frozen has moments in neither."""
    spec, settings = homespec.loads(SMALL), dataclasses.replace(SETTINGS, freeze=FROZEN)
    place = run.Place([data], tmp_path, resume=True)
    for epochs, optimize in ((1, True), (2, False), (3, True)):
        changed = dataclasses.replace(settings, epochs=epochs, optimize=optimize)
        result = run.train(spec, place, changed, lambda line: None)
    assert len(result.history.epochs) == 3


@pytest.mark.parametrize("tables", ["adam", "adagrad"])
def test_all_but_tables_may_be_frozen(
    tables: str, data: Path, tmp_path: Path, before: dict[str, Path]
) -> None:
    kinds = ("experts", "gates", "self_gates", "feature_gates", "towers")
    start = {"init_from": str(before[tables]), "freeze": tuple(f"{kind}.*" for kind in kinds)}
    train(homespec.loads(SMALL), data, tmp_path / "run", table_optimizer=tables, **start)
    old, new = weights(before[tables]), weights(tmp_path / "run")
    assert {name.partition(".")[0] for name in old if not torch.equal(old[name], new[name])} == {
        "features"
    }


def test_frozen_weights_that_start_fresh_are_warned_of(before: dict[str, Path]) -> None:
    """They would never learn."""
    settings = dataclasses.replace(
        SETTINGS, freeze=("experts.meta.shared.*",), init_from=str(before["adam"]),
        new_choice="closed",
    )  # fmt: skip
    more = SMALL.replace("meta: {shared: 1", "meta: {shared: 2")
    module = RankingModule(homespec.loads(more), settings)
    assert module.start is not None
    assert module.start.lines[-1] == (
        "warning: --freeze keeps experts.meta.shared.1.linears.0.weight and 4 more, which start"
        " fresh, so its new parts never learn"
    )
    kept = dataclasses.replace(settings, freeze=("experts.meta.shared.0.*",))
    start = RankingModule(homespec.loads(more), kept).start
    assert not any("--freeze" in line for line in start.lines)
    (note,) = idle(dataclasses.replace(SETTINGS, freeze=("towers.*",)), 10)
    assert "keeps initial weights that never learn" in note


def test_patterns() -> None:
    names = ["towers.like.linears.0.weight", "towers.click.linears.0.weight", "features.tab.weight"]
    assert matching("--freeze", ["towers.l*", "*.weight"], names) == set(names)
    for pattern, advice in (
        ("towers.lik.*", "did you mean towers.like.*?"),
        ("tower.*", "did you mean towers.*?"),
        ("towers.*.bias", "after towers.*. comes `linears`"),
        ("q", "names begin with `towers` and `features`"),
    ):
        with pytest.raises(RunError) as error:
            matching("--freeze", [pattern], names)
        assert str(error.value) == f"--freeze {pattern} matches no weight: {advice}"


def test_gradnorm_needs_what_it_balances() -> None:
    settings = dataclasses.replace(
        SETTINGS, weighting="gradnorm", freeze=("experts.task.shared.*",)
    )
    with pytest.raises(RunError, match=r"gradnorm balances the gradients of experts\.task\.shared"):
        RankingModule(homespec.loads(SMALL), settings)


def test_two_processes(tmp_path: Path) -> None:
    """Both start from the same weights, and keep what is frozen, statistics included."""
    data, spec = write(tmp_path / "data"), tmp_path / "tiny.yaml"
    spec.write_text(SPEC.replace("NORM", "batch"))
    words = ["train", spec, "--data", data, "--batch-size", "64", "--no-compile"]
    before, after = tmp_path / "before", tmp_path / "after"
    settings = dataclasses.replace(DDP_SETTINGS, epochs=1)
    run.train(homespec.load(spec), run.Place([data], before), settings, lambda line: None)
    code, said, complaints = torchrun(
        "never", *words, "--out", after, "--init-from", before, "--freeze", "experts.*.0.*"
    )
    assert code == 0, complaints
    assert said.count("starting from the weights and the optimiser's moments") == 1
    assert "epoch 0 AUC" in said
    old, new = weights(before), weights(after)
    still = {name for name in old if torch.equal(old[name], new[name])}
    assert still == {name for name in old if fnmatch.fnmatchcase(name, "experts.*.0.*")}
    code, _, complaints = torchrun(
        "never", *words, "--out", after, "--init-from", spec, "--overwrite"
    )
    assert code == 1
    assert complaints.count("--init-spec") == 1
