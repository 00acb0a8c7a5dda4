"""`homespec bench`: scaled specs, lists of products, counts, equality, and the verb as a whole."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import scaling
import torch
from click.testing import CliRunner
from test_runtime import TINY
from torch.utils._python_dispatch import TorchDispatchMode

import homespec
from homespec.analysis.costs import cost_of
from homespec.api import LoadedSpec
from homespec.bench import counting, report, runner, timing
from homespec.bench.candidates import (
    Unequal,
    build,
    check_equal,
    compiled,
    first_step,
    weights_of,
)
from homespec.bench.compile_time import Seconds, spec_text
from homespec.bench.gemms import Gemm, activation_widths, gemms_of
from homespec.bench.machine import keep_freed_memory
from homespec.bench.measurements import Case, Facts, Result, Settings
from homespec.bench.random_batch import random_features, random_labels
from homespec.bench.roofline import Roofline
from homespec.bench.variants import VARIANTS, Mode
from homespec.cli.main import cli
from homespec.installation import install_command
from homespec.train.torch_compile import obstacle

ROOT = Path(__file__).parents[1]
SPECS = sorted([*(ROOT / "specs").rglob("*.yaml"), *(ROOT / "benchmarks").rglob("*.yaml")])
EAGER = ("naive", "ours", "floor")

RELATED = """
homespec: 1
name: related
features: {x: {dense: 8}, id: {id: {vocab: 9}, dim: 4}, n: {bucketize: [1, 5], dim: 2}}
groups: {watch: [click, stay], buy: [cart, order]}
tasks:
  click: {label: is_click, rate: 0.4}
  stay: {kind: regression, scale: 1000, where: click}
  cart: {where: click, tower: {hidden: [4]}}
  order: {}
  both: {product: [click, order]}
experts: {width: 8, task: {nodes: {order: 3}}}
gates: {feature: {rank: 2}}
"""

FREE = """
homespec: 1
name: free
features: {x: {dense: 8}}
tasks: {a: {}, b: {}}
layers:
  - {experts: {shared: 2, a: 1}, outputs: [shared, a]}
  - {experts: {shared: 1, a: 1, b: 2}, outputs: [a, b]}
"""


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def settings(**given: Any) -> Settings:
    return Settings(**{"batches": (8,), "device": "cpu", "precisions": ("float32",),
                       "rounds": 2, "variants": EAGER, **given})  # fmt: skip


# ---------------------------------------------------------------- scaling


@pytest.mark.parametrize("path", SPECS, ids=ids)
@pytest.mark.parametrize("count", [4, 19])
def test_any_spec_scales(path: Path, count: int) -> None:
    spec = homespec.load(path)
    larger = scaling.scaled(spec, count)
    assert len(larger.tasks) == count
    sizes = [len(set(group.members) & set(larger.tasks)) for group in larger.groups.values()]
    held = [size for size in sizes if size]
    assert not held or max(held) - min(held) <= 1
    assert larger.features == spec.features
    assert larger.family == spec.family


def test_scaling_copies_options_and_drops_relations() -> None:
    larger = scaling.scaled(homespec.loads(RELATED), 6)
    assert members(larger) == {
        "watch": ("click", "click_2", "stay"),
        "buy": ("cart", "cart_2", "order"),
    }
    assert larger.tasks["click_2"].rate == 0.4
    assert (larger.tasks["click"].label, larger.tasks["click_2"].label) == ("is_click", "click_2")
    assert larger.tasks["stay"].kind == "regression"
    assert larger.tasks["cart_2"].tower.hidden == (4,)
    assert not any(task.where or task.product for task in larger.tasks.values())
    assert larger.experts.task.nodes["order"].count == 3


def members(spec: LoadedSpec) -> dict[str, tuple[str, ...]]:
    return {name: group.members for name, group in spec.groups.items()}


def test_scaling_drops_old_names() -> None:
    """A copy was never called otherwise."""
    text = RELATED.replace("buy: [cart, order]", "buy: {was: bought, members: [cart, order]}")
    larger = scaling.scaled(homespec.loads(text.replace("cart: {", "cart: {was: bag, ")), 6)
    assert members(larger)["buy"] == ("cart", "cart_2", "order")
    assert {name: task.was for name, task in larger.tasks.items() if task.was} == {"cart": "bag"}


def test_scaling_down_keeps_the_first_tasks() -> None:
    smaller = scaling.scaled(homespec.loads(RELATED), 2)
    assert members(smaller) == {"watch": ("click",), "buy": ("cart",)}
    assert not smaller.experts.task.nodes


def test_scaling_a_free_topology() -> None:
    larger = scaling.scaled(homespec.loads(FREE), 3)
    assert list(larger.tasks) == ["a", "a_2", "b"]
    assert larger.topology[0].outputs == ("shared", "a", "a_2")
    assert larger.topology[1].experts["a_2"].count == 1


def test_too_few_tasks() -> None:
    with pytest.raises(ValueError, match="1 tasks are too few: there are 2 groups"):
        scaling.scaled(homespec.loads(RELATED), 1)


def test_copies_avoid_names_that_are_there() -> None:
    spec = homespec.loads(TINY.replace("finish", "Click_2"))
    assert list(scaling.scaled(spec, 4).tasks) == ["click", "click_3", "Click_2", "Click_2_2"]


@pytest.mark.parametrize("text", [RELATED, FREE, TINY])
def test_text_of_a_spec_is_the_spec(text: str) -> None:
    spec = homespec.loads(text)
    again = homespec.loads(spec_text(spec))
    assert again.model_dump() == spec.model_dump()


# ---------------------------------------------------------------- products


@pytest.mark.parametrize("path", SPECS, ids=ids)
def test_products_cost_what_the_spec_does(path: Path) -> None:
    graph = homespec.load(path).analysis.graph
    gemms = gemms_of(graph)
    assert sum(gemm.flops for gemm in gemms) == cost_of(graph).flops
    dense = all(feature.kind == "dense" for feature in homespec.load(path).features.values())
    assert dense == any(not gemm.needs_dx for gemm in gemms)
    assert activation_widths(graph) > 0


def test_experts_that_read_one_value_are_one_product() -> None:
    text = TINY.replace("width: 8,", "width: 8, hidden: [6],")
    gemms = {gemm.name: gemm for gemm in gemms_of(homespec.loads(text).analysis.graph)}
    first = [g for n, g in gemms.items() if n.startswith("experts.") and n.endswith("linears.0")]
    assert {gemm.outputs for gemm in first} == {12}  # two experts behind one feature gate
    assert gemms["experts.task.click.1.linears.1"] == Gemm("experts.task.click.1.linears.1", 6, 8)
    ungated = text.replace("{feature: {rank: 2}}", "{feature: false}")
    first = [g for g in gemms_of(homespec.loads(ungated).analysis.graph) if g.inputs == 8]
    meta = next(gemm for gemm in first if gemm.name == "experts.meta.shared.0.linears.0")
    assert meta.outputs == 2 * 2 * 6  # shared and group


def test_floor_runs_every_product() -> None:
    gemms = [Gemm("a", 3, 5), Gemm("b", 5, 2, needs_dx=False)]
    floor = Roofline(gemms, 4, "cpu", torch.float32)
    assert [(*left.shape, right.shape[1]) for left, right, _ in floor.all] == [
        (4, 3, 5), (4, 5, 2), (2, 4, 5), (4, 5, 3), (5, 4, 3),
    ]  # fmt: skip
    floor.step()
    for left, right, out in floor.all:
        torch.testing.assert_close(out, left @ right)


# ---------------------------------------------------------------- counting and timing


def test_operations_are_those_that_compute() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    assert counting.operations(lambda: x.T.reshape(-1)[:3].unsqueeze(0) + 1) == 2  # a copy, a sum
    assert counting.operations(lambda: torch.empty(3).view(3, 1).detach()) == 0
    assert counting.operations(lambda: x.exp().sum().backward()) == 4
    assert counting.external_kernels(lambda: torch.mm(x, x.t())) == 1


@pytest.mark.parametrize("name", ["naive", "ours"])
def test_operations_of_a_model_do_not_depend_on_its_sizes(name: str) -> None:
    counts = set()
    for rows, text in ((8, TINY), (20, TINY.replace("width: 8", "width: 12"))):
        spec = homespec.loads(text)
        built = build(spec, name, weights_of(spec), rows, "cpu", "float32")
        counts.add(counting.operations(built.backward))
    assert len(counts) == 1


def test_peak_memory() -> None:
    def action() -> None:
        first = torch.ones(1000, 250)  # 1 MB
        second = first + 1
        del first
        second.add_(1)

    assert 2_000_000 <= counting.peak_memory(action, "cpu") < 2_100_000


def test_rounds_interleave() -> None:
    calls: list[str] = []
    actions = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    times = timing.interleaved(actions, 3, "cpu")
    assert "".join(calls[9:]) == "abcbcacab"
    assert {name: len(taken) for name, taken in times.items()} == dict.fromkeys("abc", 3)


def test_ctrl_c_keeps_complete_rounds() -> None:
    def progress(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(timing.Interrupted) as caught:
        timing.interleaved({"a": int, "b": int}, 9, "cpu", progress)
    assert [len(taken) for taken in caught.value.times.values()] == [2, 2]


def test_calls_of_a_round() -> None:
    calls: list[str] = []
    actions = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    times = timing.interleaved(actions, 2, "cpu", calls=3)
    assert "".join(calls[6:]) == "aaabbbbbbaaa"
    assert {name: len(taken) for name, taken in times.items()} == dict.fromkeys("ab", 6)


def test_tail() -> None:
    assert timing.tail([*map(float, range(200))]) == 198
    assert timing.tail([2.0, 1.0]) == 2.0


def test_ratios_are_medians_of_rounds() -> None:
    faster = timing.ratios({"a": [2.0, 4.0, 90.0], "b": [1.0, 2.0, 9.0]}, "a")
    assert faster["b"] == timing.Spread(2.0, 2.0, 6.0)
    assert timing.spread([3.0]) == timing.Spread(3.0, 3.0, 3.0)


def test_freed_memory_is_kept() -> None:
    assert keep_freed_memory() == (sys.platform == "linux")


# ---------------------------------------------------------------- equality


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("text", [RELATED, TINY])
def test_first_steps_agree(text: str, precision: str) -> None:
    spec = homespec.loads(text)
    weights = weights_of(spec)
    steps = [
        first_step(build(spec, name, weights, 64, "cpu", precision)) for name in ("naive", "ours")
    ]
    check_equal("ours", steps[1], steps[0], precision)
    name = "towers.click.linears.0.weight"
    wrong = {**steps[1], name: steps[1][name] + 1.0}
    with pytest.raises(Unequal, match="ours computes another first step"):
        check_equal("ours", wrong, steps[0], precision)


def test_random_batches_fit_the_spec() -> None:
    spec = homespec.loads(RELATED)
    features = random_features(spec, 5, "cpu")
    assert {name: tuple(t.shape) for name, t in features.items()} == {
        "x": (5, 8),
        "id": (5,),
        "n": (5,),
    }
    assert random_labels(spec, 500, "cpu")["stay"].max() > 100


# ---------------------------------------------------------------- the verb


def bench(*args: str) -> Any:
    return CliRunner().invoke(cli, ["bench", *args], standalone_mode=False)


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


def test_end_to_end(tiny: str, tmp_path: Path) -> None:
    file = tmp_path / "out" / "bench.json"
    result = bench(tiny, "--batch", "8", "--rounds", "2", "--variants",
                   "floor,ours,naive", "--forward", "--memory", "--precision", "float32",
                   "--precision", "bf16", "--json", str(file))  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "2 tasks, bf16" in result.stderr
    assert "× naive" in result.stdout
    data = json.loads(file.read_text())
    cases = [(case["tasks"], case["precision"]) for case in data["cases"]]
    assert cases == [(2, "float32"), (2, "bf16")]
    case = data["cases"][0]
    assert set(case["times"]) == {"step", "forward"}
    assert {name: len(taken) for name, taken in case["times"]["step"].items()} == {
        "naive": 2, "ours": 2, "floor": 2,
    }  # fmt: skip
    assert case["facts"]["naive"]["operations"] > case["facts"]["ours"]["operations"] > 0
    assert case["facts"]["ours"]["peak"] > 0
    assert case["times_as_fast"]["step"]["naive"]["ours"]["median"] > 0


def test_json_in_place_of_tables(tiny: str) -> None:
    result = bench(tiny, "--batch", "4", "--rounds", "1", "--variants", "ours", "--json", "-")
    assert json.loads(result.stdout)["settings"]["variants"] == ["ours"]


def test_ctrl_c_prints_what_is_complete(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = homespec.load(tiny)
    interleaved = timing.interleaved

    def interrupted(actions: Any, rounds: int, *rest: Any) -> Any:
        if "second" in stopped:
            raise timing.Interrupted({name: [] for name in actions})
        stopped.add("second")
        return interleaved(actions, rounds, *rest)

    stopped: set[str] = set()
    monkeypatch.setattr(runner, "interleaved", interrupted)
    precisions = ("float32", "bf16")
    result = runner.measure(spec, settings(precisions=precisions), lambda line: None)
    assert not result.complete
    assert [case.precision for case in result.cases] == ["float32"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--variants", "fast"], "`fast` is not a variant: use naive, naive-compiled, ours"),
        (["--variants", "ours-graphs", "--device", "cpu"], "is for --device cuda, not cpu"),
        (["--variants", "ours-triton", "--device", "cpu"], "is for --device cuda, not cpu"),
        (["--variants", "ours-aotinductor"], "`ours-aotinductor` is for --mode inference"),
        (["--variants", "floor"], "a floor needs a variant"),
        (["--batch", "1"], "'--batch'"),
        (["--precision", "fp8"], "'--precision'"),
        (["--json", "{spec}/x.json"], "x.json cannot be written"),
    ],
)
def test_bad_options(tiny: str, args: list[str], said: str) -> None:
    result = bench(tiny, *(arg.format(spec=tiny) for arg in args))
    assert said in str(result.exception.format_message())


def scaled_bench(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/scaling.py", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_numbers_of_tasks_are_measured_in_turn(tiny: str, tmp_path: Path) -> None:
    """By the verb, with its options; one file holds the cases of all."""
    file = tmp_path / "scaled.json"
    options = ["--batch", "4", "--rounds", "1", "--variants", "ours", "--json", str(file)]
    done = scaled_bench(tiny, "--tasks", "2,4", "--set", "experts.width=4", *options)
    assert done.returncode == 0, done.stderr
    assert "4 tasks, float32" in done.stdout
    data = json.loads(file.read_text())
    assert data["file"] == tiny
    assert [case["tasks"] for case in data["cases"]] == [2, 4]
    assert data["complete"]


@pytest.mark.parametrize(
    ("tasks", "said"), [("1", "too few"), ("4,x", "invalid"), ("2", "'--batch'")]
)
def test_what_cannot_be_scaled(tmp_path: Path, tasks: str, said: str) -> None:
    path = tmp_path / "related.yaml"
    path.write_text(RELATED)
    done = scaled_bench(str(path), "--tasks", tasks, "--batch", "1")
    assert done.returncode == 2
    assert said in done.stderr


def made_up() -> Result:
    """A result with all columns."""
    result = Result(
        "x", "x.yaml", 0, settings(), {"cpu": "c", "threads": 2, "torch": "2", "python": "3"}, True
    )
    for count in (4, 8):
        times = {"naive": [4.0, 5.0], "ours-compiled": [1.0, 2.0], "floor": [0.5, 0.6]}
        compiling = {"cold": Seconds(9.0, 8.0), "warm": Seconds(1.0, 1.0)}
        facts = {
            "naive": Facts(0.0, 100, 40),
            "ours-compiled": Facts(0.0, None, None, 7, 10**6, 3.0, compiling),
        }
        result.cases.append(Case(count, "float32", 512, 2, 10, 10**9, {"step": times}, facts))
    return result


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    report.show(made_up())
    printed = capsys.readouterr().out
    assert "4 tasks, float32, 10 parameters, 1.0 GFLOP a step" in printed
    for column in ("× naive", "× floor", "operations", "kernels", "peak MB", "cold s", "warm s"):
        assert column in printed
    assert "× naive-compiled" not in printed


@pytest.mark.filterwarnings("ignore")
def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs homespec[bench]")
    from homespec.bench.plot import plot

    plot(made_up(), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_charts_of_several_cases_have_titles_of_their_own() -> None:
    pytest.importorskip("matplotlib", reason="needs homespec[bench]")
    from homespec.bench.plot import _charts

    case = made_up().cases[0]
    cases = [dataclasses.replace(case, batch=b, threads=t) for b in (1, 8) for t in (1, 2)]
    titles = [title for each in cases for title, *_ in _charts(each)]
    assert len({*titles}) == len(titles) >= 4


def test_the_header_has_the_threads_that_were_asked_for() -> None:
    result = made_up()
    result.settings = settings(threads=(1, 4))
    assert "1, 4 threads" in "\n".join(report.header(result))


def test_plot_names_what_is_missing(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "homespec.bench.plot", raising=False)
    result = bench(tiny, "--plot", "x.png", "--variants", "ours")
    assert install_command("bench") in str(result.exception.format_message())


def test_plot_of_numbers_of_tasks(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs homespec[bench]")
    plots = importlib.import_module("plots")
    result = json.loads((ROOT / "benchmarks" / "results" / "small.json").read_text())
    plots.plot(result, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))
@pytest.mark.parametrize("mode", ["fused", "fused-graphs", "reduce-overhead"])
def test_torch_knows_the_options_of_modes_for_gpus(mode: Mode) -> None:
    """It checks their names and types at once; nothing is compiled here."""
    assert callable(compiled(lambda x: x.sin(), mode))


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_compiled_variants_agree_and_are_counted() -> None:
    spec: LoadedSpec = homespec.loads(TINY)
    chosen = settings(variants=("naive", "ours-compiled"))
    result = runner.measure(spec, chosen, lambda line: None)
    facts = result.cases[0].facts
    assert facts["ours-compiled"].kernels
    assert facts["ours-compiled"].difference < 1e-3
    assert VARIANTS["ours-compiled"].compiled


# ---------------------------------------------------------------- inference


@pytest.mark.parametrize("batch", [1, 8])
def test_serving_is_measured(batch: int) -> None:
    """The file for inference returns what the plain model does in eval mode."""
    spec = homespec.loads(RELATED)
    result = runner.measure(spec, settings(batches=(batch,), inference=True), lambda _: None)
    (case,) = result.cases
    assert set(case.times) == {"inference"}
    assert set(case.times["inference"]) == set(EAGER)
    ours, naive = case.facts["ours"], case.facts["naive"]
    assert ours.difference is not None
    assert 0 < ours.difference < 1e-4
    assert (ours.forward_operations or 0) < (naive.forward_operations or 0)


FILES = ("ours-aotinductor", "ours-onnxruntime")
"""What `homespec export` writes."""


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_files_of_exports_are_measured() -> None:
    """One of each serves all batches; their logits are those of plain code."""
    pytest.importorskip("onnxscript", reason="needs homespec[export]")
    chosen = settings(variants=FILES, inference=True, batches=(1, 3), threads=(1,), rounds=2)
    cases = runner.measure(homespec.loads(RELATED), chosen, lambda _: None).cases
    assert [(case.batch, case.threads) for case in cases] == [(1, 1), (3, 1)]
    for case in cases:
        assert {n: len(t) for n, t in case.times["inference"].items()} == dict.fromkeys(FILES, 20)
        for facts in map(case.facts.get, FILES):
            assert facts is not None
            assert (facts.difference or 0) < 1e-4
            assert (facts.load or 0) > 0
            assert (facts.file or 0) > (facts.weights or 0) > 0


def test_a_missing_extra_is_one_line(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    options = ["--mode", "inference", "--batch", "2", "--rounds", "1"]
    result = bench(tiny, *options, "--variants", "ours,ours-onnxruntime")
    assert result.exit_code == 0, result.output
    assert f"ours-onnxruntime needs the extra export: {install_command('export')}" in result.stdout


def test_where_nothing_can_be_measured_bench_says_why(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of an empty table."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    options = ("--mode", "inference", "--rounds", "1", "--variants", "ours-onnxruntime,floor")
    missing = CliRunner().invoke(cli, ["bench", tiny, *options])
    assert missing.exit_code == 2
    assert f"onnxruntime is missing: {install_command('export')}" in missing.output
    rounded = CliRunner().invoke(cli, ["bench", tiny, *options, "--precision", "bf16"])
    assert rounded.exit_code == 2
    assert "the files of homespec export compute in float32" in rounded.output


def test_values_that_are_repeated_are_measured_once(tiny: str) -> None:
    repeated = ("--threads", "1", "--threads", "1", "--batch", "2", "--batch", "2")
    options = ("--mode", "inference", "--rounds", "1", "--variants", "ours", "--json", "-")
    data = json.loads(bench(tiny, *options, *repeated).stdout)
    assert [(case["threads"], case["batch"]) for case in data["cases"]] == [(1, 2)]


def test_files_of_exports_have_no_autocast(tiny: str) -> None:
    options = ["--mode", "inference", "--batch", "2", "--rounds", "1", "--precision", "bf16"]
    result = bench(tiny, *options, "--variants", "ours,ours-aotinductor", "--json", "-")
    (case,) = json.loads(result.stdout)["cases"]
    assert [*case["times"]["inference"]] == ["ours"]


def test_serving_of_some_tasks_is_measured() -> None:
    """Beside all tasks; logits are those that the plain model has for them."""
    spec = homespec.loads(RELATED)
    kept = (list(spec.tasks)[-1], next(iter(spec.tasks)))
    chosen = settings(variants=("naive", "ours", "ours-pruned"), inference=True, keep=kept)
    result = runner.measure(spec, chosen, lambda _: None)
    (case,) = result.cases
    assert set(case.times["inference"]) == {"naive", "ours", "ours-pruned"}
    pruned, ours = case.facts["ours-pruned"], case.facts["ours"]
    assert 0 < (pruned.difference or 0) < 1e-4
    assert (pruned.forward_operations or 0) <= (ours.forward_operations or 0)


def test_serving_of_some_tasks_needs_no_other_variant() -> None:
    """It is compared with plain code all the same."""
    spec = homespec.loads(RELATED)
    chosen = settings(variants=("ours-pruned",), inference=True, keep=(list(spec.tasks)[-1],))
    (case,) = runner.measure(spec, chosen, lambda _: None).cases
    assert 0 < (case.facts["ours-pruned"].difference or 0) < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keep", "nothing", "--mode", "inference"], "there is no task `nothing`"),
        (["--keep", "a"], "--keep is for --mode inference"),
        (["--variants", "ours-pruned", "--mode", "inference"], "is for --keep"),
    ],
)
def test_tasks_to_keep_are_checked(options: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(RELATED)
    result = CliRunner().invoke(cli, ["bench", str(tmp_path / "x.yaml"), *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_serving_measures_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(RELATED)
    asked = ["bench", str(tmp_path / "x.yaml"), "--mode", "inference", "--memory"]
    result = CliRunner().invoke(cli, asked)
    assert result.exit_code == 2
    assert "nothing but the forward pass" in result.output


def test_training_needs_two_rows(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(RELATED)
    result = CliRunner().invoke(cli, ["bench", str(tmp_path / "x.yaml"), "--batch", "1"])
    assert result.exit_code == 2
    assert "at least 2 rows" in result.output


# ---------------------------------------------------------------- what only a GPU does


def test_waits_for_the_gpu_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def waits() -> None:
        raise RuntimeError("called a synchronizing CUDA operation")

    def breaks() -> None:
        raise RuntimeError("out of memory")

    assert not counting.synchronises(lambda: None)
    assert counting.synchronises(waits)
    with pytest.raises(RuntimeError, match="out of memory"):
        counting.synchronises(breaks)
    assert modes == ["error", "default"] * 3


def test_graphs_without_cuda_graphs_are_told(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two, inductor counts one as skipped."""
    counts = iter([0, 0, 0, 1])
    monkeypatch.setattr(counting, "skipped_graphs", lambda: next(counts))
    result = bench(tiny, "--batch", "4", "--rounds", "1", "--variants", "naive,ours", "--json", "-")
    facts = json.loads(result.stdout)["cases"][0]["facts"]
    assert (facts["naive"]["skipped_graphs"], facts["ours"]["skipped_graphs"]) == (0, 1)
    assert result.stderr.count("graphs run without CUDA graphs") == 1


# ---------------------------------------------------------------- operations


def operations(spec: LoadedSpec, precision: str = "float32") -> int:
    one = build(spec, "ours", weights_of(spec), 4, "cpu", precision)
    return counting.operations(one.backward)


SMALL = ROOT / "benchmarks" / "specs" / "small.yaml"


@pytest.mark.parametrize(
    ("family", "precision", "most"),
    [("home", "float32", 300), ("home", "bf16", 340), ("ple", "float32", 120),
     ("cgc", "float32", 75), ("mmoe", "float32", 65), ("shared_bottom", "float32", 50)],
)  # fmt: skip
def test_operations_do_not_depend_on_the_number_of_tasks(
    family: str, precision: str, most: int
) -> None:
    """Forward and backward of the small size: as many for 64 tasks as for 4.

    In bf16 the casts of weights are operations, too, as long as nothing is compiled.
    """
    counts = {operations(scaling.scaled(sized(family), tasks), precision) for tasks in (4, 16, 64)}
    assert len(counts) == 1
    assert counts.pop() <= most


def sized(family: str) -> LoadedSpec:
    """The small spec in a family."""
    if family == "home":
        return homespec.load(SMALL)
    text = SMALL.read_text()
    for lines in ("family", "groups", "gates", "experts"):
        text = re.sub(rf"^{lines}:.*\n(?: .*\n)*", "", text, flags=re.M)
    return homespec.loads(text + f"family: {family}\nexperts: {{width: 64}}\n")


def test_copies_do_not_depend_on_the_number_of_tasks() -> None:
    """What lays tensors out again: compiled code does most of it within loops that compute."""
    counts = []
    for tasks in (4, 64):
        spec = scaling.scaled(homespec.load(SMALL), tasks)
        candidate = build(spec, "ours", weights_of(spec), 4, "cpu", "float32")
        with CopyCounter() as counter:
            candidate.backward()
        counts.append(counter.found)
    assert counts[0] == counts[1]
    assert counts[0].total() <= 55
    assert counts[0]["aten.copy_.default"] <= 7


class CopyCounter(TorchDispatchMode):
    """Counts operations that copy and compute nothing."""

    NAMES = ("aten.clone.default", "aten.cat.default", "aten.stack.default", "aten.copy_.default")

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) in self.NAMES:
            self.found[str(func)] += 1
        return func(*args, **(kwargs or {}))


def test_operations_do_not_depend_on_the_number_of_groups() -> None:
    """Groups of one size are one more batch dimension."""
    spec = """
homespec: 1
name: grouped
features: {x: {dense: 8}}
groups: {GROUPS}
tasks: {TASKS}
experts: {width: 4}
gates: {feature: {rank: 2}}
"""
    counts = set()
    for groups in (2, 5):
        members = {f"g{i}": f"[a{i}, b{i}]" for i in range(groups)}
        text = spec.replace("GROUPS", ", ".join(f"{g}: {m}" for g, m in members.items()))
        tasks = ", ".join(f"{t}{i}: {{}}" for i in range(groups) for t in "ab")
        counts.add(operations(homespec.loads(text.replace("TASKS", tasks))))
    assert len(counts) == 1
