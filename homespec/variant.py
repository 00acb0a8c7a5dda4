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
    """Raised for an unknown task, feature, pass, mode or target; the message names those that
    exist.
    """


class NoCandidateError(UnknownNameError):
    """Raised if all features of a spec are the user's."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the files to which a spec compiles. Empty `tasks` means all of them."""

    optimize: bool = True
    mode: Mode = "training"
    tasks: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    target: Target = "portable"
    user_features: tuple[str, ...] = ()
    """The features that a request has once for all its rows, the candidates."""

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
        kind += "_user" if self.user_features else ""
        form = "" if self.optimize else "_plain"
        return kind + ("_cuda" if self.target == "cuda" else form)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of `homespec compile` that request it."""
        flags = [] if self.optimize else ["--no-optimize"]
        flags += [f"--mode {self.mode}"] if self.inference else []
        flags += [f"--tasks {','.join(self.tasks)}"] if self.tasks else []
        if self.user_features:
            flags.append(f"--user-features {','.join(self.user_features)}")
        flags += [f"--target {self.target}"] if self.target != "portable" else []
        return (*flags, *(f"--skip-pass {name}" for name in self.skip))

    def asking(self, known: Iterable[str], features: Iterable[str] = ()) -> Variant:
        """This variant with its tasks and features in the order of the spec, which `known` and
        `features` are. Raises UnknownNameError.
        """
        tasks, all_features = list(known), list(features)
        for name in self.tasks:
            _known("task", name, tasks)
        for name in self.user_features:
            _known_feature(name, all_features)
        user = tuple(name for name in all_features if name in self.user_features)
        if user and len(user) == len(all_features):
            raise NoCandidateError(
                "all features are the user's, so that all candidates would have one score. Leave "
                "out of --user-features what differs between the candidates of a request"
            )
        own = tuple(t for t in tasks if t in self.tasks)
        return dataclasses.replace(self, tasks=own, user_features=user)


DEFAULT = Variant()
"""The model to train, optimised."""

SUFFIXES = tuple(
    mode + part + form
    for mode in ("", "_inference")
    for part in ("", "_pruned", *(["_user", "_pruned_user"] if mode else []))
    for form in ("", "_plain", "_cuda")
    if not (part.endswith("_user") and form == "_plain")
)[1:]
"""The suffixes of files besides a spec's main one."""


def variant(
    *,
    optimize: bool = True,
    mode: str = "training",
    tasks: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    target: str = "portable",
    user_features: Iterable[str] | None = None,
) -> Variant:
    """A variant; `tasks` and `user_features` may be names or one text with commas.

    Raises ValueError.
    """
    asked = _names("task", tasks)
    user = _names("user feature", user_features)
    _known("mode", mode, get_args(Mode))
    _known("target", target, get_args(Target))
    if target == "cuda" and not optimize:
        raise ValueError("the unoptimised twin has no kernels, so it is only portable")
    if user and mode != "inference":
        raise ValueError(
            "--user-features needs --mode inference: rows of a training batch are not "
            "those of one user"
        )
    if user and not optimize:
        raise ValueError(
            "the unoptimised twin computes each row by itself, so it has no --user-features"
        )
    skipped = tuple(dict.fromkeys([skip] if isinstance(skip, str) else skip))
    return Variant(optimize, cast("Mode", mode), asked, skipped, cast("Target", target), user)


def _names(what: str, given: Iterable[str] | None) -> tuple[str, ...]:
    """The names that are given, none for None. Raises ValueError if none is given."""
    names = split_names([given] if isinstance(given, str) else given or ())
    if given is not None and not names:
        raise ValueError(f"no {what} is given")
    return names


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
        user_features=given.get("--user-features"),
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


def _known_feature(name: str, features: list[str]) -> None:
    """Raise UnknownNameError for what is not a feature as a whole."""
    whole, dot, _ = name.partition(".")
    if dot and whole in features:
        raise UnknownNameError(
            f"`{name}` is a tensor of `{whole}`. Give `{whole}`, all of whose tensors are then the "
            "user's"
        )
    _known("feature", name, features)


def check_pass(name: str, passes: Iterable[str]) -> None:
    """Raise UnknownNameError for a pass that does not run for this variant."""
    _known("pass", name, passes)
