"""Are the predictive distributions right on real tables? PIT and coverage for numbers, reliability for classes.

    python benchmarks/calibration.py --tables FOLDER [--checkpoint nano] [--out checkpoints/nano]

Reads OUT/calibration.csv, which benchmarks/quality.py writes as it scores, and writes OUT/results-calibration.md and
.png. Every family of tables counts once, however many rows it has.

Source:
    Gneiting, Balabdaoui & Raftery (2007), Probabilistic forecasts, calibration and sharpness; Guo et al. (2017), On
    calibration of modern neural networks (top-label ECE, here with 15 equal bins).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd

from benchmarks.compare import by_family, markdown
from benchmarks.options import complete, shared_parser

N_PIT, N_RELIABILITY = 40, 15
LEVELS = (0.5, 0.8, 0.9, 0.95)
FEW_ROWS = 200


def pit_counts(pit: np.ndarray) -> dict[str, str]:
    """Counts of F(truth) in 40 equal bins, as the text of a cell; 40 hold the 50, 80, 90 and 95 % intervals exactly."""
    return {"pit": _text(np.histogram(pit, N_PIT, (0, 1))[0])}


def reliability_counts(proba: np.ndarray, y: np.ndarray) -> dict[str, str]:
    """Per bin of probability: rows, sum of probabilities, hits; for the top class and for all classes, one by one.

    Args:
        proba: (m, C).
        y: (m,) class of each row, 0..C-1.
    """
    top = proba.argmax(1)
    every = np.arange(proba.shape[1]) == y[:, None]
    cells = {}
    for name, p, hit in (("top", proba.max(1), top == y), ("class", proba.ravel(), every.ravel())):
        bin_of = np.minimum((p * N_RELIABILITY).astype(int), N_RELIABILITY - 1)
        for what, weight in (("n", None), ("p", p), ("hit", hit)):
            cells[f"{name}_{what}"] = _text(np.bincount(bin_of, weight, minlength=N_RELIABILITY))
    return cells


def _text(values: np.ndarray) -> str:
    return " ".join(f"{v:.6g}" for v in values)


def _numbers(column: pd.Series) -> pd.DataFrame:
    """(tables, bins); counts of several seeds are added."""
    values = pd.DataFrame([list(map(float, text.split())) for text in column], index=column.index)
    return values.groupby(level=0).sum()


def coverage(pit: pd.DataFrame, levels: tuple[float, ...] = LEVELS) -> pd.DataFrame:
    """(tables, levels) share of truths inside each central interval, from the (tables, 40) counts."""
    columns = {}
    for level in levels:
        cut = round((1 - level) / 2 * N_PIT)
        columns[level] = pit.iloc[:, cut : N_PIT - cut].sum(axis=1) / pit.sum(axis=1)
    return pd.DataFrame(columns)


def mean_and_error(values: pd.DataFrame | pd.Series) -> tuple:
    return values.mean(), values.std() / np.sqrt(values.notna().sum())


def coverage_table(pit: pd.DataFrame, n_context: pd.Series, families: pd.Series) -> pd.DataFrame:
    observed = coverage(pit)
    rows = []
    for label, part in (
        ("all", observed),
        (f"at most {FEW_ROWS} context rows", observed[n_context[observed.index] <= FEW_ROWS]),
        (f"more than {FEW_ROWS}", observed[n_context[observed.index] > FEW_ROWS]),
    ):
        if not len(part):
            continue
        mean, error = mean_and_error(by_family(part, families))
        row = {"tables": label, "families": families[part.index].nunique()}
        row |= {f"{level:.0%}": f"{mean[level]:.1%} ± {error[level]:.1%}" for level in LEVELS}
        tenths = part[0.9].quantile([0.1, 0.9])
        row["90% interval, 10th to 90th percentile of tables"] = f"{tenths[0.1]:.0%} to {tenths[0.9]:.0%}"
        rows.append(row)
    return pd.DataFrame(rows)


def expected_error(n: np.ndarray, p: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Expected calibration error of each table from (tables, bins) counts."""
    return np.abs(hit - p).sum(1) / n.sum(1)


def chance_error(n: np.ndarray, p: np.ndarray, seed: int = 0, n_draws: int = 200) -> np.ndarray:
    """What the expected calibration error would be on average if the probabilities were exactly right.

    Finite tables show an error by chance alone; a model's is to be read beside it.
    """
    rate = np.divide(p, n, out=np.zeros_like(p), where=n > 0).clip(0, 1)
    hits = np.random.default_rng(seed).binomial(n.astype(int), rate, (n_draws, *n.shape))
    return np.mean([expected_error(n, p, hit) for hit in hits], axis=0)


def reliability_table(rows: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Top-label calibration by group of tables."""
    n, p, hit = (_numbers(rows[f"top_{what}"]) for what in ("n", "p", "hit"))
    total = n.sum(axis=1)
    facts = pd.DataFrame(
        {
            "confidence": p.sum(axis=1) / total,
            "accuracy": hit.sum(axis=1) / total,
            "ece": expected_error(n.to_numpy(), p.to_numpy(), hit.to_numpy()),
            "chance": chance_error(n.to_numpy(), p.to_numpy()),
        }
    )
    n_context, n_classes = rows.groupby(level=0).n_train.first(), index.n_classes.reindex(facts.index)
    out = []
    for label, keep in (
        ("all", total > 0),
        (f"at most {FEW_ROWS} context rows", n_context <= FEW_ROWS),
        (f"more than {FEW_ROWS}", n_context > FEW_ROWS),
        ("2 classes", n_classes == 2),
        ("3-10 classes", n_classes > 2),
    ):
        part = by_family(facts[keep], index.family)
        if not len(part):
            continue
        gap, error = mean_and_error(part.confidence - part.accuracy)
        row = {"tables": label, "families": len(part)}
        row |= {"mean confidence": f"{part.confidence.mean():.3f}", "accuracy": f"{part.accuracy.mean():.3f}"}
        row["confidence - accuracy"] = f"{gap:+.3f}" + (f" ± {error:.3f}" if len(part) > 1 else "")
        row |= {"ECE": f"{part.ece.mean():.4f}", "ECE if calibrated": f"{part.chance.mean():.4f}"}
        out.append(row)
    return pd.DataFrame(out)


def pooled_reliability(rows: pd.DataFrame, kind: str, families: pd.Series) -> tuple[np.ndarray, ...]:
    """Mean probability, frequency, its standard error and share of rows of each bin; families weigh the same.

    The error is that of a ratio estimated from independent families (linearised). Bins that fewer than three families
    reach are NaN.
    """
    n, p, hit = (_numbers(rows[f"{kind}_{what}"]) for what in ("n", "p", "hit"))
    total = n.sum(axis=1)
    n, p, hit = (by_family(v.div(total, axis=0), families).to_numpy() for v in (n, p, hit))
    reached = (n > 0).sum(0) >= min(3, len(n))
    with np.errstate(invalid="ignore"):
        rate = hit.sum(0) / n.sum(0)
        error = np.sqrt(np.square(hit - rate * n).sum(0)) / n.sum(0)
        predicted = p.sum(0) / n.sum(0)
    return *(np.where(reached, v, np.nan) for v in (predicted, rate, error)), n.mean(0)


def draw(rows: pd.DataFrame, index: pd.DataFrame, name: str, path: Path) -> None:
    from matplotlib.figure import Figure

    from icl.pages.figures import plot_calibration, plot_pit, plot_reliability

    is_number, families = rows.task == "reg", index.family
    n_panels = 2 * is_number.any() + 2 * (~is_number).any()
    figure = Figure(figsize=(4.1 * n_panels, 4.2), layout="constrained")
    axes = list(figure.subplots(1, n_panels, squeeze=False)[0])
    if is_number.any():
        pit = _numbers(rows.loc[is_number, "pit"])
        halves = pd.DataFrame(pit.to_numpy().reshape(len(pit), -1, 2).sum(2), index=pit.index)
        density = by_family(halves.div(halves.sum(axis=1), axis=0) * halves.shape[1], families)
        mean, error = mean_and_error(density)
        plot_pit(mean.to_numpy(), axes[0], None if len(density) < 2 else error.to_numpy())
        axes[0].set_title(f"PIT, {len(pit)} regression tables")
        levels = tuple(k / 20 for k in range(1, 20))
        plot_calibration(np.array(levels), by_family(coverage(pit, levels), families).mean().to_numpy(), axes[1])
        axes[1].set_title("central intervals")
    for ax, kind, title in zip(axes[-2:], ("top", "class"), ("most probable class", "every class")):
        if not (~is_number).any():
            break
        predicted, observed, error, share = pooled_reliability(rows[~is_number], kind, families)
        plot_reliability(predicted, observed, share, ax, error)
        ax.set_title(f"{title}, {rows[~is_number].index.nunique()} tables")
    figure.suptitle(f"{name}: calibration on real tables (whiskers: one standard error over families)", fontsize=11)
    figure.savefig(path, dpi=110)


def report(rows: pd.DataFrame, index: pd.DataFrame, name: str) -> str:
    """Args: rows of calibration.csv and of index.csv, both indexed by table."""
    is_number = rows.task == "reg"
    lines = [f"# {name}: calibration on real tables", ""]
    lines += ["Splits as in `results.md`; every family of tables counts once; ± one standard error over families.", ""]
    if is_number.any():
        part = rows[is_number]
        table = coverage_table(_numbers(part["pit"]), part.groupby(level=0).n_train.first(), index.family)
        lines += ["## Regression: share of truths inside central intervals, by nominal coverage", ""]
        lines += [markdown(table), ""]
    if (~is_number).any():
        lines += ["## Classification: the most probable class", ""]
        lines += [markdown(reliability_table(rows[~is_number], index)), ""]
        lines += ["*ECE if calibrated*: what tables of this size show by chance when every probability is right.", ""]
    return "\n".join([*lines, "![calibration](results-calibration.png)", ""])


def write(out: Path, tables: Path, name: str) -> str:
    """Write the report and the figure from OUT/calibration.csv; returns the report."""
    source = out / "calibration.csv"
    if not source.exists():
        sys.exit(f"there is no {source}; run benchmarks/quality.py with the same --out first.")
    rows = pd.read_csv(source).set_index("dataset")
    index = pd.read_csv(tables / "index.csv").set_index("name")
    text = report(rows, index, name)
    (out / "results-calibration.md").write_text(text, encoding="utf-8")
    draw(rows, index, name, out / "results-calibration.png")
    return text


def main(arguments: list[str] | None = None) -> None:
    options = complete(shared_parser(__doc__, "tables", "checkpoint", "out").parse_args(arguments))
    print(write(options.out, options.tables, Path(options.checkpoint).name))


if __name__ == "__main__":
    main()
