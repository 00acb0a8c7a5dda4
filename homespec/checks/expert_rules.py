"""HS401 to HS403, HS415: design lint of experts."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import by_cause, describe_experts, sections_of
from homespec.diagnostics import Finding, Severity, Span, rule
from homespec.graph import Graph
from homespec.graph.nodes import ExpertSet, Gate, Mix
from homespec.lower import Lowered
from homespec.resolve.families import FAMILIES, family_of
from homespec.schema.models import Spec


def _is_published_bare(spec: Spec) -> bool:
    """Whether the spec's family was published with ReLU experts without a norm."""
    family = family_of(spec)
    return bool(family and (family.experts.norm, family.experts.activation) == ("none", "relu"))


def _bare(graph: Graph) -> list[ExpertSet]:
    """The sets without a norm whose experts a gate mixes."""
    gates = {gate.name for gate in graph.of(Gate) if gate.choices > 1}
    mixed = {port.node for mix in graph.of(Mix) if mix.gate.node in gates for port in mix.sets}
    return [e for e in graph.of(ExpertSet) if e.norm == "none" and e.name in mixed]


def _by_line(sets: list[ExpertSet], lowered: Lowered) -> dict[Span, list[ExpertSet]]:
    """Sets grouped by the line that sets their norm, or else their activation."""

    def line(experts: ExpertSet) -> Span:
        sections = sections_of(lowered, experts)
        spans = (lowered.span_giving(sections, key) for key in ("norm", "activation"))
        return next(filter(None, spans), experts.span)

    return by_cause(sets, line)


@rule("HS401", "relu-without-norm", Severity.WARNING)
def relu_without_norm(lowered: Lowered) -> Iterator[Finding]:
    """ReLU experts without normalisation invite expert collapse.

    HoME's first anomaly: experts whose outputs have different scales, and ReLU experts with more
    than 90 % zeros (the paper's figure), so that gates cannot compare them and one expert takes
    over. HoME's remedy is batch norm and Swish on every expert's output (HOME.md section 2). Older
    families were published with such experts, so for them homespec reports the note
    `published-experts` instead.
    """
    if _is_published_bare(lowered.spec):
        return
    sets = [experts for experts in _bare(lowered.graph) if experts.activation == "relu"]
    for span, here in _by_line(sets, lowered).items():
        yield Finding(
            span,
            f"{describe_experts(here)} end in ReLU without a norm, so they tend to collapse to "
            "zeros",
            label="norm none, activation relu",
            help="use `norm: batch` and `activation: swish`",
        )


@rule("HS415", "published-experts", Severity.NOTE)
def published_experts(lowered: Lowered) -> Iterator[Finding]:
    """A family's experts as published: ReLU without normalisation.

    MMoE, CGC, PLE and their like were published with such experts, and HoME's paper found that
    they collapse: outputs of different scales and many zeros, so that gates cannot compare them
    (HOME.md section 2). For a comparison with the published model leave them as they are. For a
    model of your own, `experts: {norm: batch, activation: swish}` is HoME's remedy.
    """
    sets = [experts for experts in _bare(lowered.graph) if experts.activation == "relu"]
    number = f"{len(sets)} set{'s' * (len(sets) > 1)}"
    if sets and _is_published_bare(lowered.spec):
        yield Finding(
            lowered.span(("family",)),
            f"the experts of family `{lowered.spec.family}` ({number}) end in ReLU without a "
            "norm, as published, so they tend to collapse to zeros",
            label="norm none, activation relu",
            help="for a model of your own use `experts: {norm: batch, activation: swish}`",
        )


@rule("HS402", "unnormalised-experts", Severity.WARNING)
def unnormalised_experts(lowered: Lowered) -> Iterator[Finding]:
    """Experts without normalisation cannot be compared by a gate.

    Without a norm the scale of an expert's output follows the scale of its weights, and the gate's
    choice follows that scale. The result is expert collapse. DICE does not cure it, because its
    output scales with its input (HOME.md section 2).
    """
    sets = [experts for experts in _bare(lowered.graph) if experts.activation != "relu"]
    for span, here in _by_line(sets, lowered).items():
        yield Finding(
            span,
            f"{describe_experts(here)} have no norm, so the gates compare outputs of different "
            "scales",
            label="norm none",
            help="use `norm: batch`",
        )


@rule("HS403", "experts-not-home", Severity.WARNING)
def experts_not_home(lowered: Lowered) -> Iterator[Finding]:
    """Experts are normalised, but not as in HoME.

    HoME's expert is Swish(BatchNorm(MLP)) (HOME.md section 2): every expert then starts with output
    mean 0.207 and deviation 0.560. Layer norm normalises each sample instead of each channel, and
    another activation gives another scale. Public code that presents such experts as HoME's is one
    of the mistakes listed in HOME.md section 11. As an experiment it is fine: ignore the rule with
    a reason.
    """
    if family_of(lowered.spec) is not FAMILIES["home"]:
        return
    sets = lowered.graph.of(ExpertSet)
    for (norm, activation), alike in by_cause(sets, lambda e: (e.norm, e.activation)).items():
        if norm == "none" or (norm, activation) == ("batch", "swish"):
            continue
        for span, here in _by_line(alike, lowered).items():
            yield Finding(
                span,
                f"{describe_experts(here)} have norm {norm} and activation {activation}; HoME's "
                "have norm batch and activation swish",
                label="not HoME's expert",
                help="use `norm: batch` and `activation: swish`, or ignore this rule with a reason",
            )
