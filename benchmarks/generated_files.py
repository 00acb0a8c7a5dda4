"""Two generated files of one spec side by side: are they the same model, and is one faster?

    python benchmarks/generated_files.py OLD.py NEW.py SPEC.yaml [--batch 512] [--bf16]
    python benchmarks/generated_files.py --only-equal OLD.py NEW.py SPEC.yaml

Both get the same weights by logical name. In float64 their losses, gradients and running statistics
must agree. Then training steps of both (forward, loss, backward, fused Adam) are measured in turns,
eager and compiled, in one process: the ratio says how many times as fast NEW is, the median of
rounds with quartiles. Files for inference are measured by their forward pass.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import lab
import torch
from torch import Tensor, nn

import homespec
from homespec.bench.candidates import Candidate
from homespec.bench.counting import operations
from homespec.bench.machine import keep_freed_memory
from homespec.bench.random_batch import even_boundaries, random_features, random_labels
from homespec.bench.timing import interleaved, ratios
from homespec.runtime import import_source


def views(code: Any, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parts by logical name; files before 0.2 need no model for that."""
    try:
        return dict(code.logical_views(model, tensors))
    except TypeError:
        return dict(code.logical_views(tensors))


def weights(code: Any, model: nn.Module) -> dict[str, Tensor]:
    """A state by logical name in which no tensor is zero or one."""
    torch.manual_seed(1)
    state = {}
    for name, value in code.logical_state(model).items():
        if name.endswith("running_var"):
            state[name] = torch.rand(value.shape) + 0.5
        elif name.endswith("boundaries"):
            state[name] = torch.arange(len(value), dtype=torch.float64)
        else:
            state[name] = torch.randn(value.shape) * (value.shape[-1] if value.dim() else 1) ** -0.5
    return state


def once(code: Any, model: nn.Module, features: Any, labels: Any) -> dict[str, Tensor]:
    """Loss, logits, gradients and state after one step in float64, by name."""
    logits = model(features)
    tensors = {f"logits {task}": value for task, value in logits.items()}
    if hasattr(code, "loss"):
        tensors["loss"] = code.loss(logits, labels)
        tensors["loss"].backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        tensors |= {f"gradient {n}": g for n, g in views(code, model, grads).items()}
    tensors |= {f"state {n}": v for n, v in code.logical_state(model).items()}
    return {name: value.detach().clone() for name, value in tensors.items()}


def check_equal(old: Any, new: Any, spec: homespec.api.LoadedSpec, batch: int) -> None:
    """Raise AssertionError where the two models differ by more than rounding in float64."""
    features = random_features(spec, batch, "cpu")
    labels = {t: v.double() for t, v in random_labels(spec, batch, "cpu").items()}
    features = {n: v.double() if v.is_floating_point() else v for n, v in features.items()}
    state = weights(old, old.Model())
    steps = []
    for code in (old, new):
        model = code.Model().double()
        code.load_logical_state(model, state)
        steps.append(once(code, model, features, labels))
    expected, tensors = steps
    assert expected.keys() == tensors.keys(), expected.keys() ^ tensors.keys()
    worst = max(
        float((tensors[n] - v).abs().max() / (v.abs().max() + 1e-30)) for n, v in expected.items()
    )
    print(f"{len(tensors)} tensors agree to {worst:.1e} of their largest element")
    for name, value in expected.items():
        torch.testing.assert_close(tensors[name], value, rtol=1e-9, atol=1e-11, msg=name)


def candidate(code: Any, spec: homespec.api.LoadedSpec, batch: int, **options: Any) -> Candidate:
    """A model of a file with a random batch; its loss, or the logits of a file for inference."""
    torch.manual_seed(0)
    features, labels = random_features(spec, batch, "cpu"), random_labels(spec, batch, "cpu")
    model = code.Model()
    if hasattr(code, "set_boundaries"):
        code.set_boundaries(model, even_boundaries(spec))
    if not hasattr(code, "loss"):
        return Candidate(model, lambda x, _: model(x, stacked=True), features, **options)

    def loss_of(features: Any, labels: Any) -> Any:
        return code.loss(model(features, stacked=True), labels)

    return Candidate(model, loss_of, features, labels, **options)


def main() -> None:
    """Compare two files."""
    parser = lab.parser(__doc__)
    for name in ("old", "new", "spec"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--eager", action="store_true", help="measure eager code alone")
    parser.add_argument("--compiled", action="store_true", help="measure compiled code alone")
    parser.add_argument("--only-equal", action="store_true")
    given = parser.parse_args()
    spec = homespec.load(given.spec)
    files = {name: import_source(name, getattr(given, name).read_text()) for name in ("old", "new")}
    check_equal(files["old"], files["new"], spec, 64)
    if given.only_equal:
        return
    keep_freed_memory()
    for compiled in [c for c in (False, True) if not (given.eager if c else given.compiled)]:
        steps = {}
        for name, code in files.items():
            mode = "default" if compiled else None
            made = candidate(code, spec, given.batch, bf16=given.bf16, mode=mode)
            steps[name] = made.step if hasattr(code, "loss") else made.forward
            steps[name]()
            if not compiled:
                print(f"{name}: {operations(steps[name])} operations")
        gc.collect()
        times = interleaved(steps, given.rounds, "cpu")
        ratio = ratios(times, "old")["new"]
        how = f"{'bf16' if given.bf16 else 'float32'}, {'compiled' if compiled else 'eager'}"
        lab.write(given.json, batch=given.batch, rounds=given.rounds, how=how, times=times)
        print(
            f"{spec.name}, batch {given.batch}, {how}:"
            f" new is {ratio.median:.3f} times as fast [{ratio.low:.3f}, {ratio.high:.3f}]"
        )


if __name__ == "__main__":
    main()
