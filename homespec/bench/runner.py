"""Benchmark: measures the variants of a spec, for one precision after the other."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from homespec import memory
from homespec.analysis.costs import cost_of
from homespec.api import LoadedSpec
from homespec.bench import counting, roofline
from homespec.bench.candidates import (
    SEED,
    Candidate,
    build,
    check_equal,
    first_step,
    trained,
    weights_of,
)
from homespec.bench.compile_time import Job, cold_and_warm, spec_text
from homespec.bench.gemms import gemms_of
from homespec.bench.machine import keep_freed_memory, machine
from homespec.bench.measurements import Case, Facts, Result, Settings
from homespec.bench.serving import CALLS, Service
from homespec.bench.timing import Action, Interrupted, Times, interleaved
from homespec.bench.variants import FLOOR, VARIANTS
from homespec.variant import Variant

Say = Callable[[str], object]
"""Reports progress to the user."""

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def measure(spec: LoadedSpec, settings: Settings, say: Say) -> Result:
    """All requested measurements. After Ctrl-C, the result holds those that are complete.

    Raises UnknownNameError for an unknown task to keep, Unequal if variants disagree, and
    OutOfMemoryError.
    """
    Variant(tasks=settings.keep).asking(spec.tasks)
    kept = settings.device == "cpu" and keep_freed_memory()
    file = spec.analysis.document.file
    result = Result(spec.name, file, SEED, settings, machine(settings.device), kept)
    try:
        for precision in settings.precisions:
            for threads in settings.threads or (torch.get_num_threads(),):
                with _threads(threads), memory.explained(spec.analysis, "measuring"):
                    _Measurement(spec, precision, settings, say, result).run()
    except (KeyboardInterrupt, Interrupted):
        result.complete = False
    return result


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Use this number of threads for each operation in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Measurement:
    """One precision and number of threads. A case is added to the result once it has times."""

    case: Case
    batch: int

    def __init__(
        self, spec: LoadedSpec, precision: str, settings: Settings, say: Say, result: Result
    ) -> None:
        self.spec, self.precision, self.settings = spec, precision, settings
        self.say, self.result = say, result
        self.names = [name for name in VARIANTS if name in settings.variants]

    def run(self) -> None:
        """Build, check, count and time the variants, for each batch."""
        if self.settings.inference:
            self._serve()
            return
        for batch in self.settings.batches:
            self._begin(batch)
            self._train()

    def _begin(self, batch: int) -> None:
        """A new case."""
        torch._dynamo.reset()
        graph, threads = self.spec.analysis.graph, torch.get_num_threads()
        size = f"{len(self.spec.tasks)} tasks, {self.precision}"
        self.say(f"{size}, batch {batch}, threads {threads}")
        flops = batch * sum(gemm.step_flops for gemm in gemms_of(graph))
        self.batch = batch
        self.case = Case(
            len(self.spec.tasks), self.precision, batch, threads, cost_of(graph).parameters, flops
        )
        self.case.facts = {name: Facts() for name in self.names}

    def _train(self) -> None:
        """Time training steps. The first step of each variant must match plain code in float32."""
        if self.settings.compile_time:
            self._compile_times()
        weights = weights_of(self.spec)
        arguments = self.batch, self.settings.device
        expected = first_step(build(self.spec, "naive", weights, *arguments, "float32"))
        models = {}
        for name in self.names:
            model = build(self.spec, name, weights, *arguments, self.precision)
            self._first_step(name, model, expected)
            models[name] = model
        for name, model in models.items():
            self._count(name, model)
        floor = self._floor()
        steps: dict[str, Action] = {name: model.step for name, model in models.items()}
        self._rounds("step", steps | ({FLOOR: floor.step} if floor else {}))
        if self.settings.forward:
            forwards: dict[str, Action] = {name: model.forward for name, model in models.items()}
            for name in filter(self._is_compiled, models):
                self.say(f"  {name}: compiling the forward pass")
                forwards[name]()
            self._rounds("forward", forwards | ({FLOOR: floor.forward} if floor else {}))

    def _serve(self) -> None:
        """Time the forward passes of a service, whose logits must match plain code."""
        weights = trained(weights_of(self.spec))
        service = Service(self.spec, weights, self.precision, self.settings, self.say)
        if self.precision != "float32":  # autocast, which exported files do not use
            self.names = [name for name in self.names if not VARIANTS[name].served]
        with tempfile.TemporaryDirectory(prefix="homespec-bench-") as folder:
            service.export(self.names, Path(folder))
            for batch in self.settings.batches:
                self._begin(batch)
                actions = service.actions(self.names, batch, self.case.facts)
                if floor := self._floor():
                    actions[FLOOR] = floor.forward
                self._rounds("inference", actions, CALLS)

    def _is_compiled(self, name: str) -> bool:
        return VARIANTS[name].compiled

    def _compile_times(self) -> None:
        settings, text = self.settings, spec_text(self.spec)
        for name in filter(self._is_compiled, self.names):
            self.say(f"  {name}: compiling in two processes, without and with a cache")
            threads = torch.get_num_threads()
            job = Job(text, name, self.batch, settings.device, self.precision, threads)
            self.case.facts[name].compiling = cold_and_warm(job)

    def _first_step(self, name: str, model: Candidate, expected: dict[str, torch.Tensor]) -> None:
        facts, compiled = self.case.facts[name], self._is_compiled(name)
        if compiled:
            self.say(f"  {name}: compiling")
        kernels, skipped = counting.generated_kernels(), counting.skipped_graphs()
        started = time.perf_counter()
        step = first_step(model)
        facts.first = time.perf_counter() - started
        if compiled:
            facts.kernels = counting.generated_kernels() - kernels
            self.say(f"  {name}: compiled in {facts.first:.1f} s")
        facts.skipped_graphs = counting.skipped_graphs() - skipped
        if facts.skipped_graphs:
            self.say(f"  {name}: {facts.skipped_graphs} graphs run without CUDA graphs")
        facts.difference = check_equal(name, step, expected, self.precision)

    def _count(self, name: str, model: Candidate) -> None:
        """Count operations of eager code, kernels of compiled code, and memory."""
        facts = self.case.facts[name]
        model.step()  # from now on, the optimiser's state exists
        if not self._is_compiled(name):
            facts.forward_operations = counting.operations(model.forward)
            facts.operations = counting.operations(model.backward)
        if self.settings.device == "cuda":
            facts.kernels = counting.cuda_kernels(model.backward)
            facts.synchronises = counting.synchronises(model.step)
            if facts.synchronises:
                self.say(f"  {name}: a step waits for the GPU")
        elif facts.kernels is not None:
            facts.kernels += counting.external_kernels(model.backward)
        model.optimizer.zero_grad()
        if self.settings.memory:
            facts.peak = counting.peak_memory(model.step, self.settings.device)

    def _floor(self) -> roofline.Roofline | None:
        settings, graph = self.settings, self.spec.analysis.graph
        if FLOOR not in settings.variants:
            return None
        dtype = DTYPES[self.precision]
        if settings.device == "cuda":
            forward = roofline.bytes_moved(graph, self.batch, dtype) / roofline.bandwidth()
            self.case.bytes_ms = {"forward": forward, "inference": forward, "step": 2 * forward}
        return roofline.Roofline(gemms_of(graph), self.batch, settings.device, dtype)

    def _rounds(self, measure: str, actions: dict[str, Action], calls: int = 1) -> None:
        """Time the functions; rounds completed before Ctrl-C are kept."""
        rounds = self.settings.rounds

        def progress(done: int) -> None:
            if done == rounds or done % max(1, rounds // 4) == 0:
                self.say(f"  {measure}: round {done} of {rounds}")

        try:
            device = self.settings.device
            self._keep(measure, interleaved(actions, rounds, device, progress, calls))
        except Interrupted as interrupted:
            if all(interrupted.times.values()):
                self._keep(measure, interrupted.times)
            raise

    def _keep(self, measure: str, times: Times) -> None:
        if FLOOR in times:
            extra = self.case.bytes_ms.get(measure, 0.0)
            times[FLOOR] = [taken + extra for taken in times[FLOOR]]
        if not self.case.times:
            self.result.cases.append(self.case)
        self.case.times[measure] = times
