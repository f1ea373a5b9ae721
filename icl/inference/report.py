"""How a result looks: plain text for a terminal, a forest plot for a paper."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from icl.inference.result import InferenceResult

WIDTH = 100
STD_ERROR_WORDS = {
    "residual": "equal variances, with the uncertainty of the weight",
    "model": "model-based (equal variances, weight taken as known)",
}


def summary_text(result: InferenceResult, level: float) -> str:
    """The text behind `InferenceResult.summary`."""
    frame, problem = result.to_frame(level), result._problem
    df = f"t with {result.df:g} degrees of freedom" if np.isfinite(result.df) else "normal"
    kind = f"as {problem.compat}" if problem.compat else STD_ERROR_WORDS.get(problem.std_error, problem.std_error)
    head = [
        ("estimand", str(result.estimand)),
        ("rows", f"{result.n_labeled:,} labeled, {result.n_unlabeled:,} unlabeled"),
        ("predictions", result.predictions),
        ("method", _method_words(result)),
        ("std. error", f"{kind}; reference {df}"),
    ]
    percent = f"{100 * level:g}%"
    columns = {
        "term": list(frame["term"]),
        "estimate": _decimals(frame["estimate"], frame["std.error"]),
        "std.error": _decimals(frame["std.error"], frame["std.error"]),
        f"{percent} low": _decimals(frame["conf.low"], frame["std.error"]),
        f"{percent} high": _decimals(frame["conf.high"], frame["std.error"]),
        "p": [_p_words(p) for p in frame["p.value"]],
        "n effective": [f"{n:,.0f}" for n in result.n_effective],
    }
    lines = [f"{name:<12}{text}" for name, text in head]
    lines += ["", *_align(columns), ""]
    lines += _paragraph(_assumption(result))
    if result.diagnostics:
        lines += ["", "To know before using these numbers:"]
        for item in result.diagnostics:
            lines += _paragraph(item.message, bullet=f"  - [{item.code}] ")
    return "\n".join(lines)


def _method_words(result: InferenceResult) -> str:
    if result.method == "classical":
        why = " (no predictions were used)" if not result._problem.has_predictions else " (weight 0)"
        return "classical: labeled rows only" + why
    how = "tuned" if result._answer.tuned else "fixed"
    return f"{result.method}, weight {result.weight:.3f} ({how})"


def _assumption(result: InferenceResult) -> str:
    if not result._problem.has_predictions:
        return "Assumes that the labeled rows are a random sample of the population."
    return (
        "Assumes that the labeled rows are a random sample of all rows (missing completely at random), and that no "
        "labeled row was predicted by a model that saw its label. The predictions may be wrong in any way. "
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
        ax: axes to draw on; default: new ones.
        terms: which parameters, all on one scale; default: all, less the intercept where there are others.
        truth: known values, a number or a mapping from term to number, drawn as black lines.
    Returns:
        The axes.
    """
    import matplotlib.pyplot as plt

    table = result.compare(level)
    methods = list(dict.fromkeys(table.index.get_level_values("method")))
    known = list(result.estimate.index)
    terms = [t for t in known if t != "Intercept" or len(known) == 1] if terms is None else list(terms)
    unknown = [t for t in terms if t not in known]
    if unknown or not terms:
        raise ValueError(f"terms= got {unknown or 'no term'}; the terms are {known}.")
    step = len(methods) + 1
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 0.6 + 0.26 * step * len(terms)), layout="constrained")
    for i, term in enumerate(terms):
        for j, method in enumerate(methods):
            row = table.loc[(method, term)]
            if not np.isfinite(row["estimate"]):
                continue
            color, marker = STYLES.get(method, ("tab:blue", "o"))
            chosen, y = method == result.method, -(i * step + j)
            ax.plot(
                [row["lower"], row["upper"]],
                [y, y],
                color=color,
                lw=2.4 if chosen else 1.4,
                ls="-" if row["valid"] else (0, (2, 1.5)),
                solid_capstyle="butt",
                zorder=2,
            )
            ax.plot(row["estimate"], y, color=color, marker=marker, ms=6 if chosen else 5, ls="none", zorder=3)
        value = _truth_of(truth, term)
        if value is not None:
            top, bottom = -(i * step) + 0.5, -(i * step + len(methods) - 1) - 0.5
            ax.plot([value, value], [bottom, top], color="black", lw=1, zorder=1, label="truth" if i == 0 else None)
        if len(terms) > 1 and i:
            ax.axhline(-(i * step) + 1, color="0.9", lw=0.8, zorder=0)
    labels = [f"{m} (INVALID)" if m == "imputed" else m for m in methods]
    ticks = [-(i * step + j) for i in range(len(terms)) for j in range(len(methods))]
    ax.set_yticks(ticks, [label for _ in terms for label in labels], fontsize="small")
    for tick, j in zip(ax.get_yticklabels(), list(range(len(methods))) * len(terms), strict=True):
        tick.set_fontweight("bold" if methods[j] == result.method else "normal")
        tick.set_color("tab:red" if methods[j] == "imputed" else "black")
    if len(terms) > 1:
        for i, term in enumerate(terms):
            ax.annotate(
                term, (1.01, -(i * step + (len(methods) - 1) / 2)), xycoords=("axes fraction", "data"), va="center"
            )
    ax.set_ylim(-(step * len(terms) - 1), 1)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    unit = f"coefficient ({result.estimand})" if len(known) > 1 else str(result.estimand)
    ax.set_xlabel(f"{unit}, {100 * level:g}% interval")
    if truth is not None:
        ax.legend(frameon=False, loc="best", fontsize="small")
    return ax


def _truth_of(truth: Any, term: str) -> float | None:
    if truth is None or np.isscalar(truth):
        return truth
    return float(truth[term]) if term in truth else None
