"""HS70x: experts that collapsed, are copies of others, or are not needed.

A rule reports something only if the measured losses confirm it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from homespec.checks.causes import by_cause, listed
from homespec.diagnostics import Finding, Severity, rule
from homespec.health import remedies
from homespec.health.evidence import Examined, Verdict
from homespec.health.measures import Expert, Gate, short
from homespec.health.sharing_rules import ignored_source


def is_near_zero(seen: Examined, expert: Expert) -> bool:
    """Whether nearly all outputs are near 0."""
    return expert.near_zeros > seen.limits.zeros


def is_mostly_dead(seen: Examined, expert: Expert) -> bool:
    """Whether most channels are constant."""
    return expert.dead_channels > seen.limits.dead_channels and seen.has_rows


def has_collapsed(seen: Examined, expert: Expert) -> bool:
    """Whether it is near 0, and mostly dead or not needed. Dead channels cannot be needed."""
    if not is_near_zero(seen, expert) or not seen.can_judge:
        return False
    free = seen.verdict("constant_expert", expert.name) is Verdict.FREE
    return free or is_mostly_dead(seen, expert)


def small_experts(seen: Examined, gate: Gate) -> list[Expert]:
    """The experts of a gate whose outputs are much smaller than the largest."""
    experts = [seen.experts[name] for name in gate.experts]
    largest = max((expert.mean_abs for expert in experts), default=0.0)
    return [e for e in experts if e.mean_abs * seen.limits.scale_ratio < largest]


def is_similar(seen: Examined, expert: Expert) -> bool:
    """Whether another expert of the set spans nearly the same space."""
    return expert.similarity >= seen.limits.similarity and seen.has_rows


def _by_place(
    seen: Examined, experts: Iterable[Expert], say: Callable[[list[Expert]], Finding]
) -> Iterator[Finding]:
    """One finding for all experts that one place of the spec defines."""
    for of_place in by_cause(experts, lambda e: seen.span(e.set)).values():
        yield say(of_place)


def _names(experts: list[Expert]) -> str:
    return listed([short(expert.name) for expert in experts])


def _all(experts: list[Expert]) -> tuple[str, ...]:
    return tuple(expert.name for expert in experts)


def _verb(experts: list[Expert], one: str, several: str) -> str:
    return f"{_names(experts)} {one if len(experts) == 1 else several}"


def _held(seen: Examined, experts: list[Expert]) -> str:
    """The largest change of a loss with one of them at its mean in all rows."""
    worst = max(experts, key=lambda e: seen.highest("constant_expert", e.name))
    return f"with its mean in all rows {seen.describe('constant_expert', worst.name)}"


def _is(seen: Examined, expert: Expert, verdict: Verdict) -> bool:
    return seen.verdict("constant_expert", expert.name) is verdict


@rule("HS701", "collapsed-expert", Severity.WARNING)
def collapsed(seen: Examined) -> Iterator[Finding]:
    """An expert whose outputs are nearly all 0, and which is not needed or is mostly dead.

    More than 90 % of its outputs are 0, which is the share that the HoME paper reports for
    collapsed ReLU experts. In addition, either no task's loss rises when the expert's output is
    replaced by its mean, or most of its channels are constant over all rows and so carry no
    information. In the second case the rest of the expert may be needed, but most of its cost is
    wasted. The dead part no longer gets a gradient. Batch norm and Swish keep the outputs of every
    expert on one scale from the first step (HOME.md, section 2). Change the share with `--threshold
    zeros=0.8`.
    """

    def say(experts: list[Expert]) -> Finding:
        worst = max(experts, key=lambda e: e.near_zeros)
        dead = max(expert.dead_channels for expert in experts)
        node = seen.set_of(worst.set)
        remedy = remedies.normalise(seen.lowered, node) or remedies.fewer(seen.lowered, node)
        return Finding(
            seen.span(worst.set),
            f"{_verb(experts, 'has', 'have')} collapsed: up to {worst.near_zeros:.1%} of the"
            f" outputs are near 0, up to {dead:.0%} of the channels are constant"
            f" ({_held(seen, experts)})",
            "made here",
            help=remedy,
            about=_all(experts),
        )

    yield from _by_place(seen, (e for e in seen.health.experts if has_collapsed(seen, e)), say)


@rule("HS702", "sparse-expert", Severity.NOTE)
def sparse(seen: Examined) -> Iterator[Finding]:
    """An expert whose outputs are nearly all 0, but that some task needs.

    Most of its channels are active, each in few rows, and the loss of a task rises when the
    expert's output is replaced by its mean. This is typical of a specialist, and you need not do
    anything. If its share of zeros keeps rising from run to run, batch norm and Swish stop that.
    """

    def say(experts: list[Expert]) -> Finding:
        worst = max(experts, key=lambda e: e.near_zeros)
        return Finding(
            seen.span(worst.set),
            f"{_verb(experts, 'is', 'are')} 0 in up to {worst.near_zeros:.1%} of the outputs, but"
            f" needed ({_held(seen, experts)})",
            "made here",
            help=remedies.normalise(seen.lowered, seen.set_of(worst.set)),
            about=_all(experts),
        )

    found = [
        e
        for e in seen.health.experts
        if is_near_zero(seen, e) and not has_collapsed(seen, e) and _is(seen, e, Verdict.COSTS)
    ]
    yield from _by_place(seen, found, say)


@rule("HS703", "dead-channels", Severity.NOTE)
def dead_channels(seen: Examined) -> Iterator[Finding]:
    """An expert of which most channels are constant.

    A channel whose outputs do not vary over the rows carries no information for gates and towers,
    so the expert is effectively narrower than its cost suggests. By itself, this does no harm. ReLU
    without a norm makes such channels; batch norm and Swish do not, and a smaller width costs less.
    """

    def say(experts: list[Expert]) -> Finding:
        worst = max(experts, key=lambda e: e.dead_channels)
        return Finding(
            seen.span(worst.set),
            f"{_verb(experts, 'has', 'have')} up to {worst.dead_channels:.0%} dead channels of"
            f" {worst.width}",
            "made here",
            help=remedies.normalise(seen.lowered, seen.set_of(worst.set)),
            about=_all(experts),
        )

    found = [
        e for e in seen.health.experts if is_mostly_dead(seen, e) and not is_near_zero(seen, e)
    ]
    yield from _by_place(seen, found, say)


@rule("HS704", "uneven-experts", Severity.WARNING)
def uneven(seen: Examined) -> Iterator[Finding]:
    """Experts whose outputs are far smaller than others in the same gate, and which no task needs.

    The gate weighs outputs whose mean sizes differ tenfold. The small output is drowned out
    whatever its weight, and no loss rises when it is replaced by its mean. Batch norm gives all
    experts the same scale. Change the ratio with `--threshold scale_ratio=20`.
    """
    small = {e.name: e for gate in seen.health.gates for e in small_experts(seen, gate)}
    found = [e for e in small.values() if not is_near_zero(seen, e) and _is(seen, e, Verdict.FREE)]

    def say(experts: list[Expert]) -> Finding:
        gates = [g for g in seen.health.gates if experts[0].name in g.experts]
        gate = max(gates, key=lambda g: g.scale_ratio)
        node = seen.set_of(experts[0].set)
        return Finding(
            seen.span(experts[0].set),
            f"{_verb(experts, 'is', 'are')} too small to matter: in the mixture of "
            f"{short(gate.name)}"
            f" mixes, the largest has {gate.scale_ratio:.0f} times the mean |a| of the smallest"
            f" ({_held(seen, experts)})",
            "made here",
            help=remedies.normalise(seen.lowered, node) or remedies.fewer(seen.lowered, node),
            about=_all(experts),
        )

    yield from _by_place(seen, found, say)


@rule("HS705", "copied-expert", Severity.WARNING)
def copied(seen: Examined) -> Iterator[Finding]:
    """Two experts of one set that compute nearly the same function.

    Their outputs span nearly the same space (linear CKA), and no task gets worse when a linear
    function of one replaces the other. The set effectively has fewer experts than it pays for.
    Remove one, or train with another seed or learning rate. Change the similarity with `--threshold
    similarity=0.95`.
    """
    for experts in by_cause(filter(_copies(seen), seen.health.experts), lambda e: e.set).values():
        first = experts[0]
        yield Finding(
            seen.span(first.set),
            f"{short(first.name)} computes nearly the same as {short(first.nearest)} (linear CKA"
            f" {first.similarity:.3f}): with a linear function of that one in its place"
            f" {seen.describe('replaced_expert', first.name)}",
            "made here",
            help=remedies.fewer(seen.lowered, seen.set_of(first.set)),
            about=_all(experts),
        )


def _copies(seen: Examined) -> Callable[[Expert], bool]:
    def is_copy(expert: Expert) -> bool:
        verdict = seen.verdict("replaced_expert", expert.name)
        return is_similar(seen, expert) and verdict is Verdict.FREE

    return is_copy


@rule("HS706", "idle-experts", Severity.NOTE)
def idle(seen: Examined) -> Iterator[Finding]:
    """A set of experts that no task needs.

    The experts are alive, yet no loss rises when no gate may use any of them: other experts, or
    states of earlier layers, carry the same information. The model could be smaller. Confirm this
    by training once without the set, because the remaining experts then learn differently.
    """
    ignored = {own.set for gate in seen.health.gates if (own := ignored_source(seen, gate))}
    for of_set in by_cause(seen.health.experts, lambda e: e.set).values():
        name = of_set[0].set
        if name in ignored or all(is_near_zero(seen, e) for e in of_set):
            continue  # other rules report these
        if seen.verdict("without_set", name) is Verdict.FREE:
            yield Finding(
                seen.span(name),
                f"no task needs the experts of {short(name)}: without them"
                f" {seen.describe('without_set', name)}",
                "made here",
                help=remedies.fewer(seen.lowered, seen.set_of(name)),
                about=(name,),
            )
