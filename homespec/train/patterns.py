"""Training: patterns of logical names, and the numbers that flags assign to matching weights.

All flags that name weights use the same patterns: `*` is any text, including dots, `?` is one
character, and `[ab]` is one of these. If several rules of a flag match a name, the last one counts.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from homespec.diagnostics.suggest import closest, listing
from homespec.train import RunError

TIMES = "x"
"""A suffix of a number that multiplies the usual rate."""
MOST = 1000.0
"""Maximum rate and factor of a penalty, as for `--lr` and `--weight-decay`."""


@dataclass(frozen=True)
class Rule:
    """A rule `PATTERN=NUMBER` or, for a learning rate, also `PATTERN=NUMBERx`."""

    pattern: str
    number: float
    relative: bool = False
    """Whether the number multiplies the rate that would apply without the rule."""


Parse = Callable[[str], Rule]


def rate_rule(text: str) -> Rule:
    """A rule of `--lr-of`: an absolute rate, or with an `x` a multiple. Raises ValueError."""
    return _rule(text, "a rate such as 1e-4, a part such as 0.1x, or 0", times=True)


def penalty_rule(text: str) -> Rule:
    """A rule of `--l1` or `--l2`. Raises ValueError."""
    return _rule(text, "a factor such as 1e-5", times=False)


def _rule(text: str, wanted: str, times: bool) -> Rule:
    pattern, equals, number = text.rpartition("=")
    if not (pattern and equals):
        raise ValueError(f"{text!r} is not PATTERN=NUMBER, such as 'towers.*=1e-4'")
    relative = times and number.endswith(TIMES)
    try:
        value = float(number.removesuffix(TIMES) if relative else number)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST:
        raise ValueError(f"{number!r} in {text!r} is not {wanted}, from 0 to {MOST:g}")
    return Rule(pattern, value, relative)


def assigned(flag: str, rules: Iterable[Rule], names: Sequence[str]) -> dict[str, Rule]:
    """The last rule that matches each name; other names are left out.

    Raises RunError for a rule that matches no name, or only names that later rules also match.
    """
    rules, found = list(rules), dict[str, Rule]()
    for rule in rules:
        for name in matching(flag, [rule.pattern], names):
            found[name] = rule
    used = {id(rule) for rule in found.values()}
    for rule in rules:
        if id(rule) not in used:
            raise RunError(
                f"{flag} '{rule.pattern}=…' has no effect: rules after it match all of its weights,"
                " and the last one counts. Remove it, or give it after them"
            )
    return found


def matching(flag: str, patterns: Sequence[str], names: Sequence[str]) -> frozenset[str]:
    """The names that a pattern matches. Raises RunError for a pattern that matches none."""
    found: set[str] = set()
    for pattern in patterns:
        matched = fnmatch.filter(names, pattern)
        if not matched:
            raise RunError(f"{flag} {pattern} matches no weight: {_advice(pattern, names)}")
        found.update(matched)
    return frozenset(found)


def _advice(pattern: str, names: Sequence[str]) -> str:
    """Names close to a pattern: similar names, else those that share its first parts."""
    parts = pattern.split(".")
    known = next(n for n in range(len(parts) - 1, -1, -1) if _begin_with(parts[:n], names))
    there = list(dict.fromkeys(n.split(".")[known] for n in _begin_with(parts[:known], names)))
    if near := closest(parts[known], there):
        return f"did you mean {'.'.join([*parts[:known], near, *parts[known + 1 :]])}?"
    return (
        f"after {'.'.join(parts[:known])}. comes {listing(there)}"
        if known
        else (f"names begin with {listing(there)}")
    )


def _begin_with(parts: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names that continue after these parts, which may be patterns."""
    return fnmatch.filter(names, ".".join([*parts, "*"]))


def counted(names: Iterable[str], sizes: Mapping[str, int]) -> str:
    """The number of weights and of their elements, for a message."""
    own = [sizes[name] for name in names]
    return f"{len(own)} weight{'s' * (len(own) != 1)}, {sum(own):,} numbers"
