"""Stage 2, schema: the language as pydantic models; keys, types and ranges.

The docstring under a field is the description that the JSON Schema, the editor and the reference
show.
Defaults are HOME.md's (section 9). A key that is absent where an outer level may give it inherits
from there: `model_fields_set` tells absent from given, so no field needs a None.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from homespec.schema import labels, names


def _check_name(name: str) -> str:
    if not names.is_identifier(name):
        raise PydanticCustomError("bad_name", "`{name}` is not a name", {"name": name})
    if name in names.RESERVED:
        raise PydanticCustomError("reserved_name", "`{name}` is reserved", {"name": name})
    return name


def _check_layer_name(name: str) -> str:
    """Variables of generated code are called `z_LAYER_NODE`: without `_` in it they stay apart."""
    if "_" in name:
        raise PydanticCustomError("bad_name", "`{name}` has an underscore", {"name": name})
    return name


def _check_label(text: str) -> str:
    try:
        labels.parse_label(text)
    except ValueError as error:
        raise PydanticCustomError("bad_label", "{reason}", {"reason": str(error)}) from None
    return text


def _check_increasing(boundaries: tuple[float, ...]) -> tuple[float, ...]:
    for left, right in pairwise(boundaries):
        if not left < right:
            raise PydanticCustomError(
                "not_increasing", "{right} follows {left}", {"left": left, "right": right}
            )
    return boundaries


def _no_float(value: Any) -> Any:
    """Python takes 1.0 and true for 1; a version is an integer."""
    return value if type(value) is int else str(value)


Family = Literal["home", "ple", "cgc", "mmoe", "ml_mmoe", "moe", "shared_bottom"]


def _listed(value: Any) -> Any:
    """YAML gives lists; strict pydantic wants tuples to be tuples."""
    return tuple(value) if isinstance(value, list) else value


M = TypeVar("M", bound=BaseModel)

MANY = 1024
"""So many features, groups and tasks a spec may have: products have dozens of tasks."""

Name = Annotated[str, AfterValidator(_check_name)]
LayerName = Annotated[
    Name,
    AfterValidator(_check_layer_name),
    Field(json_schema_extra={"pattern": "^[A-Za-z][A-Za-z0-9]{0,62}$"}),
]
Count = Annotated[int, Field(ge=0, le=4096)]
Width = Annotated[int, Field(ge=1, le=1_048_576)]
Widths = Annotated[tuple[Width, ...], Field(max_length=16), BeforeValidator(_listed)]
Rows = Annotated[int, Field(ge=1, le=2_147_483_647)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Boundaries = Annotated[
    tuple[Finite, ...],
    Field(min_length=1, max_length=100_000),
    BeforeValidator(_listed),
    AfterValidator(_check_increasing),
]


class Model(BaseModel):
    """Base of all sections: unknown keys are errors and nothing is coerced."""

    # Built on first use, and docstrings read by `jsonschema` alone: both double the import's time.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class Id(Model):
    """An identifier or category, looked up in an embedding table."""

    buckets: Rows = Field(default=0)
    """Hash the id into this many rows: any 64-bit integer modulo buckets. Missing ids (-1 in
    tensors, null in files) have a row of their own."""
    vocab: Rows = Field(default=0)
    """Ids are 0 to vocab - 1. Missing and unknown ids share a row of their own."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Id:
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError("id_kind", "give `buckets` or `vocab`")
        return self


class Feature(Model):
    """One input feature: exactly one of `id`, `bucketize` and `dense`."""

    id: Id = Field(default=None)  # type: ignore[assignment]  # absent; `kind` says which one is set
    """An id or category: `{buckets: n}` hashes, `{vocab: n}` takes ids below n."""
    bucketize: Boundaries = ()
    """A number, cut at these ascending boundaries (a bucket includes its lower one). Each bucket
    has an embedding, so has missing."""
    dense: Width = Field(default=0)
    """A dense vector of this many numbers, taken as it is (missing becomes 0)."""
    dim: Width = Field(default=0)
    """Width of the embedding of an `id` or `bucketize` feature."""
    column: Annotated[str, Field(min_length=1, max_length=200)] = ""
    """Column of the data that holds the feature. Default: the feature's name."""

    @property
    def kind(self) -> Literal["id", "bucketize", "dense"]:
        """Which of the three kinds the feature is."""
        if "id" in self.model_fields_set:
            return "id"
        return "bucketize" if "bucketize" in self.model_fields_set else "dense"

    @property
    def width(self) -> int:
        """How many columns of the input v the feature takes."""
        return self.dense if self.kind == "dense" else self.dim

    @property
    def rows(self) -> int:
        """Rows of the embedding table; row 0 stands for missing. 0 for a dense feature."""
        if self.kind == "dense":
            return 0
        known = (self.id.buckets or self.id.vocab) if self.kind == "id" else len(self.bucketize) + 1
        return 1 + known

    @model_validator(mode="after")
    def _one_kind(self) -> Feature:
        kinds = [k for k in ("id", "bucketize", "dense") if k in self.model_fields_set]
        if len(kinds) != 1:
            raise PydanticCustomError("feature_kind", "{kinds}", {"kinds": ", ".join(kinds)})
        if ("dim" in self.model_fields_set) == (kinds[0] == "dense"):
            raise PydanticCustomError("feature_dim", "{kind}", {"kind": kinds[0]})
        return self


class Tower(Model):
    """The MLP from a task's representation to its logit."""

    hidden: Widths = (64,)
    """Widths of the hidden layers; [] makes the tower one linear layer."""
    activation: Literal["relu", "swish"] = "relu"
    """Activation after each hidden layer. The last layer is bare: towers emit logits."""


class Task(Model):
    """One behaviour to predict."""

    kind: Literal["binary", "regression"] = "binary"
    """`binary`: a label 0 or 1, the tower puts out its logit. `regression`: a number such as a
    watch time, the tower puts out its estimate in units of `scale`."""

    label: Annotated[str, AfterValidator(_check_label)] = ""
    """A column of 0 and 1, or a comparison such as `play_time_ms >= duration_ms`. Default: the
    task's name. Rows in which it is missing do not count in the task's loss."""
    where: str = ""
    """A binary task: only rows in which its label is 1 are the task's samples, in training and in
    evaluation. Default: all rows."""
    product: Annotated[tuple[str, ...], Field(min_length=2), BeforeValidator(_listed)] = ()
    """Binary tasks whose probabilities multiply to this task's (ESMM: ctcvr = ctr * cvr). Such a
    task has no tower and stands in no group."""
    loss: Literal["squared", "absolute", "huber"] = "squared"
    """Loss of a regression, on label and estimate in units of `scale`."""
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Unit of a regression: 60000 trains on minutes if the label is in milliseconds."""
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Weight of the task's loss in the sum (HOME.md section 6: equal weights)."""
    rate: Annotated[float, Field(gt=0, lt=1)] = Field(default=None)  # type: ignore[assignment]
    """Expected share of positive labels. Used by the design lint, and to start the tower's bias at
    the task's log-odds. Default: unknown."""
    tower: Tower = Field(default_factory=Tower.model_construct)
    """What this task's tower has other than `towers` says."""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {} if value is None else value  # `follow:` alone declares a task with every default


class Style(Model):
    """How experts are built. May stand at every level; the most specific level wins."""

    hidden: Widths = ()
    """Widths of the experts' hidden layers; [] makes an expert one linear layer."""
    width: Width = 64
    """Width D of the experts' outputs. All experts mixed by one gate must agree."""
    norm: Literal["batch", "layer", "none"] = "batch"
    """Normalisation of the raw output, per expert (HOME.md section 2: batch, against collapse)."""
    activation: Literal["swish", "relu", "dice", "none"] = "swish"
    """Activation after the normalisation."""
    hidden_activation: Literal["relu", "swish"] = "relu"
    """Activation after each hidden layer."""
    norm_eps: Annotated[float, Field(gt=0, le=1)] = 1e-5
    """Epsilon of the normalisation and of DICE (torch's default)."""
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Momentum of the running statistics of batch norm and of DICE (torch's default)."""


class ExpertSet(Style):
    """The experts of one tree node, or of one role. An int is short for `{count: int}`."""

    count: Count = 2
    """How many experts the node owns; 0 for none."""
    inputs: Literal["one", "each"] = "one"
    """`one`: all experts read the node's state. `each`: every expert reads a state of its own,
    which a gate of its own in the layer before puts out for it (ML-MMoE)."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        is_int = isinstance(value, int) and not isinstance(value, bool)
        return {"count": value} if is_int else value


class LayerExperts(Style):
    """Experts of some layers, by role in the tree. Applies where the layer has sets of the role."""

    shared: ExpertSet = Field(default_factory=ExpertSet.model_construct)
    """Experts of the root, shared by all tasks."""
    group: ExpertSet = Field(default_factory=ExpertSet.model_construct)
    """Experts of each group."""
    task: ExpertSet = Field(default_factory=ExpertSet.model_construct)
    """Experts of each task."""
    nodes: dict[str, ExpertSet] = {}
    """Exceptions, by name of the group or task."""


def _shape(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "mapping"


MetaExperts = Annotated[
    Annotated[LayerExperts, Tag("mapping")]
    | Annotated[
        Annotated[tuple[LayerExperts, ...], Field(min_length=1), BeforeValidator(_listed)],
        Tag("list"),
    ],
    Discriminator(_shape),
]


class Experts(Style):
    """Experts of all layers (HOME.md sections 2 and 3)."""

    all: LayerExperts = Field(default_factory=LayerExperts.model_construct)
    """Every layer; what `meta` and `task` say goes before it."""
    meta: MetaExperts = Field(default_factory=LayerExperts.model_construct)
    """The layers before the last: one mapping for all of them, or a list with one for each."""
    task: LayerExperts = Field(default_factory=LayerExperts.model_construct)
    """The last layer, whose gates feed the towers."""


class Mixture(Model):
    """The gate that mixes the expert sets which the hierarchy lets it see."""

    hidden: Widths = ()
    """Widths of hidden layers; [] is one linear layer, as in the paper."""
    hidden_activation: Literal["relu", "swish"] = "relu"
    """Activation after each hidden layer."""
    input: Literal["path", "own", "v"] = "path"
    """`path`: the states of the node and of its ancestors, concatenated (HoME). `own`: the node's
    own state alone (PLE). `v`: the features, in every layer (ML-MMoE)."""
    sees: Literal["path", "all"] = "path"
    """`path`: the hierarchy mask, sets on one root-to-leaf path with the node. `all`: no mask."""
    gated: bool = False
    """Whether the gate reads the feature-gated copies of its states instead of the states."""


class Toggle(Model):
    """A gate that can be switched: true and false stand for on and off."""

    enabled: bool = True
    """Whether there are gates of this kind."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
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
    hidden_activation: Literal["relu", "swish"] = "relu"
    """Activation after each hidden layer."""
    input: Literal["ungated", "gated"] = "ungated"
    """Read the expert set's input before or after its feature gate."""
    sets: Literal["outputs", "all"] = "outputs"
    """Which sets have one: those of the nodes that output a state, or every set, the last layer's
    shared and group sets included."""


class LayerGates(Model):
    """Gates of one layer; what is absent is taken from `gates`."""

    mixture: Mixture = Field(default_factory=Mixture.model_construct)
    """The gates that mix experts."""
    feature: FeatureGate = Field(default_factory=FeatureGate.model_construct)
    """The gates on the inputs of the expert sets; true, false or a mapping."""
    self: SelfGate = Field(default_factory=SelfGate.model_construct)
    """The residual gates on the outputs of the expert sets; true, false or a mapping."""


MetaGates = Annotated[
    Annotated[LayerGates, Tag("mapping")]
    | Annotated[
        Annotated[tuple[LayerGates, ...], Field(min_length=1), BeforeValidator(_listed)],
        Tag("list"),
    ],
    Discriminator(_shape),
]


class Gates(LayerGates):
    """Gates of all layers (HOME.md sections 3, 4 and 5)."""

    meta: MetaGates = Field(default_factory=LayerGates.model_construct)
    """What is different before the last layer: one mapping, or a list with one for each layer."""
    task: LayerGates = Field(default_factory=LayerGates.model_construct)
    """What is different in the last layer."""


class Layer(Style):
    """One layer of a free topology: which nodes of the tree own experts, and which have a state."""

    name: LayerName = ""
    """Part of the names of weights; letters and digits. Default: meta, meta2, … and task."""
    experts: Annotated[dict[str, ExpertSet], Field(min_length=1)]
    """The nodes that own experts: `shared` (the root), groups and tasks."""
    outputs: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_listed)]
    """The nodes for which the layer puts out a state. Towers read the state of their task, or of
    the nearest group above it that has one."""
    gates: LayerGates = Field(default_factory=LayerGates.model_construct)
    """What is different from `gates` in this layer."""


LayerCount = Annotated[int, Field(ge=1, le=16)]
Layers = Annotated[
    Annotated[LayerCount, Tag("int")]
    | Annotated[
        Annotated[tuple[Layer, ...], Field(min_length=1, max_length=16), BeforeValidator(_listed)],
        Tag("list"),
    ],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "int"),
]


class Spec(Model):
    """A homespec specification, language version 1."""

    homespec: Annotated[Literal[1], BeforeValidator(_no_float)]
    """Version of the language."""
    name: Name
    """Name of the model."""
    extends: str = ""
    """Another spec, by its path relative to this one. This one is laid over it, key by key."""
    description: Annotated[str, Field(max_length=4000)] = ""
    """What the model is for; it becomes the generated file's docstring."""
    family: Family = "home"
    """The architecture: it says which nodes of the task tree own experts and have states, and how
    experts are built where `experts` does not (HOME.md section 7)."""
    layers: Layers = Field(default=None)  # type: ignore[assignment]  # absent: the family's number
    """How many layers (families home, ple and ml_mmoe), or the layers themselves: a topology of
    your own in place of a family's."""
    features: Annotated[dict[Name, Feature], Field(min_length=1, max_length=MANY)]
    """Input features by name; v is their concatenation in this order."""
    groups: Annotated[
        dict[Name, Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_listed)]],
        Field(max_length=MANY),
    ] = {}
    """Task groups: name to members, tasks or other groups. The one source of hierarchy. HoME needs
    them; other families may go without."""
    tasks: Annotated[dict[Name, Task], Field(min_length=1, max_length=MANY)]
    """Tasks by name. Each belongs to one group, if there are any."""
    experts: Experts = Field(default_factory=Experts.model_construct)
    """The experts: how many, how wide, how normalised."""
    gates: Gates = Field(default_factory=Gates.model_construct)
    """The gates: mixture, feature and self."""
    towers: Tower = Field(default_factory=Tower.model_construct)
    """The towers of all tasks."""

    @property
    def topology(self) -> tuple[Layer, ...]:
        """The layers that the spec gives by hand; none where a family gives them."""
        return self.layers if isinstance(self.layers, tuple) else ()

    @model_validator(mode="after")
    def _own_names(self) -> Spec:
        """Columns and labels default to the name under which they are declared."""
        for name, feature in self.features.items():
            feature.column = feature.column or name
        for name, task in self.tasks.items():
            task.label = task.label or name
        return self


def overlay(*levels: BaseModel, to: type[M]) -> M:
    """Merge the fields that were given at each level, later levels win, into a `to`."""
    given: dict[str, Any] = {}
    for level in levels:
        fields = level.model_fields_set & to.model_fields.keys()
        given.update({field: getattr(level, field) for field in fields})
    return to.model_construct(set(given), **given)  # all of it has been validated
