"""Forward passes of MMoE and PLE as a service runs them: public PyTorch libraries beside homespec.

    pip install torch-rechub deepctr-torch '.[export]'
    python benchmarks/peers_serving.py --tasks 8 --batches 1,8,64,1024 --json peers-serving.json

Models, sizes and weights are those of peers.py, which says what is taken out of the libraries'.
Each library is measured eager and as TorchScript (scripted and frozen, or traced where it cannot
be scripted); ours eager, and as the files of `homespec export`. Probabilities are compared before
anything is timed. One thread, as a server has for each of many requests, unless you give more.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import lab
import torch
from peer_libraries import EXPERTS, INPUT, Case, Peer
from peers import MMOE_EXPERTS, SEED, installed, load, our_spec, random_weights
from rich.console import Console
from torch import Tensor, nn

import homespec
from homespec.bench import report
from homespec.bench.exported import EXTRA, Exported
from homespec.bench.machine import keep_freed_memory
from homespec.bench.measurements import Facts
from homespec.bench.serving import CALLS
from homespec.bench.timing import Action, Times, interleaved, ratios, spread, tail
from homespec.installation import install_command

TOLERANCE = 1e-5
FASTEST = "ours-aotinductor"

Function = Callable[[], Any]
"""A forward pass."""


def scripted(model: nn.Module, inputs: Any) -> Callable[[Any], Tensor]:
    """The model as TorchScript, with its weights as constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return cast(Callable[[Any], Tensor], torch.jit.freeze(torch.jit.script(model)))
        except Exception:  # of many kinds: code that TorchScript does not know
            # as a function: TorchScript reads each property of a module, and some raise errors
            return cast(Callable[[Any], Tensor], torch.jit.trace(lambda x: model(x), (inputs,)))


def of_peer(
    peer: Peer, case: Case, weights: dict[str, Tensor], x: Tensor
) -> Iterator[tuple[str, Function]]:
    """A library's model, eager and scripted -> probabilities [B, T]."""
    model, inputs = peer.build(case).eval().requires_grad_(False), peer.inputs(x)
    load(peer, model, case, weights)
    yield peer.name, lambda: model(inputs)
    script = scripted(model, inputs)
    yield f"{peer.name}-scripted", lambda: script(inputs)


def of_ours(
    exported: Mapping[str, Any], model: nn.Module, x: Tensor
) -> Iterator[tuple[str, Function]]:
    """Ours, eager and exported -> logits by task."""
    yield "ours", lambda: model({"x": x})
    for name, server in exported.items():
        yield name, server({"x": x})


def probabilities(outputs: Any) -> Tensor:
    """What either kind of function gives, as [B, T]."""
    if isinstance(outputs, Mapping):
        return torch.stack([*outputs.values()], dim=1).sigmoid()
    return cast(Tensor, outputs)


def measure(case: Case, peers: list[Peer], batches: list[int], rounds: int) -> dict[int, Times]:
    """Milliseconds of every call, by batch and model. Exits where outputs differ."""
    spec = our_spec(case)
    weights = random_weights(spec)
    code, model = homespec.build_with_module(spec, mode="inference")
    code.load_logical_state(model, weights)
    found: dict[int, Times] = {}
    with tempfile.TemporaryDirectory(prefix="homespec-peers-") as folder, torch.no_grad():
        files = Exported(spec, weights, Path(folder), "cpu")
        servers = {
            f"ours-{kind}": files.load(kind, Facts()) for kind in ("aotinductor", "onnxruntime")
        }
        exported = {name: server for name, server in servers.items() if server is not None}
        for rows in batches:
            torch.manual_seed(SEED)
            x = torch.randn(rows, INPUT)
            actions: dict[str, Action] = dict(of_ours(exported, model, x))
            for peer in peers:
                actions |= of_peer(peer, case, weights, x)
            check({name: probabilities(action()) for name, action in actions.items()})
            found[rows] = interleaved(actions, rounds, "cpu", calls=CALLS)
    return found


def check(outputs: Mapping[str, Tensor]) -> None:
    """Exit if a model gives other probabilities than ours."""
    for name, output in outputs.items():
        differs = float((output - outputs["ours"]).abs().max())
        if not differs <= TOLERANCE:
            raise SystemExit(f"{name} differs from ours by {differs:.1e}")


def columns(times: Times) -> Iterator[tuple[str, list[str]]]:
    """Each column's title and its cells, one for each model."""
    yield "ms", [report.shown(spread(taken)) for taken in times.values()]
    yield "min", [f"{min(taken):.3f}" for taken in times.values()]
    yield "p99", [f"{tail(taken):.3f}" for taken in times.values()]
    faster = {
        n: ratios({n: taken, FASTEST: times[FASTEST]}, n)[FASTEST] for n, taken in times.items()
    }
    yield f"{FASTEST} is × as fast", [report.shown(each) for each in faster.values()]


def main() -> None:
    """Print a table for each model and batch."""
    parser = lab.parser(__doc__)
    parser.add_argument("--tasks", type=lab.integers, default=[8])
    parser.add_argument("--batches", type=lab.integers, default=[1, 8, 64, 1024])
    parser.add_argument("--models", default="mmoe,ple")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    peers, console, cases = installed(), Console(highlight=False, width=150), []
    if not peers:
        parser.error("no peer is installed: pip install torch-rechub deepctr-torch")
    for family in given.models.split(","):
        for count in given.tasks:
            names = tuple(f"t{index}" for index in range(count))
            case = Case(family, names, MMOE_EXPERTS if family == "mmoe" else EXPERTS)
            for rows, times in measure(case, peers, given.batches, given.rounds).items():
                console.print(f"\n{family}, {count} tasks, batch {rows}, {given.threads} threads")
                console.print(report.table(times, columns(times)))
                if "ours-onnxruntime" not in times:
                    needs = f"ours-onnxruntime needs {install_command(EXTRA)}"
                    console.print(needs, markup=False)
                case = {"family": family, "tasks": count, "batch": rows}
                cases.append(case | {"times": lab.rounded(times)})
    lab.write(given.json, rounds=given.rounds, seed=SEED, cases=cases, threads=[given.threads])


if __name__ == "__main__":
    main()
