"""What the demonstration says: terminal tables, figures, the HTML page. Nothing is computed here but summaries."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.atomic import write_atomically
from icl.commands.demo.cases import costs, file_table, file_verdict
from icl.commands.demo.scores import BAND, OURS, central_coverage
from icl.commands.demo.words import LEAD, PART_1, PART_2, PART_3, TERM_WORDS
from icl.pages.escape import csv
from icl.pages.page import Page, png_bytes
from icl.pages.table import Row, Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from icl.commands.demo.hidden import Answer

METHOD_WORDS = {
    "classical": "labelled only",
    "imputed": "imputed: INVALID",
    "ppi": "ppi (weight 1)",
    "ppi++": "ppi++",
    "synsurr": "synsurr",
    "shrunk": "shrunk (default)",
}
DEFAULT = "shrunk"
# score column, its heading, whether larger is better
METRICS = {
    "roc_auc": ("ROC AUC", True),
    "log_loss": ("log loss", False),
    "r2": ("R²", True),
    "rmse": ("RMSE", False),
}


def score_tables(scores: pd.DataFrame, n_splits: int) -> list[Table]:
    """Classification and regression, each a Table; the best mean of each setting is emphasised."""
    tables = []
    for kind, metrics in (("classification", ("roc_auc", "log_loss")), ("regression", ("r2", "rmse"))):
        part = scores.dropna(subset=[metrics[0]])
        means = part.groupby(["table", "n_context", "method"], sort=False)[[*metrics, "seconds"]].mean().reset_index()
        rows = []
        for (table, n_context), group in means.groupby(["table", "n_context"], sort=False):
            for _, row in group.iterrows():
                best = {3 + j for j, m in enumerate(metrics) if _is_best(row[m], group[m], METRICS[m][1])}
                names = [table, str(n_context), row["method"]]
                cells = [*names, *(_score(row[m], m) for m in metrics), f"{row['seconds']:.2f}"]
                rows.append(Row(cells, "chosen" if row["method"] == OURS else "", frozenset(best)))
        headings = [f"{METRICS[m][0]} {'↑' if METRICS[m][1] else '↓'}" for m in metrics]
        note = (
            f"Mean over {n_splits} random splits; scored on all rows outside the context. Best in bold. "
            "Seconds: fit and predict, once."
        )
        columns = ["table", "context", "method", *headings, "seconds"]
        tables.append(Table(f"Zero-shot {kind}", columns, rows, n_labels=3, note=note, n_groups=2))
    return tables


def score_verdict(scores: pd.DataFrame) -> str:
    """Who won how often, in a sentence; ties count for nobody but are rare."""
    parts = []
    for metric in ("roc_auc", "r2"):
        means = scores.dropna(subset=[metric]).groupby(["table", "n_context", "method"])[metric].mean().unstack()
        wins = means.idxmax(axis=1).value_counts().reindex(means.columns, fill_value=0).sort_values(ascending=False)
        tally = ", ".join(f"{name} {count}" for name, count in wins.items())
        parts.append(f"Best {METRICS[metric][0]} in {len(means)} settings: {tally}.")
    return " ".join(parts)


def classical_verdict(scores: pd.DataFrame) -> str:
    """In which settings a classical model was ahead, by name."""
    ahead = []
    for metric in ("roc_auc", "r2"):
        means = scores.dropna(subset=[metric]).groupby(["table", "n_context", "method"])[metric].mean().unstack()
        for row in means.reset_index().to_dict("records"):
            table, n_context = row.pop("table"), row.pop("n_context")
            reached: dict[Any, float] = {method: float(score) for method, score in row.items()}
            best = max(reached, key=reached.__getitem__)
            if best != OURS:
                numbers = f"{best} {reached[best]:.3f}, ours {reached[OURS]:.3f}"
                ahead.append(f"{table} from {n_context} rows ({numbers})")
    if not ahead:
        return "No classical model was ahead on these tables; they are on many others, see docs/when_not.md."
    return f"A classical model was ahead on {'; '.join(ahead)}: use it there."


def estimate_table(answers: list[Answer], level: float) -> Table:
    """Every method of every question, under the answer from all labels."""
    rows = []
    for answer in answers:
        n, n_all = answer.result.n_labeled, len(answer.study.table.y)
        for term in answer.study.terms:
            part = answer.estimates[answer.estimates["term"] == term]
            digits = _digits(part.loc[part["valid"], "std_error"].min())
            truth = f"{answer.full_data[term]:z.{digits}f}"
            name = TERM_WORDS.get(str(term), str(term))
            rows.append(Row([name, f"all {n_all} labels", truth, "", "", ""], "truth"))
            for _, row in part.iterrows():
                interval = f"{row['lower']:z.{digits}f} to {row['upper']:z.{digits}f}"
                worth = f"{row['n_effective']:.0f}" if np.isfinite(row["n_effective"]) else "—"
                covers = "yes" if row["covers"] else "NO"
                cells = [name, METHOD_WORDS[row["method"]], f"{row['estimate']:z.{digits}f}", interval, worth, covers]
                rows.append(Row(cells, _style(row["method"], answer.result.method)))
    note = (
        "Worth: number of labels that would give the same precision without predictions. Covers: whether the interval "
        "holds the answer from all labels; one draw of labels proves little, the next table repeats it. Imputed "
        "counts predictions as real outcomes: its interval means nothing."
    )
    columns = ["estimate of", "method", "estimate", f"{100 * level:g}% interval", "worth", "covers"]
    return Table(f"{n} labels shown, the others hidden", columns, rows, n_labels=2, note=note, n_groups=1)


def coverage_table(coverage: pd.DataFrame, level: float, n_draws: int) -> Table:
    """How often each method's interval held the known answer, and how wide it was."""
    rows = []
    for (_, term), part in coverage.groupby(["estimand", "term"], sort=False):
        alone = part.set_index("method")["mean_width"]["classical"]
        for _, row in part.iterrows():
            cells = [
                TERM_WORDS.get(str(term), str(term)),
                METHOD_WORDS[row["method"]],
                f"{100 * row['coverage']:.1f}%",
                f"±{100 * row['monte_carlo_error']:.1f}",
                f"{row['mean_width']:.{_digits(row['mean_width'] / 4)}f}",
                _percent(row["mean_width"] / alone - 1) if row["method"] != "classical" else "",
            ]
            rows.append(Row(cells, _style(row["method"], DEFAULT)))
    note = (
        "Random draws, with predictions from 60 other rows that are redrawn too. ± is the standard error of the "
        "coverage. A valid interval shows the nominal coverage; narrower is better only then."
    )
    columns = ["estimate of", "method", "coverage", "±", "mean width", "vs labelled only"]
    title = f"{n_draws} draws of 60 labels: coverage ({100 * level:g}% wanted) and width of the intervals"
    return Table(title, columns, rows, n_labels=2, note=note, n_groups=1)


def coverage_verdict(coverage: pd.DataFrame, level: float) -> str:
    """Coverage of the default against that of imputation, in a sentence."""
    by_method = coverage.groupby("method")["coverage"]
    low, high = by_method.min(), by_method.max()

    def span(name: str) -> str:
        return f"{100 * low[name]:.0f}% to {100 * high[name]:.0f}%"

    return (
        f"Wanted: {100 * level:g}%. Covered by {DEFAULT}: {span(DEFAULT)}; by labelled rows alone: "
        f"{span('classical')}; by imputation: {span('imputed')}."
    )


def write(done: Demonstration, seconds: float) -> None:
    """Figures (PNG), numbers (CSV) and, last, the page; each file appears whole or not at all."""
    import pandas as pd

    folder = done.report.parent
    figures = {"scores": scores_figure(done), "predictions": band_figure(done), "estimates": forest_figure(done)}
    images = {name: png_bytes(figure) for name, figure in figures.items()}
    for name, image in images.items():
        write_atomically(folder / f"{name}.png", image)
    estimates = pd.concat([answer.estimates for answer in done.answers], ignore_index=True)
    for name, frame in (("scores", done.scores), ("estimates", estimates), ("coverage", done.coverage)):
        write_atomically(folder / f"{name}.csv", csv(frame))
    write_atomically(done.report, html_page(done, images, seconds))


def html_page(done: Demonstration, images: dict[str, bytes], seconds: float) -> str:
    """The report; see `icl.commands.demo.words` for what it says."""
    from icl import __version__

    page = Page("In-context learning for tables, on real data", LEAD)
    page.heading("1. Prediction without training")
    page.text(*PART_1)
    page.figure(
        images["scores"],
        f"Held-out scores, mean over {done.n_splits} splits (whiskers: standard deviation). Bars start "
        "where a model that knows nothing ends: ROC AUC 0.5, R² 0.",
    )
    for table in score_tables(done.scores, done.n_splits):
        page.table(table)
    page.text(score_verdict(done.scores), classical_verdict(done.scores))
    page.heading("2. A distribution, not only a number")
    inside = float(np.mean((done.band["truth"] >= done.band["low"]) & (done.band["truth"] <= done.band["high"])))
    page.text(PART_2.format(n=len(done.band), band=f"{100 * BAND:.0f}%", inside=f"{100 * inside:.0f}%"))
    page.figure(images["predictions"], "Diabetes, 200 context rows. Left: each held-out patient. Right: how often "
                "central intervals of every nominal coverage hold the truth; on the line is perfect.")  # fmt: skip
    page.heading("3. Estimates from 60 labels")
    page.text(*PART_3[:-1])
    page.warning(PART_3[-1])
    page.figure(
        images["estimates"],
        f"Estimates and {100 * done.level:g}% intervals from 60 labels; the black line is the answer from all.",
    )
    page.table(estimate_table(done.answers, done.level))
    page.table(coverage_table(done.coverage, done.level, done.n_draws))
    page.text(coverage_verdict(done.coverage, done.level), costs(done.answers[0]))
    for answer in done.answers:
        page.details(answer.study.question, answer.result.summary())
    page.heading("4. Reading a file")
    page.table(file_table())
    page.text(file_verdict())
    page.heading("How this was made")
    page.prose(
        f"icl {__version__}, checkpoint `{done.checkpoint}`, Python {platform.python_version()}, {seconds:.0f} s. "
        "The tables ship with scikit-learn; nothing was downloaded and nothing was tuned on them. The numbers lie "
        "beside this page in `scores.csv`, `estimates.csv` and `coverage.csv`."
    )
    return page.html()


def scores_figure(done: Demonstration) -> Figure:
    """ROC AUC and R2 beside the baselines."""
    from icl.pages.figures import plot_scores

    figure = _figure(9, 5.2)
    for ax, (metric, base) in zip(figure.subplots(1, 2), (("roc_auc", 0.5), ("r2", 0.0))):
        part = done.scores.dropna(subset=[metric])
        setting = part["table"] + "\n" + part["n_context"].astype(str) + " context rows"
        groups = part.assign(setting=setting).groupby(["setting", "method"], sort=False)[metric]
        means, stds = groups.mean().unstack(sort=False), groups.std().unstack(sort=False)
        plot_scores(means, stds, ax, f"{METRICS[metric][0]} on held-out rows (higher is better)", base, OURS)
    return figure


def band_figure(done: Demonstration) -> Figure:
    """Predictive band against truth, and calibration of central intervals."""
    from icl.pages.figures import plot_calibration, plot_predictive_band

    band = done.band
    figure = _figure(9, 3.8)
    figure.set_layout_engine("constrained", w_pad=0.1)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    unit = "disease progression (score)"
    truth, median, low, high = (band[c].to_numpy() for c in ("truth", "median", "low", "high"))
    plot_predictive_band(truth, median, low, high, ax=left, unit=unit)
    nominal = np.linspace(0.05, 0.95, 19)
    plot_calibration(nominal, central_coverage(band["pit"].to_numpy(), nominal), right)
    return figure


def forest_figure(done: Demonstration) -> Figure:
    """A panel for each parameter, every method in it."""
    panels = [(answer, term) for answer in done.answers for term in answer.study.terms]
    figure = _figure(9, 2.6 * ((len(panels) + 1) // 2))
    figure.set_layout_engine("constrained", h_pad=0.12, w_pad=0.1)
    for ax, (answer, term) in zip(figure.subplots(-(-len(panels) // 2), 2).flat, panels):
        answer.result.plot(ax, terms=[term], level=done.level, truth=dict(answer.full_data))
        ax.set_xlabel(f"{TERM_WORDS.get(str(term), str(term))}  [{answer.study.estimand}]", fontsize="small")
        ax.get_legend().get_texts()[0].set_text(f"all {len(answer.study.table.y)} labels")
    return figure


def _figure(width: float, height: float) -> Figure:
    # Not pyplot: no global state, no window system.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _style(method: str, chosen: str) -> str:
    return "invalid" if method == "imputed" else "chosen" if method == chosen else ""


def _is_best(value: float, values: Any, larger_is_better: bool) -> bool:
    return bool(value == (values.max() if larger_is_better else values.min()))


def _score(value: float, metric: str) -> str:
    return f"{value:.{_digits(value / 100)}f}" if metric == "rmse" else f"{value:.3f}"


def _percent(change: float) -> str:
    whole = round(100 * change)
    return f"{whole:+d}%" if whole else "0%"


def _digits(scale: float) -> int:
    """Decimals that show two significant digits of `scale`."""
    return int(np.clip(1 - np.floor(np.log10(scale)), 0, 9)) if np.isfinite(scale) and scale > 0 else 3


@dataclass(frozen=True)
class Demonstration:
    """Everything that was computed, and where it was written."""

    checkpoint: str
    level: float
    n_splits: int
    n_draws: int
    scores: pd.DataFrame
    """A row for each (table, n_context, split, method)."""
    band: pd.DataFrame
    """A row for each held-out row of the diabetes table."""
    answers: list[Answer]
    coverage: pd.DataFrame
    """A row for each (estimand, term, method): what `n_draws` re-draws of the labels show."""
    report: Path
    """The page; figures and numbers lie beside it."""
