"""Two checkpoints on the same rows of the same tables: what fine-tuning won on new tables and lost elsewhere.

Rows that either checkpoint was fine-tuned on are never asked about, only shown as context.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.finetuning.config import FinetuneConfig, Task
from icl.finetuning.sources import read_tables
from icl.finetuning.tables import EncodedTable, encode_tables
from icl.finetuning.tasks import draw_rows
from icl.network.metrics import auc, density_losses, log_losses, number_scores
from icl.releases.folder import load_release
from icl.releases.names import resolve_checkpoint
from icl.releases.seen import read_seen, rows_seen
from icl.tables.bundled import bundled_tables
from icl.tables.reading import Reading

if TYPE_CHECKING:
    import pandas as pd

    from icl.pages.table import Table

NEW, GENERAL = "new tables", "general tables"
LOWER_IS_BETTER = {"log_loss", "nll"}
_MOST_ROWS = 1_000
_FEWEST_QUERIES = 10
_N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    """Scores of both checkpoints.

    Attributes:
        scores: a row for each (table, seed, metric): group, table, task, metric, seed, n_context, n_query, before,
            after, gain (positive where `after` is better) and its std_error over query rows where it is a mean.
        skipped: table -> why it was left out.
        names: of the two checkpoints.
    """

    scores: pd.DataFrame
    skipped: dict[str, str]
    names: tuple[str, str]

    def by_table(self) -> pd.DataFrame:
        """Means over seeds; std_error as if seeds repeated the same rows, which is on the safe side."""
        keys = ["group", "task", "metric", "table"]
        return self.scores.groupby(keys, sort=False)[["before", "after", "gain", "std_error"]].mean().reset_index()

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Mean gain of every group and metric, with its interval.

        The interval is a paired bootstrap over tables where there are five or more; else over the query rows, which
        speaks of these tables only (none for AUC and R2, which are no means over rows).
        """
        lines = []
        for (group, task, metric), part in self.by_table().groupby(["group", "task", "metric"], sort=False):
            gain = part.gain.to_numpy()
            low, high, over = _interval(gain, part.std_error.to_numpy(), level)
            lines.append(
                {
                    "group": group, "task": task, "metric": metric, "tables": len(part),
                    "before": part.before.mean(), "after": part.after.mean(),
                    "gain": gain.mean(), "lower": low, "upper": high, "interval": over,
                }
            )  # fmt: skip
        import pandas as pd

        return pd.DataFrame(lines)

    def to_tables(self, level: float = 0.95) -> list[Table]:
        """What `icl compare` shows."""
        from icl.pages.table import Row, Table

        def number(x: Any, signed: bool = False) -> str:
            return "—" if math.isnan(x) else f"{x:+.4f}" if signed else f"{x:.4f}"

        before, after = self.names
        rows = [
            Row([str(r.group), str(r.metric), str(r.tables), number(r.before), number(r.after), number(r.gain, True),
                 f"{number(r.lower, True)} to {number(r.upper, True)}", str(r.interval)])
            for r in self.summary(level).itertuples()
        ]  # fmt: skip
        columns = ["", "metric", "tables", before, after, "gain", f"{level:.0%} interval", "over"]
        note = "Gain: positive where the second is better."
        tables = [Table(f"{before} and {after} on the same rows", columns, rows, n_labels=2, note=note)]
        rows = [
            Row([str(r.table), str(r.metric), number(r.before), number(r.after), number(r.gain, True)])
            for r in self.by_table().itertuples()
        ]
        tables.append(Table("Table by table", ["table", "metric", before, after, "gain"], rows, n_labels=2))
        return tables


def _interval(gain: np.ndarray, std_error: np.ndarray, level: float) -> tuple[float, float, str]:
    n, tail = len(gain), (1 - level) / 2
    if n >= 5:
        counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), _N_RESAMPLES)
        low, high = np.quantile(counts @ gain / n, [tail, 1 - tail])
        return float(low), float(high), "tables"
    if np.isnan(std_error).any():
        return math.nan, math.nan, "too few tables"
    from scipy.stats import norm

    half = float(norm.ppf(1 - tail) * np.sqrt(np.square(std_error).sum()) / n)
    return float(gain.mean() - half), float(gain.mean() + half), "rows"


def compare_checkpoints(
    before: str | os.PathLike,
    after: str | os.PathLike,
    tables: Any = None,
    *,
    target: str | None = None,
    task: Task = "auto",
    ignore: Sequence[str] = (),
    general: Any = "bundled",
    seeds: int = 2,
    members: int = 4,
    device: str = "auto",
    reading: Reading = Reading(),  # noqa: B008 - frozen
) -> Comparison:
    """Score two checkpoints on the same splits.

    Args:
        before, after: names or release folders.
        tables: tables of the domain, as for `icl.finetune`; None scores general tables only.
        target, task, ignore: as in `FinetuneConfig`; every table of `tables` needs the target.
        general: tables of other kinds, each with a column `target`; "bundled" takes seven that scikit-learn carries,
            None leaves them out.
        seeds: splits of each table into context and query rows, halves of at most 1,000.
        members: of the estimators.
        reading: how files are read.
    Raises:
        ValueError, OSError: for tables or checkpoints that cannot be used.
    """
    import pandas as pd

    if tables is not None and target is None:
        raise ValueError("target= must name the column to predict in the tables (--target).")
    groups: dict[str, dict] = {}
    configs: dict[str, FinetuneConfig] = {}
    if tables is not None:
        groups[NEW] = read_tables(tables, reading)
        configs[NEW] = FinetuneConfig(target=target, task=task, ignore=tuple(ignore))
    if general is not None:
        groups[GENERAL] = (
            bundled_tables() if isinstance(general, str) and general == "bundled" else read_tables(general, reading)
        )
        configs[GENERAL] = FinetuneConfig(target="target")
    folders = [resolve_checkpoint(before), resolve_checkpoint(after)]
    max_classes = min(load_release(f).config.max_classes for f in folders)
    seen = [s for f in folders for s in read_seen(f)]
    lines, skipped = [], {}
    for group, frames in groups.items():
        for table in encode_tables(frames, configs[group], max_classes):
            fresh = ~rows_seen(seen, table.frame, labeled=True)[0]
            if fresh.sum() < _FEWEST_QUERIES:
                skipped[table.name] = f"{(~fresh).sum()} of {len(fresh)} rows were trained on"
                continue
            for seed in range(seeds):
                lines += [{"group": group} | line for line in _score(table, fresh, folders, seed, members, device)]
    names = _two_names(before, after)
    if not lines:
        raise ValueError(f"no table is left to compare on: {'; '.join(f'{k}: {v}' for k, v in skipped.items())}.")
    return Comparison(pd.DataFrame(lines), skipped, names)


def _two_names(before, after) -> tuple[str, str]:
    one, two = (os.path.basename(os.path.normpath(str(c))) for c in (before, after))
    return (one, two) if one != two else (str(before), str(after))


def _score(table: EncodedTable, fresh: np.ndarray, folders: list, seed: int, members: int, device: str) -> list[dict]:
    rows, (one, two) = score_table(table, fresh, folders, seed, members, device)
    lines = []
    for metric, (value_one, rows_one) in one.items():
        value_two, rows_two = two[metric]
        sign = -1 if metric in LOWER_IS_BETTER else 1
        error = math.nan
        if rows_one is not None:
            error = float(np.std(rows_one - rows_two, ddof=1) / math.sqrt(len(rows_one)))
        task = "regression" if table.targets[0].n_classes is None else "classification"
        lines.append(
            {"table": table.name, "task": task, "metric": metric, "seed": seed} | rows
            | {"before": value_one, "after": value_two, "gain": sign * (value_two - value_one), "std_error": error}
        )  # fmt: skip
    return lines


Scores = dict[str, tuple[float, np.ndarray | None]]
"""Metric -> its value, and its terms by row where it is a mean: auc and log_loss, or r2 and nll."""


def score_table(
    table: EncodedTable,
    fresh: np.ndarray,
    checkpoints: Sequence,
    seed: int,
    members: int = 4,
    device: str = "auto",
    max_context: int = _MOST_ROWS,
) -> tuple[dict[str, int], list[Scores]]:
    """Scores of several checkpoints on one split of one table.

    Args:
        fresh: (n,) bool, rows that may be asked about; the others may only be context.
        seed: of the split: half of the rows are context, at most `max_context`, the rest queries, at most 1,000.
    Returns:
        the numbers of rows, and the scores of each checkpoint.
    """
    from icl.estimators.classifier import ICLClassifier
    from icl.estimators.regressor import ICLRegressor

    target = table.targets[0]
    order = draw_rows(target, len(fresh), np.random.default_rng([seed, len(fresh)]))
    n_context = min(len(order) // 2, max_context)
    # What was trained on may be context, never a query: it goes first, but for one row of each class.
    order = np.concatenate([order[~fresh[order]], order[fresh[order]]])
    leading = np.unique(target.y[order], return_index=True)[1] if target.n_classes else np.zeros(0, dtype=int)
    context = np.concatenate([order[leading], np.delete(order, leading)])[:n_context]
    query = order[fresh[order] & ~np.isin(order, context)][:_MOST_ROWS]
    X = table.frame.drop(columns=target.name)
    kind = ICLRegressor if target.n_classes is None else ICLClassifier
    scored = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # where a model is bad is what is asked here
        for checkpoint in checkpoints:
            model = kind(checkpoint, n_estimators=members, device=device, random_state=seed)
            model.fit(X.iloc[context], target.y[context])
            scored.append(_metrics(model, X.iloc[query], target.y[query], float(np.std(target.y[context]))))
    return {"n_context": len(context), "n_query": len(query)}, scored


def _metrics(model, X: pd.DataFrame, y: np.ndarray, scale: float) -> Scores:
    if not hasattr(model, "classes_"):
        d = model.predict_distribution(X)
        nll = density_losses(d, y, scale)
        return {"r2": (number_scores(d.mean.numpy(), y)["r2"], None), "nll": (float(nll.mean()), nll)}
    probs, codes = model.predict_proba(X).astype(float), np.searchsorted(model.classes_, y)
    loss = log_losses(probs, codes)
    return {"auc": (auc(probs, codes), None), "log_loss": (float(loss.mean()), loss)}
