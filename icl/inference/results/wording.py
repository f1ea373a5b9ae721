"""What is said of a result: facts, tables, the assumption, findings. How it looks is the business of icl.pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.pages.table import Row, Table

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.checks import Diagnostic
    from icl.inference.inputs.design import Design

INTERVAL_WORDS = {
    "exact": "exact for a share (Clopper-Pearson at the effective size), because hardly any are on the rarer side",
    "score": "score interval of a share (Wilson at the effective size), because fewer than 30 are on the rarer side",
}
STD_ERROR_WORDS = {
    "residual": "equal variances, with the weight's uncertainty",
    "jackknife": "leaving out one row at a time",
    "delta": "delta method, the confusion matrix estimated too",
    "model": "model-based (equal variances, weight taken as known)",
}
TO_KNOW = "To know before using these numbers"


class Reported(ABC):
    """What a report reads of a result."""

    estimand: Any
    estimate: pd.Series
    method: str
    weight: float | np.ndarray
    df: float
    level: float
    n_labeled: int
    n_unlabeled: int
    predictions: str
    diagnostics: list[Diagnostic]
    design: Design

    @property
    @abstractmethod
    def n_effective(self) -> pd.Series: ...

    @property
    @abstractmethod
    def df_terms(self) -> pd.Series: ...

    @property
    @abstractmethod
    def has_predictions(self) -> bool: ...

    @property
    @abstractmethod
    def is_tuned(self) -> bool: ...

    @property
    @abstractmethod
    def interval_kind(self) -> str: ...

    @property
    @abstractmethod
    def std_error_kind(self) -> str: ...

    @property
    @abstractmethod
    def n_clusters(self) -> int | None: ...

    @property
    def more_facts(self) -> list[tuple[str, str]]:
        """Facts beside those that every result has."""
        return []

    @property
    def assumes_also(self) -> str:
        """What must be true beside what design and estimand say, as a clause that begins with "that"."""
        return ""

    @property
    def assumes_of_rows(self) -> str:
        """What must be true of the rows, where it is not what the design says, as such a clause."""
        return ""

    @property
    def rows_in_words(self) -> str:
        return f"{self.n_labeled:,} labeled, {self.n_unlabeled:,} unlabeled"

    @abstractmethod
    def compare(self, level: float | None = None) -> pd.DataFrame: ...

    @abstractmethod
    def to_frame(self, level: float | None = None, null: float = 0.0) -> pd.DataFrame: ...


def facts(result: Reported) -> list[tuple[str, str]]:
    """What was estimated and how, as pairs of a name and a text; the estimand first."""
    least, most = result.df, float(result.df_terms.max())
    alone = f"{least:g}" if least % 1 == 0 or np.isinf(least) else f"{least:.1f}"
    spread = alone if most - least < 0.05 or np.isinf(least) else f"{least:.3g} to {most:.3g}"
    reference = f"t with {spread} degrees of freedom" if np.isfinite(least) else "normal"
    kind = STD_ERROR_WORDS.get(result.std_error_kind, result.std_error_kind)
    if result.n_clusters is not None:
        kind += f" by cluster ({result.n_clusters} with labels)"
    pairs = [
        ("estimand", str(result.estimand)),
        *([("scale", result.estimand.scale)] if result.estimand.scale else []),
        ("rows", result.rows_in_words),
        *([("design", result.design.described)] if result.design.described else []),
        ("predictions", result.predictions),
        ("method", _method_words(result)),
        ("std. error", f"{kind}; reference {reference}"),
    ]
    if result.interval_kind != "t":
        pairs.append(("interval", INTERVAL_WORDS[result.interval_kind]))
    return [*pairs, *result.more_facts]


def warnings(result: Reported) -> list[Diagnostic]:
    """Findings that make the numbers doubtful: they are said before the numbers."""
    return [finding for finding in result.diagnostics if finding.severity == "warning"]


def notes(result: Reported) -> list[Diagnostic]:
    """All other findings."""
    return [finding for finding in result.diagnostics if finding.severity != "warning"]


def assumption(result: Reported) -> str:
    """What must be true for the interval to be valid."""
    extra = "".join(f"; {clause}" for clause in (result.estimand.assumes, result.assumes_also) if clause)
    if result.assumes_of_rows:
        return f"Assumes {result.assumes_of_rows}{extra}."
    rows = result.design.assumption if result.n_unlabeled else result.design.assumption_of_all
    if not result.has_predictions:
        return f"Assumes {rows}{extra}."
    groups = " in all groups together" if getattr(result.estimand, "by", None) is not None else ""
    free = "" if "predictions" in extra else "The predictions may be wrong in any way. "
    return (
        f"Assumes {rows}{extra}; and that no labeled row was predicted by a model that saw its label. {free}"
        f"n effective: labeled rows{groups} that would give the same precision without predictions."
    )


def coefficient_table(result: Reported, level: float, title: str = "") -> Table:
    """The estimates, each with the digits that its standard error allows."""
    frame = result.to_frame(level)
    scale = frame["std.error"]
    columns = {
        "term": frame["term"],
        "estimate": _decimals(frame["estimate"], scale),
        "std.error": _decimals(scale, scale),
        f"{100 * level:g}% low": _decimals(frame["conf.low"], scale),
        f"{100 * level:g}% high": _decimals(frame["conf.high"], scale),
        "p": [p_words(p) for p in frame["p.value"]],
        "n effective": [f"{n:,.0f}" for n in result.n_effective],
    }
    if "fraction.missing" in frame:
        columns["missing"] = [f"{share:.0%}" for share in frame["fraction.missing"]]
    rows = [Row([str(cell) for cell in cells]) for cells in zip(*columns.values(), strict=True)]
    return Table(title, list(columns), rows)


def comparison_table(frame: pd.DataFrame, level: float, chosen: str, title: str = "") -> Table:
    """All methods, term by term, of `InferenceResult.compare`; the imputed answer says that it is invalid."""
    frame = frame.reset_index()
    order = {term: i for i, term in enumerate(frame["term"].unique())}
    frame = frame.sort_values("term", key=lambda terms: terms.map(order), kind="stable")
    # One scale for each term: rows under one another are to be compared.
    scale = frame.groupby("term")["std_error"].transform("min")
    is_known = frame["estimate"].notna()
    numbers = [
        [cell if known else "-" for cell, known in zip(_decimals(frame[name], scale), is_known, strict=True)]
        for name in ("estimate", "lower", "upper")
    ]
    weights = [f"{w:.3f}" if np.isfinite(w) else "" for w in frame["weight"]]
    worth = [f"{n:,.0f}" if np.isfinite(n) else "" for n in frame["n_effective"]]
    rows = [
        Row([str(term), f"{method} (INVALID)", *cells], "invalid")
        if "INVALID" in said
        else Row([str(term), method, *cells], "chosen" if method == chosen else "")
        for term, method, said, *cells in zip(
            frame["term"], frame["method"], frame["note"], *numbers, weights, worth, strict=True
        )
    ]
    percent = f"{100 * level:g}%"
    columns = ["term", "method", "estimate", f"{percent} low", f"{percent} high", "weight", "n effective"]
    return Table(title, columns, rows, n_labels=2, n_groups=1)


def p_words(p: float) -> str:
    """A p-value as it is printed."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _method_words(result: Reported) -> str:
    if result.method == "classical":
        if result.estimand.solver == "profile":
            return "penalised likelihood (Firth), profile intervals: labeled rows only"
        why = " (no predictions were used)" if not result.has_predictions else " (weight 0)"
        return "classical: labeled rows only" + why
    how = "tuned" if result.is_tuned else "fixed"
    weight = np.atleast_1d(result.weight)
    if np.isnan(weight).any():  # no one number says how much predictions count
        return str(result.method)
    words = f"{weight[0]:.3f}" if len(weight) == 1 else f"{weight.min():.3f} to {weight.max():.3f}"
    return f"{result.method}, weight {words} ({how})"


def _decimals(values: Iterable[float], scales: Iterable[float]) -> list[str]:
    """Each number with three significant digits of its own standard error."""
    return [
        f"{v:,.{int(np.clip(2 - np.floor(np.log10(s)), 0, 12))}f}" if s > 0 and np.isfinite(v) else f"{v:g}"
        for v, s in zip(values, scales, strict=True)
    ]
