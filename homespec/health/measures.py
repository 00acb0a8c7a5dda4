"""Health: all numbers of a model as dataclasses; `docs/doctor.md` has their formulas and units.

Rows are held-out rows. NaN means that a number could not be measured. Names are the logical names
of weights: `experts.meta.watch` is a set and `experts.meta.watch.0` its first expert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from homespec.health.thresholds import Thresholds

VERSION = 2
"""Version of the data model.

It increases with each change that readers of the JSON must know about.
"""

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The quantiles of an expert's outputs."""

Role = Literal["shared", "group", "task"]


def short(name: str) -> str:
    """A name without its kind: `meta.watch.0` for `experts.meta.watch.0`."""
    return name.partition(".")[2]


def held_out(rows: int) -> str:
    """The number in words: `1 held-out row`, `2,000 held-out rows`."""
    return f"{rows:,} held-out row{'' if rows == 1 else 's'}"


# ---------------------------------------------------------------- experts


@dataclass(frozen=True, slots=True)
class Use:
    """How much one gate uses an expert that several gates see."""

    gate: str
    weight: float
    """Mean weight of the expert in the gate."""
    share: float
    """That mean divided by the sum over all gates that see the expert: p_j(t)."""


@dataclass(frozen=True, slots=True)
class Expert:
    """The outputs of one expert, [rows, width]."""

    name: str
    set: str
    """The name of its set."""
    layer: str
    owner: str
    """The node of the task tree that owns its set."""
    role: Role
    index: int
    line: int
    """The place of the spec that defines it."""
    width: int
    """Number of output channels."""
    zeros: float
    """Share of outputs that are exactly 0."""
    near_zeros: float
    """Share of outputs with |a| < tolerance."""
    dead_channels: float
    """Share of channels that do not vary: largest minus smallest output below the tolerance."""
    mean_abs: float
    """Mean |a|."""
    std: float
    """Root of the mean over channels of the variance over rows."""
    quantiles: tuple[float, ...]
    """Quantiles of outputs on some rows, at `QUANTILES`; empty when measured in training."""
    nearest: str
    """The expert of the same set whose outputs are most similar; "" if there is no other."""
    similarity: float
    """Linear CKA with that expert, 0 to 1."""
    uses: tuple[Use, ...]
    """Its use by each gate that sees it."""
    evenness: float
    """exp(entropy of the shares of `uses`) / number of gates: 1 is even, 1/number is one gate."""

    @property
    def most_used(self) -> Use | None:
        """The use by the gate that uses it most, if several gates see it."""
        return max(self.uses, key=lambda use: use.share) if len(self.uses) > 1 else None


# ---------------------------------------------------------------- gates


@dataclass(frozen=True, slots=True)
class Source:
    """How much a gate takes from one expert set."""

    set: str
    owner: str
    role: Role
    fair: float
    """Number of experts of the set, divided by the number that the gate sees."""
    weight: float
    """Mean over rows of the sum of the weights of its experts: s_t."""
    contribution: float
    """Mean |sum of weight times output of its experts|, divided by the sum over all sets."""
    weight_with_self: float
    """As `weight`, with the weights of self gates added, divided by the sum over all sets."""
    contribution_with_self: float
    """As `contribution`, with the part that self gates add."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The weights of a mixture gate, [rows, experts]."""

    name: str
    layer: str
    owner: str
    role: Role
    line: int
    experts: tuple[str, ...]
    """The experts that it weighs, in order."""
    mean: tuple[float, ...]
    """Mean weight of each."""
    std: tuple[float, ...]
    """Standard deviation over rows of each weight."""
    top: tuple[float, ...]
    """Share of rows in which each expert has the largest weight."""
    perplexity: float
    """exp(mean entropy of a row's weights) / number of experts: 1 is even."""
    mean_perplexity: float
    """exp(entropy of the mean weights) / number of experts."""
    variance_rows: float
    """Sum over experts of the variance of the weight over rows."""
    variance_gates: float
    """Sum over experts of the variance of the mean weight over the gates that see it."""
    scale_ratio: float
    """Ratio of the largest to the smallest mean |a| of the experts that it mixes."""
    std_ratio: float
    """Ratio of the largest to the smallest standard deviation of the experts that it mixes."""
    sources: tuple[Source, ...]
    """Sources by expert set, in order from the root."""


@dataclass(frozen=True, slots=True)
class SelfGate:
    """The weights of a self gate, [rows, experts of its set]."""

    name: str
    layer: str
    owner: str
    line: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Lora:
    """One LoRA of a feature gate."""

    index: int
    weight: float
    """Its mean weight in the mixture; 1 if it is the only one."""
    effect: float
    """Mean |2 sigmoid(LoRA) - 1|: the distance from doing nothing."""


@dataclass(frozen=True, slots=True)
class FeatureGate:
    """The values of a feature gate, [rows, width], in (0, 2); 1 changes nothing."""

    name: str
    layer: str
    owner: str
    line: int
    width: int
    low: float
    high: float
    mean: float
    std: float
    """Root of the mean over channels of the variance over rows."""
    saturated: float
    """Share of values farther from 1 than the threshold `saturation`."""
    loras: tuple[Lora, ...]


# ---------------------------------------------------------------- tasks


@dataclass(frozen=True, slots=True)
class Calibration:
    """Consecutive rows in the order of their predictions."""

    predicted: float
    """Mean probability."""
    observed: float
    """Share of positives."""
    rows: int


@dataclass(frozen=True, slots=True)
class LossPoint:
    """The training loss of a task over consecutive steps."""

    step: int
    """The last of these steps."""
    loss: float
    """The mean over their rows with a label."""


@dataclass(frozen=True, slots=True)
class Gradients:
    """Norms of the gradient of a task's loss with respect to weights of experts, on the sample.

    Root mean square over the weights, so that the number of experts does not matter. NaN if the
    task sees no such experts.
    """

    own: float
    group: float
    shared: float


@dataclass(frozen=True, slots=True)
class Task:
    """A task on the examined rows, and the numbers that the run saved about it."""

    name: str
    kind: Literal["binary", "regression"]
    line: int
    rows: int
    """Rows with a label."""
    positives: int
    """Rows whose label is 1; 0 for a regression."""
    sample_rows: int
    """Rows with a label in the sample of the knock-outs."""
    sample_positives: int
    judged: bool
    """Whether the sample has enough of both classes for verdicts."""
    trained_positives: float
    """Positives that training saw, estimated from its labels and the held-out rate; NaN unknown."""
    loss: float
    """Mean loss."""
    auc: float
    """NaN for a regression. Logits are distinguished to 1/200."""
    calibration: tuple[Calibration, ...]
    losses: tuple[LossPoint, ...]
    """The losses of training, in at most 60 parts; empty if the run has no losses.csv."""
    metrics: dict[str, float]
    """The entries in metrics.json."""
    gradients: Gradients
    spread: float
    """Standard deviation of the logits over the rows."""


# ---------------------------------------------------------------- evidence

Kind = Literal[
    "without_expert", "without_set", "shuffled_set", "constant_gate", "constant_feature_gate",
    "without_lora", "replaced_expert", "constant_expert",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Effect:
    """The change of one task's mean loss: changed minus unchanged model, on the same rows."""

    task: str
    change: float
    low: float
    high: float
    """The 95 % confidence interval of the change: mean ± 1.96 standard errors of differences."""

    @property
    def sure(self) -> bool:
        """Whether the whole interval is above or below 0."""
        return self.low > 0 or self.high < 0

    def by(self, loss: float) -> Effect:
        """The same relative to a loss; 0 if the loss is not above 0."""
        if not loss > 0:
            return Effect(self.task, 0.0, 0.0, 0.0)
        return Effect(self.task, self.change / loss, self.low / loss, self.high / loss)


@dataclass(frozen=True, slots=True)
class Knockout:
    """A change of the model, and its effect on each task that it can reach."""

    kind: Kind
    target: str
    """The changed expert, set, gate or LoRA."""
    by: str
    """The expert that replaces it, else ""."""
    effects: tuple[Effect, ...]


# ---------------------------------------------------------------- all


@dataclass(frozen=True, slots=True)
class Health:
    """All measurements of one run."""

    run: str
    """The folder of the run."""
    spec: str
    spec_sha256: str
    rows: int
    """Number of examined held-out rows."""
    sample_rows: int
    """Number of rows for knock-outs, 0 if there were none."""
    tolerance: float
    thresholds: Thresholds
    experts: tuple[Expert, ...]
    gates: tuple[Gate, ...]
    self_gates: tuple[SelfGate, ...]
    feature_gates: tuple[FeatureGate, ...]
    tasks: tuple[Task, ...]
    knockouts: tuple[Knockout, ...]
    at_start: bool = False
    """Whether the model has not been trained; then `run` is the spec."""
