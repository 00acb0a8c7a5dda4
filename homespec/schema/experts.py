"""Stage 2, schema: the experts, by layer, role and node."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from homespec.schema.activations import Activation
from homespec.schema.field_types import Count, Model, OneOrMore, Width, Widths
from homespec.schema.numbers import Dropout, Epsilon, Momentum


class Style(Model):
    """How experts are built. May be given at every level; the most specific one wins."""

    hidden: Widths = ()
    """Widths of the experts' hidden layers; [] makes an expert one linear layer."""
    width: Width = 64
    """Width D of the experts' outputs. All experts mixed by one gate must agree."""
    norm: Literal["batch", "layer", "none"] = "batch"
    """Normalisation of the raw output, per expert (HOME.md section 2: batch, against collapse)."""
    activation: Literal[Activation, "dice", "none"] = "swish"
    """Activation after the normalisation. `leaky_relu` has the slope 0.01 below 0, `prelu` one that
    is learned, from 0.25 on: one for each layer of each expert."""
    hidden_activation: Activation = "relu"
    """Activation after each hidden layer."""
    dropout: Dropout = Field(default=0.0, examples=[0.1])
    """In training, the share of the outputs of each layer that are set to 0, each expert by a mask
    of its own (docs/regularisation.md)."""
    norm_eps: Epsilon = 1e-5
    """Epsilon of the normalisation and of DICE (torch's default)."""
    norm_momentum: Momentum = 0.1
    """Momentum of the running statistics of batch norm and of DICE (torch's default)."""


class ExpertSet(Style):
    """The experts of one tree node, or of one role. An int is short for `{count: int}`."""

    count: Count = 2
    """Number of experts that the node owns; 0 for none."""
    inputs: Literal["one", "each"] = "one"
    """`one`: all experts read the node's state. `each`: every expert reads a state of its own,
    which a separate gate in the previous layer computes for it (ML-MMoE)."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        is_int = isinstance(value, int) and not isinstance(value, bool)
        return {"count": value} if is_int else value


class LayerExperts(Style):
    """Experts of some layers, by role in the tree. Applies to layers that have sets of the role."""

    shared: ExpertSet = Field(default_factory=ExpertSet.model_construct)
    """Experts of the root, shared by all tasks."""
    group: ExpertSet = Field(default_factory=ExpertSet.model_construct)
    """Experts of each group."""
    task: ExpertSet = Field(default_factory=ExpertSet.model_construct)
    """Experts of each task."""
    nodes: dict[str, ExpertSet] = Field(default={})
    """Exceptions, by name of the group or task."""


class Experts(Style):
    """Experts of all layers (HOME.md sections 2 and 3)."""

    all: LayerExperts = Field(default_factory=LayerExperts.model_construct)
    """Every layer; `meta` and `task` take precedence."""
    meta: OneOrMore[LayerExperts] = Field(default_factory=LayerExperts.model_construct)
    """The layers before the last: one mapping for all of them, or a list with one for each."""
    task: LayerExperts = Field(default_factory=LayerExperts.model_construct)
    """The last layer, whose gates feed the towers."""
