"""Stage 2, schema: the language as pydantic models; keys, types and ranges.

The docstring under a field is the description that the JSON Schema, the editor and the reference
show. Defaults are HOME.md's (section 9).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from homespec.schema.crosses import Cross
from homespec.schema.embedded import Embedded, FittedVocab, Id, Quantiles
from homespec.schema.experts import Experts, ExpertSet, LayerExperts, Style
from homespec.schema.features import READ, Feature, Number
from homespec.schema.field_types import (
    MAX_ENTRIES,
    LayerName,
    M,
    Model,
    Name,
    Version,
    Width,
    absent,
    listed,
    overlay,
)
from homespec.schema.gates import FeatureGate, Gates, LayerGates, Mixture, SelfGate
from homespec.schema.lists import ListOptions
from homespec.schema.numbers import Dropout
from homespec.schema.promises import Budget, Expect
from homespec.schema.sequences import Dien, Din, Encoder, EventField, Mean, Sequence, Sim, Twin
from homespec.schema.tasks import Group, Task, Tower, Within

__all__ = [
    "Budget",
    "Cross",
    "Dien",
    "Din",
    "Embedded",
    "Encoder",
    "EventField",
    "Expect",
    "ExpertSet",
    "Experts",
    "Feature",
    "FeatureGate",
    "FittedVocab",
    "Gates",
    "Group",
    "Id",
    "Layer",
    "LayerExperts",
    "LayerGates",
    "ListOptions",
    "M",
    "Mean",
    "Mixture",
    "Model",
    "Number",
    "Quantiles",
    "SelfGate",
    "Sequence",
    "Sim",
    "Spec",
    "Style",
    "Task",
    "Tower",
    "Twin",
    "Within",
    "overlay",
]  # fmt: skip

Family = Literal["home", "ple", "cgc", "stem", "mmoe", "ml_mmoe", "moe", "shared_bottom"]


def no_float(value: Any) -> Any:
    """In Python, 1.0 and true equal 1, but a version is an integer."""
    return value if type(value) is int else str(value)


class Layer(Style):
    """One layer of a custom topology: the nodes that own experts, and those that have a state."""

    name: LayerName = ""
    """Part of the names of weights; letters and digits. Default: meta, meta2, … and task."""
    experts: Annotated[dict[str, ExpertSet], Field(min_length=1)]
    """The nodes that own experts: `shared` (the root), groups and tasks."""
    outputs: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(listed)]
    """The nodes for which the layer computes a state. Towers read the state of their task, or of
    the nearest group above it that has one."""
    gates: LayerGates = Field(default_factory=LayerGates.model_construct)
    """Differences from `gates` in this layer."""


LayerCount = Annotated[int, Field(ge=1, le=16)]
Layers = Annotated[
    Annotated[LayerCount, Tag("int")]
    | Annotated[
        Annotated[tuple[Layer, ...], Field(min_length=1, max_length=16), BeforeValidator(listed)],
        Tag("list"),
    ],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "int"),
]


class Spec(Model):
    """A homespec specification, language version 1."""

    homespec: Annotated[Literal[1], BeforeValidator(no_float)]
    """Version of the language."""
    name: Name = Field(examples=["my_model"])
    """Name of the model."""
    version: Version = Field(default="", examples=["1.0.0"])
    """Version of the spec, which you raise yourself, as in semantic versioning. A greater first
    number approves a breaking change (docs/diff.md)."""
    extends: str = ""
    """Another spec, by its path relative to this one. This one is laid over it, key by key."""
    description: Annotated[str, Field(max_length=4000)] = ""
    """The purpose of the model. It becomes the docstring of the generated file."""
    family: Family = "home"
    """The architecture, which decides which nodes of the task tree own experts and have states, and
    how experts are built unless `experts` says otherwise (HOME.md section 7)."""
    layers: Layers = absent()  # the family's number
    """Number of layers (families home, ple, stem and ml_mmoe), or the layers themselves: a topology
    of your own instead of a family's."""
    dim: Width = Field(default=0, examples=[16])
    """Default `dim`: width of the embeddings of features and of fields of events."""
    feature_dropout: Dropout = Field(default=0.0, examples=[0.1])
    """Default `dropout` of features."""
    features: Annotated[dict[Name, Feature], Field(min_length=1, max_length=MAX_ENTRIES)]
    """Input features by name; v is their concatenation in this order."""
    groups: Annotated[dict[Name, Group], Field(max_length=MAX_ENTRIES)] = Field(default={})
    """Task groups: name to members, tasks or other groups. The only source of hierarchy. HoME needs
    groups; other families work without them."""
    tasks: Annotated[dict[Name, Task], Field(min_length=1, max_length=MAX_ENTRIES)]
    """Tasks by name. Each belongs to one group, if there are any."""
    experts: Experts = Field(default_factory=Experts.model_construct)
    """The experts: their number, width and normalisation."""
    gates: Gates = Field(default_factory=Gates.model_construct)
    """The gates: mixture, feature and self."""
    towers: Tower = Field(default_factory=Tower.model_construct)
    """The towers of all tasks."""
    init: Literal["auto", "torch"] = "auto"
    """How the weights of MLPs start: `auto` as the activation after each Linear calls for (He where
    ReLU or Swish follows without a norm; docs/initial-weights.md), `torch` as `nn.Linear` does."""
    expect: Expect = Field(default_factory=Expect.model_construct)
    """Promises about the model: isolated groups, the experts that tasks read, a budget."""

    @property
    def topology(self) -> tuple[Layer, ...]:
        """The layers that the spec lists; none if they come from a family."""
        return self.layers if isinstance(self.layers, tuple) else ()

    def owner(self, name: str) -> str:
        """The feature whose table this one uses: itself, unless it names another."""
        return self.features[name].table or name

    def dropout_of(self, name: str) -> float:
        """The share of a feature's columns of v that training sets to 0."""
        feature = self.features[name]
        own = "dropout" in feature.model_fields_set
        return feature.dropout if own else self.feature_dropout

    @model_validator(mode="after")
    def _own_names(self) -> Spec:
        """Columns and labels default to the name under which they are declared."""
        for name, feature in self.features.items():
            if feature.kind in READ:  # the columns of a sequence's fields: `input_tensors`
                feature.column = feature.column or name
        for name, task in self.tasks.items():
            task.label = task.label or name
        return self
