"""Stage 2, schema: the mixture, feature and self gates."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from homespec.schema.activations import Activation
from homespec.schema.constraints import NOT_EMPTY
from homespec.schema.field_types import Model, OneOrMore, Width, Widths, listed

Word = TypeVar("Word", bound=str)
Entries = Annotated[
    tuple[str, ...], Field(min_length=1, max_length=1024), BeforeValidator(listed), Tag("list")
]
"""Names of features, and words for states."""
WordOrEntries = Annotated[
    Annotated[Word, Tag("word")] | Entries,
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "word"),
]
SOURCES = ("own", "path", "v")
"""The words that a list of what a gate reads may contain besides features."""
Detach = Annotated[
    Annotated[bool, Tag("bool")] | Entries,
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "bool"),
]


class Mixture(Model):
    """The gate that mixes the expert sets that the hierarchy lets it see."""

    hidden: Widths = ()
    """Widths of hidden layers; [] is one linear layer, as in the paper."""
    hidden_activation: Activation = "relu"
    """Activation after each hidden layer."""
    input: WordOrEntries[Literal["path", "own", "v", "none"]] = "path"
    """`path`: the states of the node and of its ancestors, concatenated (HoME). `own`: the node's
    own state alone (PLE). `v`: the features, in every layer (ML-MMoE). `none`: nothing; the weights
    are a softmax over parameters and the same in all rows. A list of features, such as `[user_id,
    device]`: their columns of v; it may also contain `own`, `path` or `v`."""
    detach: Detach = False
    """`true`: the gate sends no gradient into what it reads. A list: into these entries of
    `input`."""
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

    input: WordOrEntries[Literal["own", "path", "v"]] = "own"
    """`own`: the value that the gate multiplies. `path`: the states of the node and of its
    ancestors. `v`: the features. A list of features: their columns of v; it may also contain `own`,
    `path` or `v`. A gate that read nothing would be a constant for each channel, which the next
    layer's weights contain already; so there is no `none`."""
    detach: Detach = False
    """`true`: the gate sends no gradient into what it reads. A list: into these entries of `input`,
    such as `[own]` (PEPNet). The value that it multiplies gets its gradient all the same."""
    activation: Literal["none", "relu"] = "none"
    """`relu`: the gate is an MLP with ReLU and biases between the low rank and the sigmoid
    (PEPNet), of which there is one: `loras: 1`."""
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
    input: WordOrEntries[Literal["ungated", "gated", "path", "v", "none"]] = "ungated"
    """Read the expert set's input before or after its feature gate. `path`: the states of the node
    and of its ancestors. `v`: the features. `none`: read nothing; the weights are parameters, which
    start at 1/K and may have any value (AdaTT). A list of features: their columns of v; it may also
    contain `own`, the ungated input, `path` or `v`."""
    detach: Detach = False
    """`true`: the gate sends no gradient into what it reads. A list: into these entries of
    `input`."""
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


Reading = Mixture | FeatureGate | SelfGate
"""The gates that read something."""


def entries_of(gate: Reading) -> tuple[str, ...]:
    """What a gate reads: features and words; nothing for `none`."""
    if isinstance(gate.input, tuple):
        return gate.input
    return () if gate.input == "none" else (gate.input,)


def detached_entries(gate: Reading) -> tuple[str, ...]:
    """The entries into which the gate sends no gradient."""
    if isinstance(gate.detach, tuple):
        return gate.detach
    return entries_of(gate) if gate.detach else ()
