"""HS401 to HS403, HS415: design lint of how experts are built."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import by_cause, experts_in_words
from homespec.diagnostics import Diagnostic, Finding, Severity, Span, rule
from homespec.graph import Graph
from homespec.graph.nodes import ExpertSet, Gate, Mix
from homespec.resolve.families import family_of
from homespec.resolve.layers import Layer, key_span
from homespec.schema.models import Spec
from homespec.source import Document


def check_experts(
    spec: Spec, layers: list[Layer], graph: Graph, document: Document
) -> list[Diagnostic]:
    """What there is to say about norms and activations, once for each line that chose them."""
    family = family_of(spec)
    published = (family.experts.norm, family.experts.activation) if family else None
    compared = _compared(graph)
    bare = [e for e in compared if e.norm == "none"]
    collapsing = [e for e in bare if e.activation == "relu"]
    if published == ("none", "relu"):
        found = published_experts(spec, collapsing, document)
    else:
        found = relu_without_norm(collapsing, layers, document)
    found += unnormalised_experts([e for e in bare if e.activation != "relu"], layers, document)
    if spec.family == "home" and not spec.topology:
        found += experts_not_home(graph.of(ExpertSet), layers, document)
    return found


def _compared(graph: Graph) -> list[ExpertSet]:
    """The sets between whose experts some gate chooses."""
    gates = {gate.name for gate in graph.of(Gate) if gate.choices > 1}
    mixed = {port.node for mix in graph.of(Mix) if mix.gate.node in gates for port in mix.sets}
    return [experts for experts in graph.of(ExpertSet) if experts.name in mixed]


def _by_line(
    sets: list[ExpertSet], layers: list[Layer], document: Document
) -> dict[Span, list[ExpertSet]]:
    """Sets by the line that says that they have their norm, or else their activation."""
    sections = {
        (layer.name, name): plan.sections for layer in layers for name, plan in layer.sets.items()
    }

    def line(experts: ExpertSet) -> Span:
        own = sections[experts.layer, experts.place]
        norm = key_span(document, own, ("norm",))
        return norm or key_span(document, own, ("activation",)) or experts.span

    return by_cause(sets, line)


@rule("HS401", "relu-without-norm", Severity.WARNING)
def relu_without_norm(
    sets: list[ExpertSet], layers: list[Layer], document: Document
) -> Iterator[Finding]:
    """ReLU experts without normalisation invite expert collapse.

    HoME's first anomaly: experts whose outputs have different scales, and ReLU experts with more
    than 90 % zeros (the paper's figure), so that gates cannot compare them and one expert takes
    all. HoME's remedy is batch norm and Swish on every expert's output (HOME.md section 2). Older
    families were published with such experts: there it is the note `published-experts`.
    """
    for span, here in _by_line(sets, layers, document).items():
        yield Finding(
            span,
            f"{experts_in_words(here)} end in ReLU without a norm: they tend to collapse to zeros",
            label="norm none, activation relu",
            help="use `norm: batch` and `activation: swish`",
        )


@rule("HS415", "published-experts", Severity.NOTE)
def published_experts(spec: Spec, sets: list[ExpertSet], document: Document) -> Iterator[Finding]:
    """A family's experts as published: ReLU without normalisation.

    MMoE, CGC, PLE and their like were published with such experts, and HoME's paper found that
    they collapse: outputs of different scales and many zeros, so that gates cannot compare them
    (HOME.md section 2). For a comparison with the published model leave them as they are. For a
    model of your own, `experts: {norm: batch, activation: swish}` is HoME's remedy.
    """
    if sets:
        yield Finding(
            document.span(("family",)),
            f"the experts of family `{spec.family}` ({len(sets)} set{'s' * (len(sets) > 1)}) end "
            "in ReLU without a norm, as published: they tend to collapse to zeros",
            label="norm none, activation relu",
            help="for a model of your own use `experts: {norm: batch, activation: swish}`",
        )


@rule("HS402", "unnormalised-experts", Severity.WARNING)
def unnormalised_experts(
    sets: list[ExpertSet], layers: list[Layer], document: Document
) -> Iterator[Finding]:
    """Experts without normalisation cannot be compared by a gate.

    Without a norm the scale of an expert's output follows the scale of its weights, and the gate's
    choice follows the scale: expert collapse. DICE does not cure it: it scales with its input
    (HOME.md section 2).
    """
    for span, here in _by_line(sets, layers, document).items():
        yield Finding(
            span,
            f"{experts_in_words(here)} have no norm: the gates compare outputs of different scales",
            label="norm none",
            help="use `norm: batch`",
        )


@rule("HS403", "experts-not-home", Severity.WARNING)
def experts_not_home(
    sets: list[ExpertSet], layers: list[Layer], document: Document
) -> Iterator[Finding]:
    """Normalised experts that are not HoME's.

    HoME's expert is Swish(BatchNorm(MLP)) (HOME.md section 2): every expert then starts with output
    mean 0.207 and deviation 0.560. Layer norm normalises each sample instead of each channel, and
    another activation gives another scale. Public code that calls such experts HoME's is one of the
    mistakes in HOME.md section 11; as an experiment it is fine: ignore the rule with a reason.
    """
    for (norm, activation), alike in by_cause(sets, lambda e: (e.norm, e.activation)).items():
        if norm == "none" or (norm, activation) == ("batch", "swish"):
            continue
        for span, here in _by_line(alike, layers, document).items():
            yield Finding(
                span,
                f"{experts_in_words(here)} have norm {norm} and activation {activation}; HoME's "
                "have norm batch and activation swish",
                label="not HoME's expert",
                help="use `norm: batch` and `activation: swish`, or ignore this rule with a reason",
            )
