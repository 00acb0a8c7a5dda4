"""Stage 2, schema: the mixture, feature and self gates."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from homespec.schema.activations import Activation
from homespec.schema.constraints import NOT_EMPTY
from homespec.schema.field_types import Model, OneOrMore, Width, Widths


class Mixture(Model):
    """The gate that mixes the expert sets that the hierarchy lets it see."""

    hidden: Widths = ()
    """Widths of hidden layers; [] is one linear layer, as in the paper."""
    hidden_activation: Activation = "relu"
    """Activation after each hidden layer."""
    input: Literal["path", "own", "v", "none"] = "path"
    """`path`: the states of the node and of its ancestors, concatenated (HoME). `own`: the node's
    own state alone (PLE). `v`: the features, in every layer (ML-MMoE). `none`: nothing; the weights
    are a softmax over parameters and the same in all rows."""
    sees: Literal["path", "all", "forward"] = "path"
    """`path`: the hierarchy mask, sets on one root-to-leaf path with the node. `all`: no mask.
    `forward`: no mask either, but gradients flow to the sets on the path alone (STEM)."""
    gated: bool = False
    """Whether the gate reads the feature-gated copies of its states instead of the states."""


class Toggle(Model):
    """A gate that can be switched: true is on, false is off."""

    constraints: ClassVar = (NOT_EMPTY,)

    enabled: bool = True
    """Whether gates of this kind exist."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if value == {}:
            raise PydanticCustomError(
                "empty_gate",
                "neither on nor off",
            )
        if isinstance(value, dict):
            return {"enabled": True, **value}  # who configures a gate wants it on
        return {"enabled": value} if isinstance(value, bool) else value


class FeatureGate(Toggle):
    """The LoRA gate on the input of each expert set (HOME.md section 4)."""

    loras: Annotated[int, Field(ge=1, le=256)] = 2
    """Number L of LoRAs that the gate mixes."""
    rank: Width | Literal["width/loras"] = 16
    """Rank r of each LoRA, or `width/loras`: the input's width over L."""
    mix: Literal["after_sigmoid", "before_sigmoid"] = "after_sigmoid"
    """Mix the LoRAs after their sigmoids, or mix their logits and take one sigmoid."""


class SelfGate(Toggle):
    """The residual gate on an expert set's own output (HOME.md section 5)."""

    hidden: Widths = ()
    """Widths of hidden layers; [] is one linear layer."""
    hidden_activation: Activation = "relu"
    """Activation after each hidden layer."""
    input: Literal["ungated", "gated", "none"] = "ungated"
    """Read the expert set's input before or after its feature gate. `none`: read nothing; the
    weights are parameters, which start at 1/K and may have any value (AdaTT)."""
    sets: Literal["outputs", "all"] = "outputs"
    """Sets that have a self gate: those of the nodes that output a state, or every set, including
    the last layer's shared and group sets."""


class LayerGates(Model):
    """Gates of one layer; missing keys are taken from `gates`."""

    mixture: Mixture = Field(default_factory=Mixture.model_construct)
    """The gates that mix experts."""
    feature: FeatureGate = Field(default_factory=FeatureGate.model_construct)
    """The gates on the inputs of the expert sets; true, false or a mapping."""
    self: SelfGate = Field(default_factory=SelfGate.model_construct)
    """The residual gates on the outputs of the expert sets; true, false or a mapping."""


class Gates(LayerGates):
    """Gates of all layers (HOME.md sections 3, 4 and 5)."""

    meta: OneOrMore[LayerGates] = Field(default_factory=LayerGates.model_construct)
    """Differences in the layers before the last: one mapping, or a list with one for each layer."""
    task: LayerGates = Field(default_factory=LayerGates.model_construct)
    """Differences in the last layer."""
