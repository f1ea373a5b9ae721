"""Lines of text for the estimands beyond means, quantiles and regressions; see `reading.read_estimand`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from icl.inference.estimands.base import Estimand
from icl.inference.estimands.disparity import Disparity
from icl.inference.estimands.distribution import Distribution
from icl.inference.estimands.effect import Effect
from icl.inference.estimands.instrument import TwoStage
from icl.inference.estimands.survival import Cox, Survival

EFFECTS = ("effect", "ate", "att")
MEASURES = ("cvar", "gini", "top", "below")
TIMES = ("survival", "cox")
KINDS = (*EFFECTS, *MEASURES, *TIMES, "2sls", "disparity")
EXAMPLES = (
    "effect: income ~ trained, randomised=0.5", "att: income ~ trained + age + region, where=trimmed",
    "effect: income ~ trained, by=region", "cvar: 0.9: loss", "gini: income", "top: 0.25: income",
    "below: 12000: income", "survival: 365: days, died", "cox: days, died ~ age + C(sex)",
    "2sls: wage ~ school + age, school=distance", "disparity: equal opportunity: approved by sex, outcome=repaid",
)  # fmt: skip


def read_line(kind: str, rest: str, text: str, one_outcome: Callable[[str], str]) -> Estimand:
    """The estimand of a line `kind: rest`; `one_outcome` settles between what the line and --outcome name.

    Raises:
        ValueError: for a line that does not say all that the kind needs.
    """
    if kind in EFFECTS:
        return _effect(kind, rest, text, one_outcome)
    if kind == "gini":
        return Distribution(one_outcome(rest), "gini")
    if kind in MEASURES:
        number, column = _number(kind, rest, text)
        if kind == "top":
            return Distribution(one_outcome(column), "share", (1 - number, 1.0))
        return Distribution(one_outcome(column), kind, number)
    if kind == "2sls":
        formula, pairs = _options(rest)
        left, right = _sides(kind, formula, text)
        if not pairs:
            raise ValueError(f"estimand {text!r} names no instrument; add for instance ', school=distance'.")
        instruments = {name: [z.strip() for z in value.split("+")] for name, value in pairs.items()}
        return TwoStage(f"{one_outcome(left)} ~ {right}", instruments)
    if kind == "disparity":
        return _disparity(rest, text)
    if kind == "survival":
        number, columns = _number(kind, rest, text)
        time, event = _pair(columns, text)
        return Survival(time, event, number)
    left, right = _sides(kind, rest, text)
    time, event = _pair(left, text)
    return Cox(time, event, right)


def _effect(kind: str, rest: str, text: str, one_outcome: Callable[[str], str]) -> Effect:
    """`outcome ~ treatment + covariates, option=value, ...`; without covariates, all other columns."""
    formula, said = _options(rest)
    left, right = _sides(kind, formula, text)
    treatment, *covariates = (name.strip() for name in right.split("+"))
    options: dict[str, Any] = dict(said)
    unknown = sorted(set(options) - {"randomised", "where", "by", "treated"})
    if unknown:
        raise ValueError(
            f"estimand {text!r} has the options {unknown}; known are randomised=0.5, where=trimmed, where=overlap, "
            "by=COLUMN and treated=VALUE."
        )
    by = options.pop("by", None)
    if by and kind == "att":
        raise ValueError(f"estimand {text!r} asks for the treated and for groups; use 'effect: ..., by={by}'.")
    with contextlib.suppress(KeyError, ValueError):
        options["randomised"] = float(options["randomised"])
    what = f"cate by {by}" if by else "att" if kind == "att" else "ate"
    return Effect(one_outcome(left), treatment, covariates or None, what, **options)


def _disparity(rest: str, text: str) -> Disparity:
    """`metric: decision by group, outcome=column, versus=group`."""
    metric, _, rest = (part.strip() for part in rest.partition(":"))
    columns, options = _options(rest)
    decision, _, by = (part.strip() for part in columns.partition(" by "))
    if not by or set(options) - {"outcome", "versus"}:
        raise ValueError(f"estimand {text!r} cannot be read; write for instance {EXAMPLES[-1]!r}.")
    return Disparity(decision, by, metric, options.get("outcome"), options.get("versus"))


def _options(rest: str) -> tuple[str, dict[str, str]]:
    """The formula, and what follows it as `, name=value`."""
    formula, *options = (part.strip() for part in rest.split(","))
    pairs = (option.partition("=") for option in options)
    return formula, {name.strip(): value.strip() for name, _, value in pairs}


def _sides(kind: str, formula: str, text: str) -> tuple[str, str]:
    left, tilde, right = (part.strip() for part in formula.partition("~"))
    if not tilde or not right:
        example = next(e for e in EXAMPLES if e.startswith("effect" if kind in EFFECTS else kind))
        raise ValueError(f"estimand {text!r} has no right side; write for instance {example!r}.")
    return left, right


def _number(kind: str, rest: str, text: str) -> tuple[float, str]:
    number, _, column = (part.strip() for part in rest.partition(":"))
    try:
        return float(number), column
    except ValueError:
        example = next(e for e in EXAMPLES if e.startswith(kind))
        raise ValueError(f"estimand {text!r} has no number; write for instance {example!r}.") from None


def _pair(columns: str, text: str) -> tuple[str, str]:
    names = [name.strip() for name in columns.split(",")]
    if len(names) != 2 or not all(names):
        raise ValueError(f"estimand {text!r} must name two columns, of times and of events: 'days, died'.")
    return names[0], names[1]
