"""Estimands from lines of text, as the command line and `infer` take them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from icl.inference.estimands import lines
from icl.inference.estimands.base import Estimand
from icl.inference.estimands.composition import Shares
from icl.inference.estimands.glm import Logistic, Multinomial, Poisson
from icl.inference.estimands.linear import OLS, Mean
from icl.inference.estimands.linked import Cloglog, Gamma, NegativeBinomial, Probit
from icl.inference.estimands.quantile import Quantile
from icl.inference.frames import as_frame

if TYPE_CHECKING:
    import pandas as pd

REGRESSIONS: dict[str, Any] = {
    "ols": OLS, "poisson": Poisson, "multinomial": Multinomial, "gamma": Gamma, "negative-binomial": NegativeBinomial,
    "logistic": Logistic, "probit": Probit, "cloglog": Cloglog, "firth logistic": Logistic, "firth poisson": Poisson,
}  # fmt: skip
KINDS = ("mean", "share", "shares", "median", "quantile", *REGRESSIONS, *lines.KINDS)
EXAMPLES = (
    "mean: income", "mean: income by region", "share: answer = yes", "shares: party", "median: income",
    "quantile: 0.9: income", "ols: income ~ age + C(sex)", "logistic: owns_home ~ age", "poisson: visits ~ age",
    "multinomial: party ~ age", "firth logistic: relapsed ~ age", *lines.EXAMPLES,
)  # fmt: skip

# What others call a kind.
_ELSEWHERE = {
    "logit": "logistic", "lm": "ols", "linear": "ols", "wls": "ols", "average": "mean", "avg": "mean", "prop": "share",
    "proportion": "share", "percentile": "quantile", "iv": "2sls", "nb": "negative-binomial", "coxph": "cox",
}  # fmt: skip


def read_estimand(
    text: str, outcome: str | None = None, event: str | None = None, table: pd.DataFrame | dict | None = None
) -> Estimand:
    """What to estimate, from a line such as `ols: income ~ age + C(sex)` or `quantile: 0.9: income`.

    Args:
        text: kind, then what it needs; see EXAMPLES. Outcome and left side of a formula may be left to `outcome`.
        outcome: column of the outcome.
        event: value of the outcome that is counted, for shares and logistic regression.
        table: used to turn `event` into the type of its column.
    Raises:
        ValueError: for a line that names no known kind, no outcome, or not all that the kind needs.
    """
    kind, _, rest = (part.strip() for part in text.partition(":"))
    kind = kind.lower()
    if kind not in KINDS:
        hint = _meant(kind, text)
        raise ValueError(f"estimand {text!r} starts with {kind!r}{hint} Known are {', '.join(KINDS)}. {_examples()}")
    counts = kind in ("mean", "share") or issubclass(REGRESSIONS.get(kind, object), Logistic)
    if event is not None and not counts:
        raise ValueError(
            f"event {event!r} says which value of an outcome counts as 1, and {kind!r} asks for no such outcome: it is "
            "for 'mean', 'share' and regressions of two classes. Leave it out, or make a column of 0 and 1 first."
        )
    if kind in lines.KINDS:
        return lines.read_line(kind, rest, text, lambda found: _one_outcome(found, outcome, text))
    if kind in REGRESSIONS:
        left, tilde, right = (part.strip() for part in rest.partition("~"))
        if not tilde:
            left, right = "", rest
        left = _one_outcome(left, outcome, text)
        if not right:
            raise ValueError(
                f"estimand {text!r} has no covariates; write for instance '{kind}: {left} ~ age + C(sex)'."
            )
        formula = f"{left} ~ {right}"
        method: dict[str, Any] = {"method": "firth"} if kind.startswith("firth ") else {}
        if issubclass(REGRESSIONS[kind], Logistic):
            event = None if event is None else _typed(event, left, table)
            return REGRESSIONS[kind](formula, event=event, **method)
        return REGRESSIONS[kind](formula, **method)
    if kind == "quantile":
        number, _, rest = (part.strip() for part in rest.partition(":"))
        try:
            q = float(number)
        except ValueError:
            raise ValueError(
                f"estimand {text!r} has no fraction; write for instance 'quantile: 0.9: income'."
            ) from None
        return Quantile(_one_outcome(rest, outcome, text), q)
    if kind == "shares":
        return Shares(_one_outcome(rest, outcome, text))
    if kind == "median":
        return Quantile(_one_outcome(rest, outcome, text), 0.5)
    column, splits, by = (part.strip() for part in f"{rest} ".partition(" by "))
    if splits and not by:
        raise ValueError(f"estimand {text!r} names no column after 'by'; write for instance 'mean: income by region'.")
    column, equals, value = (part.strip() for part in column.partition("="))
    event = value if equals else event
    column = _one_outcome(column, outcome, text)
    if kind == "share" and event is None:
        raise ValueError(
            f"estimand {text!r} does not say which value to count; write 'share: {column} = yes', or "
            f"'shares: {column}' for all of them."
        )
    return Mean(column, None if event is None else _typed(event, column, table), by or None)


def _one_outcome(found: str, outcome: str | None, text: str) -> str:
    if found and outcome and found != outcome:
        raise ValueError(f"estimand {text!r} is about {found!r}, but --outcome is {outcome!r}; leave one of them out.")
    if not found and not outcome:
        raise ValueError(
            f"estimand {text!r} names no outcome; add it there (on the command line also with --outcome). {_examples()}"
        )
    return found or str(outcome)


def _typed(event: str, column: str, table: pd.DataFrame | dict | None) -> Any:
    """The value of `column` that `event` spells: 1 for "1" where the column holds numbers."""
    if table is None:
        return event
    frame = as_frame(table, "table")
    if column not in frame:
        return event
    for value in frame[column].dropna().unique().tolist():
        if str(value) == event or (isinstance(value, float) and value.is_integer() and str(int(value)) == event):
            return value
    return event


def _examples() -> str:
    return "Examples: " + "; ".join(repr(e) for e in EXAMPLES) + "."


def _meant(kind: str, text: str) -> str:
    """A question, where a line that names no known kind comes near one."""
    if "~" in kind:
        return f"; a formula needs the kind of regression before it, such as 'ols: {text}' or 'logistic: {text}'."
    if kind in ("difference", "differences", "contrast", "compare"):
        return (
            "; of two means: 'mean: income by region', whose result has .differences(), or 'ols: income ~ C(region)'."
        )
    near = [_ELSEWHERE[kind]] if kind in _ELSEWHERE else difflib.get_close_matches(kind, KINDS, 1)
    return f"; did you mean '{near[0]}: {text.partition(':')[2].strip()}'?" if near and ":" in text else "."
