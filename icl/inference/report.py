"""How a result looks: plain text for a terminal, a forest plot for a paper."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.result import InferenceResult

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
    lines += ["", *_align(coefficient_cells(result, level)), ""]
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
    kind = f"as {problem.compat}" if problem.compat else STD_ERROR_WORDS.get(problem._kind, problem._kind)
    if problem.clusters_labeled is not None:
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


def _align(columns: dict[str, list[str]]) -> list[str]:
    widths = {name: max(len(name), *map(len, cells)) for name, cells in columns.items()}
    first = next(iter(columns))

    def line(cells: Sequence[str]) -> str:
        parts = [
            f"{c:<{widths[k]}}" if k == first else f"{c:>{widths[k]}}" for k, c in zip(columns, cells, strict=True)
        ]
        return "  ".join(parts).rstrip()

    header = line(list(columns))
    return [header, "-" * len(header), *(line(row) for row in zip(*columns.values(), strict=True))]


STYLES = {
    "classical": ("0.45", "o"),
    "imputed": ("tab:red", "X"),
    "ppi": ("tab:cyan", "s"),
    "ppi++": ("tab:purple", "D"),
    "synsurr": ("tab:blue", "o"),
}


def forest_plot(
    result: InferenceResult, ax: Any = None, terms: Sequence[str] | None = None, level: float = 0.95, truth: Any = None
) -> Any:
    """Estimates and intervals of every method, grouped by term; the imputed answer is dashed and marked invalid.

    Args:
        ax: axes to draw on, which all terms share; default: a new figure, with a panel and a scale for each term.
        terms: which parameters; default: all, less the intercept where there are others.
        truth: known values, a number or a mapping from term to number, drawn as black lines.
    Returns:
        The axes; an array of them, one for each term, if several terms went to a new figure.
    """
    known = list(result.estimate.index)
    terms = [t for t in known if t != "Intercept" or len(known) == 1] if terms is None else list(terms)
    unknown = [t for t in terms if t not in known]
    if unknown or not terms:
        raise ValueError(f"terms= got {unknown or 'no term'}; the terms are {known}.")
    table = result.compare(level)
    if ax is not None:
        return _draw_terms(result, ax, table, terms, level, truth)
    import matplotlib.pyplot as plt

    n_methods = table.index.get_level_values("method").nunique()
    size = (7, 0.5 + (0.75 + 0.24 * n_methods) * len(terms))
    _, axes = plt.subplots(len(terms), 1, figsize=size, layout="constrained", squeeze=False)
    for panel, term in zip(axes[:, 0], terms, strict=True):
        _draw_terms(result, panel, table, [term], level, truth)
        if panel is not axes[0, 0] and panel.get_legend():
            panel.get_legend().remove()
    return axes[:, 0] if len(terms) > 1 else axes[0, 0]


def _draw_terms(
    result: InferenceResult, ax: Any, table: pd.DataFrame, terms: list[str], level: float, truth: Any
) -> Any:
    methods = list(dict.fromkeys(table.index.get_level_values("method")))
    step = len(methods) + 1
    for i, term in enumerate(terms):
        for j, method in enumerate(methods):
            _draw_interval(ax, table.loc[(method, term)], -(i * step + j), method, method == result.method)
        value = _truth_of(truth, term)
        if value is not None:
            span = [0.5 - i * step, 0.5 - i * step - len(methods)]
            ax.plot([value, value], span, color="black", lw=1, zorder=1, label="truth" if i == 0 else None)
        if len(terms) > 1:
            place = (1.01, -(i * step + (len(methods) - 1) / 2))
            ax.annotate(term, place, xycoords=("axes fraction", "data"), va="center")
        if i:
            ax.axhline(1 - i * step, color="0.9", lw=0.8, zorder=0)
    rows = [(-(i * step + j), method) for i in range(len(terms)) for j, method in enumerate(methods)]
    labels = [f"{method} (INVALID)" if method == "imputed" else method for _, method in rows]
    ax.set_yticks([y for y, _ in rows], labels, fontsize="small")
    for tick, (_, method) in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if method == result.method else "normal")
        tick.set_color("tab:red" if method == "imputed" else "black")
    ax.set_ylim(1 - step * len(terms), 1)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    what = f"{terms[0]} in {result.estimand}" if len(terms) == 1 < len(result.estimate) else str(result.estimand)
    ax.set_xlabel(f"{what}, {100 * level:g}% interval")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(0, 1.02), fontsize="small", borderpad=0)
    return ax


def _draw_interval(ax: Any, row: pd.Series, y: float, method: str, is_chosen: bool) -> None:
    if not np.isfinite(row["estimate"]):
        return
    color, marker = STYLES.get(method, ("tab:blue", "o"))
    dashes = "-" if row["valid"] else (0, (2, 1.5))
    width = 2.4 if is_chosen else 1.4
    ax.plot([row["lower"], row["upper"]], [y, y], color=color, lw=width, ls=dashes, solid_capstyle="butt", zorder=2)
    ax.plot(row["estimate"], y, color=color, marker=marker, ms=6 if is_chosen else 5, ls="none", zorder=3)


def _truth_of(truth: Any, term: str) -> float | None:
    if truth is None or np.isscalar(truth):
        return truth
    return float(truth[term]) if term in truth else None
