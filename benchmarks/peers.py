"""Training steps of MMoE and PLE (two levels): public PyTorch libraries beside homespec.

    pip install torch-rechub deepctr-torch
    python benchmarks/peers.py --tasks 4,8,16 --json peers.json

A library that is not installed is left out. All models get the same weights by logical name, and
their float64 outputs on one batch must agree to 1e-9 before float32 is timed, in one process and in
turns, as `homespec bench` does. Sizes are those of the small sweep: an input of 128, two experts a
set (MMoE: `--experts`), no hidden layer, width 64, towers with one hidden layer of 64.

What a library has and the papers do not is taken out of its models, which makes them faster:

* torch-rechub: the BatchNorm behind each Linear, the Dropout of rate 0, and its EmbeddingLayer,
  which for one dense tensor puts out what it gets.
* deepctr-torch: the Dropout of rate 0 and the regularisation. Its gates have no bias; ours have,
  which starts at 0. Its PLE computes a gate of the shared node in the last level, too, that nothing
  reads: that is how it is written and stays. Its check for a newer version at import does not run.

The step is the same for all: forward, a loss per task as the libraries' trainers compute it (binary
cross-entropy on their probabilities; on logits for ours), backward, torch's fused Adam, zero_grad.
The floor is the bare matrix products of such a step, as in `homespec bench`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from peer_libraries import EXPERTS, INPUT, TOWER, WIDTH, Case, Peer, deepctr, rechub
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch._inductor.utils import fresh_cache

import homespec
from homespec.analysis.yaml_writer import flow
from homespec.bench import counting
from homespec.bench.allocator import keep_freed_memory
from homespec.bench.gemms import gemms_of
from homespec.bench.machine import machine
from homespec.bench.roofline import Roofline
from homespec.bench.step import Candidate, model_loss
from homespec.bench.timing import Spread, interleaved, ratios, spread

SEED = 0
TOLERANCE = 1e-9
MMOE_EXPERTS = 8


# ---------------------------------------------------------------- ours, and equality


def our_spec(case: Case) -> homespec.api.LoadedSpec:
    """The same model in homespec's language."""
    experts: dict[str, Any] = {"width": WIDTH, "task": {"shared": case.shared}}
    if case.family == "ple":
        counts = {"shared": case.shared, "task": EXPERTS}
        experts = {"width": WIDTH, "meta": counts, "task": counts}
    spec = {
        "homespec": 1,
        "name": case.family,
        "family": case.family,
        "features": {"x": {"dense": INPUT}},
        "tasks": {task: {} for task in case.tasks},
        "experts": experts,
        "towers": {"hidden": [TOWER]},
    }
    return homespec.loads("".join(f"{key}: {flow(value)}\n" for key, value in spec.items()))


def random_weights(spec: homespec.api.LoadedSpec) -> dict[str, Tensor]:
    """Weights by logical name; biases of gates are 0, since not all peers have them."""
    torch.manual_seed(SEED)
    model = homespec.build(spec, optimize=False)
    state = homespec.build_module(spec, optimize=False).logical_state(model)
    zero = {n for n in state if n.startswith("gates.") and n.endswith(".bias")}
    return {n: torch.zeros_like(t) if n in zero else t for n, t in state.items()}


@torch.no_grad()
def load(peer: Peer, model: nn.Module, case: Case, weights: dict[str, Tensor]) -> None:
    """Copy our weights into a peer's model; every weight of ours must have its place there.

    Gates of a PLE have the rows of the shared experts last in both libraries, ours have them first.
    """
    used = set()
    for part in peer.parts(model, case):
        roll = -case.shared if part.gate and case.family == "ple" else 0
        part.weight.copy_(weights[f"{part.name}.weight"].roll(roll, 0))
        used.add(f"{part.name}.weight")
        if part.bias is not None:
            part.bias.copy_(weights[f"{part.name}.bias"].roll(roll, 0))
        if part.bias is not None or part.gate:
            used.add(f"{part.name}.bias")
    assert used == weights.keys(), sorted(used ^ weights.keys())


@torch.no_grad()
def check_outputs(peer: Peer, case: Case, weights: dict[str, Tensor]) -> float:
    """The greatest difference of probabilities in float64, for both of our layouts."""
    theirs = peer.build(case)
    load(peer, theirs, case, weights)
    torch.manual_seed(SEED)
    x = torch.randn(64, INPUT, dtype=torch.float64)
    expected = theirs.double()(peer.inputs(x))
    spec, worst = our_spec(case), 0.0
    for optimize in (True, False):
        code = homespec.build_module(spec, optimize=optimize)
        model = homespec.build(spec, optimize=optimize, dtype=torch.float64)
        code.load_logical_state(model, weights)
        logits = model({"x": x})
        found = torch.stack([logits[task].sigmoid() for task in case.tasks], dim=1)
        worst = max(worst, float((found - expected).abs().max()))
    if not worst <= TOLERANCE:
        raise click.ClickException(f"{peer.name}'s {case.family} differs from ours by {worst:.1e}")
    return worst


# ---------------------------------------------------------------- measuring


@dataclass
class Measured:
    """Results of a case. `differences` are those of float64 outputs from ours, by peer.

    `peaks` are bytes of a step above what lies there when it starts; `compiling` seconds of the
    first step of compiled variants, each with an empty cache of inductor.
    """

    case: Case
    differences: dict[str, float]
    operations: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    compiling: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)


def candidates(
    case: Case, peers: list[Peer], weights: dict[str, Tensor], rows: int, eager_only: bool
) -> Iterator[tuple[str, Candidate]]:
    """All variants, each with a model of its own and the same weights and batch."""
    modes = {"": None} if eager_only else {"": None, "-compiled": "default"}
    torch.manual_seed(SEED)
    x, labels = torch.randn(rows, INPUT), torch.randint(2, (rows, len(case.tasks))).float()
    for peer in peers:
        for suffix, mode in modes.items():
            theirs = peer.build(case).train()
            load(peer, theirs, case, weights)
            loss = their_loss(theirs, len(case.tasks))
            yield (
                peer.name + suffix,
                Candidate(theirs, loss, peer.inputs(x), labels, "cpu", mode=mode),
            )
    spec = our_spec(case)
    columns = dict(zip(case.tasks, labels.unbind(1), strict=True))
    for suffix, mode in modes.items():
        code, model = homespec.build_module(spec), homespec.build(spec)
        code.load_logical_state(model, weights)
        loss = model_loss(model, code.loss)
        yield "ours" + suffix, Candidate(model, loss, {"x": x}, columns, "cpu", mode=mode)


def their_loss(model: nn.Module, tasks: int) -> Callable[[Any, Tensor], Tensor]:
    """The sum of the tasks' cross-entropies on their probabilities [B, T], task by task."""

    def loss_of(inputs: Any, labels: Tensor) -> Tensor:
        found = model(inputs)
        return sum(F.binary_cross_entropy(found[:, i], labels[:, i]) for i in range(tasks))

    return loss_of


def measure(case: Case, peers: list[Peer], rows: int, rounds: int, eager_only: bool) -> Measured:
    """Check outputs, then time training steps in turns."""
    torch._dynamo.reset()
    weights = random_weights(our_spec(case))
    result = Measured(case, {peer.name: check_outputs(peer, case, weights) for peer in peers})
    actions, losses = {}, {}
    for name, candidate in candidates(case, peers, weights, rows, eager_only):
        started = time.perf_counter()
        try:
            with fresh_cache() if candidate.mode else contextlib.nullcontext():
                losses[name] = float(candidate.backward().detach())
        except Exception as error:
            if candidate.mode is None:
                raise
            result.failures[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            continue
        if candidate.mode:
            result.compiling[name] = time.perf_counter() - started
        candidate.optimizer.zero_grad()
        if candidate.mode is None:
            result.operations[name] = counting.operations(candidate.backward)
            candidate.optimizer.zero_grad()
        candidate.step()  # the optimiser's state is there from now on
        result.peaks[name] = counting.peak_memory(candidate.step, "cpu")
        state = "compiled" if candidate.mode else "ready"
        say(f"  {name}: {state}, loss {losses[name]:.6f}")
        actions[name] = candidate.step
    if max(losses.values()) - min(losses.values()) > 1e-3 * min(losses.values()):
        raise click.ClickException(f"float32 losses disagree: {losses}")
    products = Roofline(gemms_of(our_spec(case).analysis.graph), rows, "cpu", torch.float32)
    result.times = interleaved({**actions, "floor": products.step}, rounds, "cpu")
    return result


def say(line: str) -> None:
    """Progress."""
    click.echo(line, err=True)


def table(result: Measured) -> Table:
    """A line per variant."""
    made = Table(box=box.SIMPLE_HEAD)
    made.add_column("variant", no_wrap=True)
    best = "ours-compiled" if "ours-compiled" in result.times else "ours"
    columns = ("ms", f"{best} is × as fast", "operations", "peak MB", "first step s")
    for name in (*columns, "difference in float64"):
        made.add_column(name, justify="right", no_wrap=True)
    own = {
        name: ratios({name: times, best: result.times[best]}, name)[best]
        for name, times in result.times.items()
    }
    for name, times in result.times.items():
        count, differs = result.operations.get(name), result.differences.get(name)
        peak, took = result.peaks.get(name), result.compiling.get(name)
        made.add_row(
            name,
            shown(spread(times)),
            "–" if name == best else shown(own[name]),
            "–" if count is None else f"{count:,}",
            "–" if peak is None else f"{peak / 1e6:.1f}",
            "–" if took is None else f"{took:.1f}",
            "–" if differs is None else f"{differs:.0e}",
        )
    return made


def shown(found: Spread) -> str:
    """Median and quartiles."""
    return f"{found.median:.2f} ({found.low:.2f}–{found.high:.2f})"


def installed() -> list[Peer]:
    """The libraries that are there."""
    found = []
    for make in (rechub, deepctr):
        with contextlib.suppress(ImportError):
            found.append(make())
    return found


@click.command()
@click.option("--tasks", default="4,8,16", show_default=True)
@click.option("--models", default="mmoe,ple", show_default=True)
@click.option("--experts", default=MMOE_EXPERTS, show_default=True, help="Experts of MMoE.")
@click.option("--batch", default=512, show_default=True, type=click.IntRange(2))
@click.option("--rounds", default=30, show_default=True, type=click.IntRange(1))
@click.option("--eager", is_flag=True, help="Compile nothing.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
def main(
    tasks: str,
    models: str,
    experts: int,
    batch: int,
    rounds: int,
    eager: bool,
    json_file: Path | None,
) -> None:
    """Print a table for each model and number of tasks."""
    peers = installed()
    if not peers:
        raise click.UsageError("no peer is installed: pip install torch-rechub deepctr-torch")
    kept, console = keep_freed_memory(), Console(highlight=False, width=150)
    about = machine("cpu")
    console.print(
        f"{about['cpu']}, {about['threads']} threads; torch {about['torch']}; batch {batch},"
        f" float32, {rounds} rounds, seed {SEED}; freed memory {'' if kept else 'not '}kept"
    )
    results = []
    for family in models.split(","):
        for count in map(int, tasks.split(",")):
            say(f"{family}, {count} tasks")
            names = tuple(f"t{index}" for index in range(count))
            case = Case(family, names, experts if family == "mmoe" else EXPERTS)
            results.append(measure(case, peers, batch, rounds, eager))
            console.print(f"\n{family}, {count} tasks: training step")
            console.print(table(results[-1]))
            for name, reason in results[-1].failures.items():
                console.print(f"{name}: does not compile: {reason}", markup=False)
    if json_file:
        cases = [dataclasses.asdict(result) for result in results]
        settings = {"batch": batch, "rounds": rounds, "seed": SEED, "machine": about}
        json_file.write_text(json.dumps({**settings, "cases": cases}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
