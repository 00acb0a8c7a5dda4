"""Variants: what else a spec can be compiled to, besides the model to train.

A variant is written as flags of `homespec compile`. The head of a generated file records them, so
that the file can be written again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast, get_args

Mode = Literal["training", "inference"]
Target = Literal["portable", "cuda"]


class UnknownNameError(ValueError):
    """Raised for an unknown task, pass, mode or target; the message names those that exist."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the files to which a spec compiles. Empty `tasks` means all of them."""

    optimize: bool = True
    mode: Mode = "training"
    tasks: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    target: Target = "portable"

    @property
    def inference(self) -> bool:
        """Whether everything that only training needs is dropped."""
        return self.mode == "inference"

    @property
    def serving(self) -> bool:
        """Whether it loads weights of the whole model, although it may need only some of them."""
        return self.inference or bool(self.tasks)

    @property
    def suffix(self) -> str:
        """The end of its file's name, so that variants can be in the same folder."""
        kind = ("_inference" if self.inference else "") + ("_pruned" if self.tasks else "")
        form = "" if self.optimize else "_plain"
        return kind + ("_cuda" if self.target == "cuda" else form)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of `homespec compile` that request it."""
        flags = [] if self.optimize else ["--no-optimize"]
        flags += [f"--mode {self.mode}"] if self.inference else []
        flags += [f"--tasks {','.join(self.tasks)}"] if self.tasks else []
        flags += [f"--target {self.target}"] if self.target != "portable" else []
        return (*flags, *(f"--skip-pass {name}" for name in self.skip))

    def asking(self, known: Iterable[str]) -> Variant:
        """This variant with its tasks in the order of the spec. Raises UnknownNameError."""
        tasks = list(known)
        for name in self.tasks:
            _known("task", name, tasks)
        return dataclasses.replace(self, tasks=tuple(t for t in tasks if t in self.tasks))


DEFAULT = Variant()
"""The model to train, optimised."""

SUFFIXES = tuple(
    mode + part + form
    for mode in ("", "_inference")
    for part in ("", "_pruned")
    for form in ("", "_plain", "_cuda")
)[1:]
"""The suffixes of files besides a spec's main one."""


def variant(
    *,
    optimize: bool = True,
    mode: str = "training",
    tasks: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    target: str = "portable",
) -> Variant:
    """A variant; `tasks` may be names or one text with commas. Raises ValueError."""
    asked = split_names([tasks] if isinstance(tasks, str) else tasks or ())
    if tasks is not None and not asked:
        raise ValueError("no task is given")
    _known("mode", mode, get_args(Mode))
    _known("target", target, get_args(Target))
    if target == "cuda" and not optimize:
        raise ValueError("the unoptimised twin has no kernels, so it is only portable")
    skipped = tuple(dict.fromkeys([skip] if isinstance(skip, str) else skip))
    return Variant(optimize, cast("Mode", mode), asked, skipped, cast("Target", target))


def split_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Names in one or several texts, separated by commas, without duplicates."""
    names = (name.strip() for text in texts for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def recorded(flags: str) -> Variant:
    """The variant that the head of a generated file records."""
    words = iter(flags.split())
    given: dict[str, list[str]] = {}
    for word in words:
        given.setdefault(word, []).append("" if word == "--no-optimize" else next(words, ""))
    return variant(
        optimize="--no-optimize" not in given,
        mode=given.get("--mode", ["training"])[-1],
        tasks=given.get("--tasks"),
        skip=given.get("--skip-pass", ()),
        target=given.get("--target", ["portable"])[-1],
    )


def _known(what: str, name: str, names: Iterable[str]) -> None:
    """Raise UnknownNameError for a name that is not one of `names`."""
    known = list(names)
    if name in known:
        return
    from homespec.diagnostics.suggest import closest, listing

    guess = closest(name, known)
    hint = f" Did you mean `{guess}`?" if guess else ""
    plural = {"pass": "passes"}.get(what, f"{what}s")
    there = f"The {plural} are {listing(known, 100)}" if known else f"There are no {plural} here"
    raise UnknownNameError(f"there is no {what} `{name}`.{hint} {there}")


def check_pass(name: str, passes: Iterable[str]) -> None:
    """Raise UnknownNameError for a pass that does not run for this variant."""
    _known("pass", name, passes)
