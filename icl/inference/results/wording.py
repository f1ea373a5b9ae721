"""How a result looks: plain text for a terminal, a forest plot for a paper."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.pages.table import align

if TYPE_CHECKING:
    from icl.inference.results.result import InferenceResult

WIDTH = 100
INTERVAL_WORDS = {
    "exact": "exact for a share (Clopper-Pearson at the effective size), because events are few",
    "score": "score interval of a share (Wilson at the effective size), because events are few",
}
STD_ERROR_WORDS = {
    "residual": "equal variances, with the uncertainty of the weight",
    "model": "model-based (equal variances, weight taken as known)",
}


def summary_text(result: InferenceResult, level: float) -> str:
    """The text behind `InferenceResult.summary`."""
    lines = [f"{name:<12}{text}" for name, text in head(result)]
    lines += ["", *align(coefficient_cells(result, level)), ""]
    lines += _paragraph(assumption(result))
    if result.diagnostics:
        lines += ["", "To know before using these numbers:"]
        for item in result.diagnostics:
            lines += _paragraph(item.message, bullet=f"  - [{item.code}] ")
    return "\n".join(lines)


def head(result: InferenceResult) -> list[tuple[str, str]]:
    """What was estimated and how, as pairs of a name and a text; the estimand first."""
    problem = result._problem
    most = result.df if result._answer.df_terms is None else float(result._answer.df_terms.max())
    spread = f"{result.df:g}" if most - result.df < 0.05 else f"{result.df:.3g} to {most:.3g}"
    df = f"t with {spread} degrees of freedom" if np.isfinite(result.df) else "normal"
    kind = (
        f"as {problem.compat}"
        if problem.compat
        else STD_ERROR_WORDS.get(problem.std_error_kind, problem.std_error_kind)
    )
    if problem.sampling.clusters_labeled is not None:
        kind += f" by cluster ({problem.n_labeled_units} with labels)"
    lines = [
        ("estimand", str(result.estimand)),
        ("rows", f"{result.n_labeled:,} labeled, {result.n_unlabeled:,} unlabeled"),
        ("predictions", result.predictions),
        ("method", _method_words(result)),
        ("std. error", f"{kind}; reference {df}"),
    ]
    _, interval = result._share(result._answer, "auto")
    if interval != "t":
        lines.append(("interval", INTERVAL_WORDS[interval]))
    return lines


def coefficient_cells(result: InferenceResult, level: float) -> dict[str, list[str]]:
    """The table of estimates, column by column, as text."""
    frame, percent = result.to_frame(level), f"{100 * level:g}%"
    scale = frame["std.error"]
    return {
        "term": list(frame["term"]),
        "estimate": _decimals(frame["estimate"], scale),
        "std.error": _decimals(scale, scale),
        f"{percent} low": _decimals(frame["conf.low"], scale),
        f"{percent} high": _decimals(frame["conf.high"], scale),
        "p": [_p_words(p) for p in frame["p.value"]],
        "n effective": [f"{n:,.0f}" for n in result.n_effective],
    }


def comparison_cells(result: InferenceResult, level: float) -> dict[str, list[str]]:
    """The table of all methods, column by column, as text; the imputed answer says that it is invalid."""
    frame, percent = result.compare(level).reset_index(), f"{100 * level:g}%"
    order = {term: i for i, term in enumerate(result.estimate.index)}
    frame = frame.sort_values("term", key=lambda terms: terms.map(order), kind="stable")
    # One scale for each term: rows under one another are to be compared.
    scale = frame.groupby("term")["std_error"].transform("min")
    is_known = frame["estimate"].notna()
    cells = {
        "term": list(frame["term"]),
        "method": [f"{m} (INVALID)" if m == "imputed" else m for m in frame["method"]],
        "estimate": _decimals(frame["estimate"], scale),
        f"{percent} low": _decimals(frame["lower"], scale),
        f"{percent} high": _decimals(frame["upper"], scale),
        "weight": [f"{w:.3f}" if np.isfinite(w) else "" for w in frame["weight"]],
        "n effective": [f"{n:,.0f}" if np.isfinite(n) else "" for n in frame["n_effective"]],
    }
    blank = ("estimate", f"{percent} low", f"{percent} high")
    for name in blank:
        cells[name] = [c if known else "-" for c, known in zip(cells[name], is_known, strict=True)]
    return cells


def _method_words(result: InferenceResult) -> str:
    if result.method == "classical":
        why = " (no predictions were used)" if not result._problem.has_predictions else " (weight 0)"
        return "classical: labeled rows only" + why
    how = "tuned" if result._answer.tuned else "fixed"
    weight = np.atleast_1d(result.weight)
    words = f"{weight[0]:.3f}" if len(weight) == 1 else f"{weight.min():.3f} to {weight.max():.3f}"
    return f"{result.method}, weight {words} ({how})"


def assumption(result: InferenceResult) -> str:
    """What must be true for the interval to be valid."""
    if not result._problem.has_predictions:
        if not result.n_unlabeled:
            return "Assumes that the labeled rows are a random sample of the population."
        return f"Assumes {result.design.assumption}."
    return (
        f"Assumes {result.design.assumption}; and that no labeled row was predicted by a model that saw its label. "
        "The predictions may be wrong in any way. "
        "n effective: labeled rows that would give the same precision without predictions."
    )


def _paragraph(text: str, bullet: str = "") -> list[str]:
    return textwrap.wrap(bullet + text, WIDTH, subsequent_indent=" " * min(len(bullet), 4))


def _decimals(values: Any, scales: Any) -> list[str]:
    """Each number with three significant digits of its own standard error."""
    return [
        f"{v:,.{int(np.clip(2 - np.floor(np.log10(s)), 0, 12))}f}" if s > 0 and np.isfinite(v) else f"{v:g}"
        for v, s in zip(values, scales, strict=True)
    ]


def _p_words(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"
