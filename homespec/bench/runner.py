"""Benchmark: measures the variants of a spec, size by size."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from homespec import memory
from homespec.analysis.costs import cost_of
from homespec.api import LoadedSpec
from homespec.bench import counting, roofline
from homespec.bench.allocator import keep_freed_memory
from homespec.bench.candidates import (
    SEED,
    Built,
    Unequal,
    build,
    check_equal,
    first_step,
    weights_of,
)
from homespec.bench.compile_time import Job, cold_and_warm
from homespec.bench.gemms import gemms_of
from homespec.bench.machine import machine
from homespec.bench.measurements import Case, Facts, Result, Settings
from homespec.bench.scaling import scaled, text_of
from homespec.bench.serving import TOLERANCE, Serve, apart, served, server
from homespec.bench.step import Tensors
from homespec.bench.timing import Action, Interrupted, interleaved
from homespec.bench.variants import FLOOR, VARIANTS
from homespec.variant import Variant

Say = Callable[[str], object]
"""Tells the user how far the work is."""

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def measure(spec: LoadedSpec, settings: Settings, say: Say) -> Result:
    """Everything that was asked for. Ctrl-C leaves the result with what was complete by then.

    Raises ValueError for a number of tasks that the spec cannot have, UnknownNameError for a task
    to keep that is not there, Unequal where variants disagree, OutOfMemoryError.
    """
    sizes = {count: scaled(spec, count) for count in settings.tasks} or {len(spec.tasks): spec}
    for sized in sizes.values():
        Variant(tasks=settings.keep).asking(sized.tasks)
    kept = settings.device == "cpu" and keep_freed_memory()
    file = spec.analysis.document.file
    result = Result(spec.name, file, SEED, settings, machine(settings.device), kept)
    try:
        for count, sized in sizes.items():
            for precision in settings.precisions:
                say(f"{count} tasks, {precision}, batch {settings.batch}")
                with memory.explained(sized.analysis, "measuring"):
                    _Measurement(sized, precision, settings, say, result).run()
    except (KeyboardInterrupt, Interrupted):
        result.complete = False
    return result


class _Measurement:
    """One size in one precision."""

    def __init__(
        self, spec: LoadedSpec, precision: str, settings: Settings, say: Say, result: Result
    ) -> None:
        self.spec = spec
        self.precision = precision
        self.settings = settings
        self.say = say
        self.result = result
        graph = spec.analysis.graph
        flops = settings.batch * sum(gemm.step_flops for gemm in gemms_of(graph))
        self.case = Case(len(spec.tasks), precision, cost_of(graph).parameters, flops)

    def run(self) -> None:
        """Build, check, count, time. The case joins the result as soon as it holds times."""
        if self.settings.inference:
            self._serve()
            return
        if self.settings.compile_time:
            self._compile_times()
        torch._dynamo.reset()
        weights = weights_of(self.spec)
        built = self._build(weights)
        for one in built:
            self._count(one)
        self._time(built)

    def _facts(self, name: str) -> Facts:
        return self.case.facts.setdefault(name, Facts())

    def _names(self) -> list[str]:
        return [name for name in VARIANTS if name in self.settings.variants]

    def _compile_times(self) -> None:
        settings = self.settings
        for name in self._names():
            if VARIANTS[name].compiled:
                self.say(f"  {name}: compiling in two processes, without and with a cache")
                job = Job(
                    text_of(self.spec), name, settings.batch, settings.device, self.precision,
                    torch.get_num_threads(),
                )  # fmt: skip
                self._facts(name).compiling = cold_and_warm(job)

    def _build(self, weights: Tensors) -> list[Built]:
        """All variants after their first step, which was that of plain code in float32."""
        settings = self.settings
        exact = build(self.spec, "naive", weights, settings.batch, settings.device, "float32")
        expected = first_step(exact)
        found: list[Built] = []
        for name in self._names():
            one = build(self.spec, name, weights, settings.batch, settings.device, self.precision)
            facts = self._facts(name)
            if VARIANTS[name].compiled:
                self.say(f"  {name}: compiling")
            before, skipped = counting.generated_kernels(), counting.skipped_graphs()
            started = time.perf_counter()
            first = first_step(one)
            facts.first = time.perf_counter() - started
            if VARIANTS[name].compiled:
                facts.kernels = counting.generated_kernels() - before
                self.say(f"  {name}: compiled in {facts.first:.1f} s")
            facts.skipped_graphs = counting.skipped_graphs() - skipped
            if facts.skipped_graphs:
                self.say(f"  {name}: {facts.skipped_graphs} graphs run without CUDA graphs")
            facts.difference = check_equal(name, first, expected, self.precision)
            found.append(one)
        return found

    def _count(self, built: Built) -> None:
        """Operations of eager code, kernels of compiled code, memory."""
        facts, candidate = self._facts(built.name), built.candidate
        candidate.step()  # the optimiser's state is there from now on
        if not VARIANTS[built.name].compiled:
            facts.forward_operations = counting.operations(candidate.forward)
            facts.operations = counting.operations(candidate.backward)
        if self.settings.device == "cuda":
            facts.kernels = counting.cuda_kernels(candidate.backward)
            facts.synchronises = counting.synchronises(candidate.step)
            if facts.synchronises:
                self.say(f"  {built.name}: a step waits for the GPU")
        elif facts.kernels is not None:
            facts.kernels += counting.external_kernels(candidate.backward)
        candidate.optimizer.zero_grad()
        if self.settings.memory:
            facts.peak = counting.peak_memory(candidate.step, self.settings.device)

    def _serve(self) -> None:
        """Time the forward passes of a service."""
        torch._dynamo.reset()
        weights, settings = served(weights_of(self.spec)), self.settings
        actions: dict[str, Action] = {}
        expected = self._server("naive", weights)()
        kept = [i for i, task in enumerate(self.spec.tasks) if task in settings.keep]
        for name in self._names():
            serve = self._server(name, weights)
            facts = self._facts(name)
            if VARIANTS[name].compiled:
                self.say(f"  {name}: compiling")
            wanted = expected[kept] if VARIANTS[name].pruned else expected
            facts.difference = apart(serve(), wanted)
            if not facts.difference <= TOLERANCE[self.precision]:
                raise Unequal(
                    f"{name} computes other logits: they differ by {facts.difference:.1e}"
                )
            if not VARIANTS[name].compiled:
                facts.forward_operations = counting.operations(serve)
            actions[name] = serve
        if FLOOR in settings.variants:
            actions[FLOOR] = self._floor().forward
        self._rounds("inference", actions)

    def _server(self, name: str, weights: Tensors) -> Serve:
        settings = self.settings
        return server(
            self.spec, name, weights, settings.batch, settings.device, self.precision, settings.keep
        )

    def _time(self, built: list[Built]) -> None:
        bare = self._floor() if FLOOR in self.settings.variants else None
        steps: dict[str, Action] = {one.name: one.candidate.step for one in built}
        forwards: dict[str, Action] = {one.name: one.candidate.forward for one in built}
        if bare:
            steps[FLOOR], forwards[FLOOR] = bare.step, bare.forward
        self._rounds("step", steps)
        if self.settings.forward:
            for one in built:
                if VARIANTS[one.name].compiled:
                    self.say(f"  {one.name}: compiling the forward pass")
                    one.candidate.forward()
            self._rounds("forward", forwards)

    def _floor(self) -> roofline.Roofline:
        settings, graph = self.settings, self.spec.analysis.graph
        dtype = DTYPES[self.precision]
        if settings.device == "cuda":
            forward = roofline.bytes_moved(graph, settings.batch, dtype) / roofline.bandwidth()
            self.case.bytes_ms = {"forward": forward, "inference": forward, "step": 2 * forward}
        return roofline.Roofline(gemms_of(graph), settings.batch, settings.device, dtype)

    def _rounds(self, measure: str, actions: dict[str, Action]) -> None:
        """Time the functions; what was complete at Ctrl-C is kept."""
        rounds = self.settings.rounds

        def progress(done: int) -> None:
            if done == rounds or done % max(1, rounds // 4) == 0:
                self.say(f"  {measure}: round {done} of {rounds}")

        try:
            self._keep(measure, interleaved(actions, rounds, self.settings.device, progress))
        except Interrupted as interrupted:
            if all(interrupted.times.values()):
                self._keep(measure, interrupted.times)
            raise

    def _keep(self, measure: str, times: dict[str, list[float]]) -> None:
        extra = self.case.bytes_ms.get(measure, 0.0)
        if FLOOR in times:
            times[FLOOR] = [taken + extra for taken in times[FLOOR]]
        self.case.times[measure] = times
        if self.case not in self.result.cases:
            self.result.cases.append(self.case)
