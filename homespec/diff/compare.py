"""The comparison of two specs: what a change breaks, and its effect on the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from homespec.analysis.costs import Cost, cost_of
from homespec.diagnostics import Diagnostic, Finding, Label, Position, Span
from homespec.diff.breaks import Breaks
from homespec.diff.carry import Plan, plan
from homespec.diff.cross_changes import CROSS_CHANGES
from homespec.diff.effect import Effects
from homespec.diff.expert_changes import EXPERT_CHANGES
from homespec.diff.feature_changes import FEATURE_CHANGES
from homespec.diff.gate_reading_changes import GATE_READING_CHANGES
from homespec.diff.list_changes import LIST_CHANGES
from homespec.diff.names import renames_of
from homespec.diff.pair import BREAKS, Pair, change
from homespec.diff.promise_changes import promise_added, promise_weakened
from homespec.diff.task_changes import TASK_CHANGES
from homespec.diff.tower_changes import TOWER_CHANGES
from homespec.graph.identity import Renames
from homespec.lower import Lowered
from homespec.lower.initial import has_starts
from homespec.source.document import Document


@change("HS659", "init", Breaks.TRAINING)
def init(pair: Pair) -> Iterator[Finding]:
    """MLPs are initialised differently.

    A trained model and its logits stay as they are. A new run starts from other weights, and so do
    the weights that `homespec migrate` starts fresh.
    """
    was, now = pair.old.spec.init, pair.new.spec.init
    if was != now and any(map(has_starts, (pair.old.graph, pair.new.graph))):
        yield pair.finding(
            ("init",), ("init",), f"weights start by `init: {now}`, was `{was}`",
            was=f"was `{was}`", now=f"now `{now}`",
        )  # fmt: skip


@change("HS690", "name", Breaks.COSMETIC)
def name(pair: Pair) -> Iterator[Finding]:
    """The model has another name, and so may its generated file.

    Weights and outputs stay as they are. Files that are named after the model are not renamed.
    """
    was, now = pair.old.spec.name, pair.new.spec.name
    if was != now:
        yield pair.finding(
            ("name",), ("name",), f"the model is now called `{now}`, before `{was}`",
            was=f"was `{was}`", now=f"now `{now}`",
        )  # fmt: skip


@change("HS691", "description", Breaks.COSMETIC)
def description(pair: Pair) -> Iterator[Finding]:
    """The description has changed.

    The description is the first paragraph of the generated file and affects nothing else.
    """
    if pair.old.spec.description != pair.new.spec.description:
        yield pair.finding(
            ("description",), ("description",), "the description differs",
            was="was another", now="differs",
        )  # fmt: skip


@change("HS692", "words", Breaks.COSMETIC)
def words(pair: Pair) -> Iterator[Finding]:
    """The same model, written differently: comments, key order, or spelled-out defaults.

    There is nothing to do. The generated file changes at most in its header and its line numbers.
    """
    old, new = pair.old.document, pair.new.document
    if list(old.texts.values()) != list(new.texts.values()):
        before, after = _first_difference(old, new)
        yield Finding(
            after,
            "the text differs, but the model does not",
            label="differs",
            related=(Label(before, "was"),),
        )


def _first_difference(old: Document, new: Document) -> tuple[Span, Span]:
    """The first lines in which two specs differ; their first lines if a spec has several files."""
    for before, after in zip(old.texts.items(), new.texts.items(), strict=False):
        if before[1] != after[1]:
            lines = zip(before[1].split("\n"), after[1].split("\n"), strict=False)
            same = sum(1 for _ in takewhile(lambda both: both[0] == both[1], lines))
            return _line(*before, same), _line(*after, same)
    return old.span((), key=True), new.span((), key=True)


def _line(file: str, text: str, index: int) -> Span:
    """A line of a text, or its last line if the text is shorter."""
    lines = text.removesuffix("\n").split("\n")
    index = min(index, len(lines) - 1)
    end = len(lines[index].rstrip("\r")) + 1
    return Span(file, Position(index + 1, 1), Position(index + 1, end))


RULES = (
    *FEATURE_CHANGES,
    *LIST_CHANGES,
    *CROSS_CHANGES,
    *TASK_CHANGES,
    *EXPERT_CHANGES,
    *GATE_READING_CHANGES,
    *TOWER_CHANGES,
    init,
    promise_weakened,
    promise_added,
    name,
    description,
)


@dataclass(frozen=True)
class Comparison:
    """A change of a spec. `changes` are sorted by what they break, the most severe first."""

    pair: Pair
    changes: tuple[Diagnostic, ...]

    @cached_property
    def plan(self) -> Plan:
        """The origin of each weight."""
        return plan(self.pair.old.graph, self.pair.new.graph, self.pair.renames)

    @cached_property
    def effects(self) -> Effects:
        """The effect on the values of the model."""
        pair = self.pair
        return Effects(pair.old.graph, pair.new.graph, pair.renames, self.plan)

    @property
    def costs(self) -> tuple[Cost, Cost]:
        """The costs of the models, before and after."""
        return cost_of(self.pair.old.graph), cost_of(self.pair.new.graph)

    @property
    def is_approved(self) -> bool:
        """Whether the major number of the new spec's `version` is greater."""
        old, new = (side.spec.version for side in (self.pair.old, self.pair.new))
        return bool(old and new) and int(new.split(".")[0]) > int(old.split(".")[0])

    def breaks(self) -> set[Breaks]:
        """Everything that the change breaks."""
        return {breaks for change in self.changes for breaks in BREAKS[change.rule.code]}


def compare(old: Lowered, new: Lowered, renames: Renames | None = None) -> Comparison:
    """Compare two sound specs.

    `renames` are taken from `was` in the new spec unless they are given.
    """
    pair = Pair(old, new, renames or renames_of(old.spec, new.spec))
    changes = [diagnostic for find in RULES for diagnostic in find(pair)]
    changes = changes or words(pair)
    order = list(Breaks)
    changes.sort(key=lambda diagnostic: order.index(BREAKS[diagnostic.rule.code][0]))
    return Comparison(pair, tuple(changes))
