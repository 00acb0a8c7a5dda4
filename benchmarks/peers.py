"""Training steps of MMoE and PLE (two levels): public PyTorch libraries beside homespec.

    pip install torch-rechub deepctr-torch
    python benchmarks/peers.py --tasks 4,8,16 --json peers.json

A library that is not installed is left out. All models get the same weights by logical name, and
their float64 outputs on one batch must agree to 1e-9 before float32 is timed, in one process and in
turns, as `homespec bench` does. Sizes are those of the small sweep: an input of 128, two experts a
set (MMoE: `--experts`), no hidden layer, width 64, towers with one hidden layer of 64.

What a library has and the papers do not is taken out of its models, which makes them faster:

* torch-rechub: the BatchNorm after each Linear, the Dropout of rate 0, and its EmbeddingLayer,
  which returns a single dense tensor as it is.
* deepctr-torch: the Dropout of rate 0 and the regularisation. Its gates have no bias; ours have,
  which starts at 0. Its PLE also computes a gate of the shared node in the last level that nothing
  reads; it is left as published. Its check for a newer version at import does not run.

The step is the same for all: forward, a loss per task as the libraries' trainers compute it (binary
cross-entropy on their probabilities; on logits for ours), backward, torch's fused Adam, zero_grad.
The floor is the bare matrix products of such a step, as in `homespec bench`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import lab
import torch
import torch.nn.functional as F
from peer_libraries import EXPERTS, INPUT, TOWER, WIDTH, Case, Peer, deepctr, rechub
from rich.console import Console
from torch import Tensor, nn
from torch._inductor.utils import fresh_cache

import homespec
from homespec.bench import counting, report
from homespec.bench.candidates import Candidate, model_loss
from homespec.bench.compile_time import as_yaml
from homespec.bench.gemms import gemms_of
from homespec.bench.machine import keep_freed_memory, machine
from homespec.bench.roofline import Roofline
from homespec.bench.timing import interleaved, ratios, spread

SEED = 0
TOLERANCE = 1e-9
MMOE_EXPERTS = 8

progress = functools.partial(print, file=sys.stderr, flush=True)


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
    return homespec.loads(as_yaml(spec))


def random_weights(spec: homespec.api.LoadedSpec) -> dict[str, Tensor]:
    """Weights by logical name; biases of gates are 0, since not all peers have them."""
    torch.manual_seed(SEED)
    code, model = homespec.build_with_module(spec, optimize=False)
    state = code.logical_state(model)
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
        code, model = homespec.build_with_module(spec, optimize=optimize, dtype=torch.float64)
        code.load_logical_state(model, weights)
        logits = model({"x": x})
        probabilities = torch.stack([logits[task].sigmoid() for task in case.tasks], dim=1)
        worst = max(worst, float((probabilities - expected).abs().max()))
    if not worst <= TOLERANCE:
        raise SystemExit(f"{peer.name}'s {case.family} differs from ours by {worst:.1e}")
    return worst


# ---------------------------------------------------------------- measuring


@dataclass
class Measured:
    """Results of a case. `differences` are those of float64 outputs from ours, by peer.

    `peaks` are bytes of a step above what is held when it starts; `compiling` seconds of the
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
            yield peer.name + suffix, Candidate(theirs, loss, peer.inputs(x), labels, mode=mode)
    spec = our_spec(case)
    columns = dict(zip(case.tasks, labels.unbind(1), strict=True))
    for suffix, mode in modes.items():
        code, model = homespec.build_with_module(spec)
        code.load_logical_state(model, weights)
        loss = model_loss(model, code)
        yield "ours" + suffix, Candidate(model, loss, {"x": x}, columns, mode=mode)


def their_loss(model: nn.Module, tasks: int) -> Callable[[Any, Tensor], Tensor]:
    """The sum of the tasks' cross-entropies on their probabilities [B, T], task by task."""

    def loss_of(inputs: Any, labels: Tensor) -> Tensor:
        probabilities = model(inputs)
        return sum(F.binary_cross_entropy(probabilities[:, i], labels[:, i]) for i in range(tasks))

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
        progress(f"  {name}: {state}, loss {losses[name]:.6f}")
        actions[name] = candidate.step
    if max(losses.values()) - min(losses.values()) > 1e-3 * min(losses.values()):
        raise SystemExit(f"float32 losses disagree: {losses}")
    products = Roofline(gemms_of(our_spec(case).analysis.graph), rows, "cpu", torch.float32)
    result.times = interleaved({**actions, "floor": products.step}, rounds, "cpu")
    return result


def columns(result: Measured) -> Iterator[tuple[str, list[str]]]:
    """Each column's title and its cells, one for each variant."""
    times = result.times
    best = "ours-compiled" if "ours-compiled" in times else "ours"
    yield "ms", [report.shown(spread(taken)) for taken in times.values()]
    faster = {name: ratios({name: taken, best: times[best]}, name) for name, taken in times.items()}
    cells = [report.NONE if n == best else report.shown(own[best]) for n, own in faster.items()]
    yield f"{best} is × as fast", cells
    yield "operations", [report.number(result.operations.get(name)) for name in times]
    yield "peak MB", [report.number(result.peaks.get(name), 1e6, 1) for name in times]
    yield "first step s", [report.number(result.compiling.get(name), digits=1) for name in times]
    differ = [result.differences.get(name) for name in times]
    yield "difference in float64", [report.NONE if d is None else f"{d:.0e}" for d in differ]


def installed() -> list[Peer]:
    """The installed libraries."""
    peers = []
    for make in (rechub, deepctr):
        with contextlib.suppress(ImportError):
            peers.append(make())
    return peers


def main() -> None:
    """Print a table for each model and number of tasks."""
    parser = lab.parser(__doc__)
    parser.add_argument("--tasks", type=lab.integers, default=[4, 8, 16])
    parser.add_argument("--models", default="mmoe,ple")
    parser.add_argument("--experts", type=int, default=MMOE_EXPERTS, help="of MMoE")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--eager", action="store_true", help="compile nothing")
    given = parser.parse_args()
    peers = installed()
    if not peers:
        parser.error("no peer is installed: pip install torch-rechub deepctr-torch")
    batch, rounds = given.batch, given.rounds
    kept, console = keep_freed_memory(), Console(highlight=False, width=150)
    about = machine("cpu")
    console.print(
        f"{about['cpu']}, {about['threads']} threads; torch {about['torch']}; batch {batch},"
        f" float32, {rounds} rounds, seed {SEED}; freed memory {'' if kept else 'not '}kept"
    )
    results = []
    for family in given.models.split(","):
        for count in given.tasks:
            progress(f"{family}, {count} tasks")
            names = tuple(f"t{index}" for index in range(count))
            case = Case(family, names, given.experts if family == "mmoe" else EXPERTS)
            results.append(measure(case, peers, batch, rounds, given.eager))
            console.print(f"\n{family}, {count} tasks: training step")
            console.print(report.table(results[-1].times, columns(results[-1])))
            for name, reason in results[-1].failures.items():
                console.print(f"{name}: does not compile: {reason}", markup=False)
    cases = [dataclasses.asdict(result) for result in results]
    lab.write(given.json, batch=batch, rounds=rounds, seed=SEED, cases=cases)


if __name__ == "__main__":
    main()
