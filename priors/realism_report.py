"""The realism report: Markdown and a figure from what `priors.realism.compare` found."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from priors.metafeatures import MEANING
from priors.realism import MAX_CLASSES, MAX_FEATURES, MAX_ROWS, Realism

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def headline(result: Realism) -> str:
    """The AUC of all tables and of each kind, with standard errors."""
    kinds = ("all", "classification", "regression")
    return "; ".join(f"{name} {_value(result, name)}" for name in kinds if name in result.auc)


def _value(result: Realism, label: str) -> str:
    value, error = result.auc[label]
    return f"{value:.3f} ± {error:.3f}"


def write_report(result: Realism) -> str:
    """Markdown: the AUC, that of each group of meta-features and, most telling first, every meta-feature."""
    n_real = int(result.rows["real"].sum())
    groups = {label.removesuffix(" alone"): label for label in result.auc if label.endswith(" alone")}
    order = sorted(groups, key=lambda group: -result.auc[groups[group]][0])
    lines = [
        f"# How real `{result.prior}` looks",
        "",
        f"{n_real} real tables and {len(result.rows) - n_real} tasks of the prior, drawn in the shapes of the real "
        f"ones (at most {MAX_ROWS} rows, {MAX_FEATURES} features, {MAX_CLASSES} classes). A random forest that sees "
        f"{len(MEANING)} meta-features of a table tells them apart with a cross-validated AUC of (± one standard "
        "error, bootstrap over tables; 0.5 = indistinguishable):",
        "",
        f"**{headline(result)}**",
        "",
        "| it sees only | AUC |",
        "|---|---|",
        *(f"| {group} | {_value(result, groups[group])} |" for group in order),
        "",
        "`importance`: AUC lost when the number is permuted. `alone`: AUC of this number alone; above 0.5 the prior's "
        "are larger, below it smaller. Quartiles over tables.",
        "",
        "| meta-feature | says | importance | alone | real: 25, 50, 75 % | prior: 25, 50, 75 % |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result.importance.iterrows():
        quartiles = (
            ", ".join(f"{row[f'{label} {level}']:.3g}" for level in (0.25, 0.5, 0.75)) for label in ("real", "prior")
        )
        cells = [str(name), MEANING[str(name)], f"{row['importance']:.3f}", f"{row['alone']:.2f}", *quartiles]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw_report(result: Realism) -> Figure:
    """Distribution of each meta-feature over tables: real in grey, the prior in blue; most telling first."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(result.importance.index)
    width = 6
    height = -(-len(names) // width)
    tall = 2.3 * height + 0.6
    figure = Figure(figsize=(3 * width, tall))
    FigureCanvasAgg(figure)
    value, error = result.auc["all"]
    figure.suptitle(
        f"{result.prior} (blue) against real tables (grey): AUC {value:.3f} ± {error:.3f}", x=0.01, ha="left"
    )
    # Places by hand: a layout engine draws all of it three times to find them.
    places = dict(left=0.035, right=0.995, bottom=0.65 / tall, top=1 - 0.7 / tall, wspace=0.3, hspace=0.75)
    real = result.rows["real"].to_numpy(bool)
    for ax, name in zip(figure.subplots(height, width, gridspec_kw=places).flat, names):
        values = result.rows[name].to_numpy(float)
        there = ~np.isnan(values)
        low, high = np.quantile(values[there], [0.005, 0.995]) if there.any() else (0, 1)
        edges = np.linspace(low, high if high > low else low + 1, 21)
        for part, style in ((real, {"color": "0.6"}), (~real, {"histtype": "step", "color": "tab:blue", "lw": 1.4})):
            shown = np.clip(values[there & part], edges[0], edges[-1])
            ax.hist(shown, edges, weights=np.full(len(shown), 1 / max(1, len(shown))), **style)
        ax.set_title(f"{name} (alone {result.importance.loc[name, 'alone']:.2f})", fontsize="small", loc="left")
        ax.set_xlabel("\n".join(textwrap.wrap(MEANING[name], 44)), fontsize="x-small")
        ax.set_ylabel("share of tables", fontsize="x-small")
        ax.tick_params(labelsize="x-small")
        ax.spines[["top", "right"]].set_visible(False)
    for ax in figure.axes[len(names) :]:
        ax.remove()
    return figure
