"""Paired differences to the full mixture, with intervals over tables and seeds.

The difference of a table is that of its log loss, or of its CRPS in standard deviations of the target, in per cent of
the full mixture's mean over the tables of this kind: so classes and numbers meet in one number, and every table counts
once. S seeds, T tables, V variants.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.ablation.ingredients import FULL

LOSS = {"clf": "logloss", "reg": "crps"}
N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Differences:
    """Loss of a variant minus that of the full mixture, in per cent; above 0 the change did harm.

    Attributes:
        tables: datasets in the order of the last axis.
        values: variant -> (S, T).
    """

    tables: pd.Index
    values: dict[str, np.ndarray]

    @classmethod
    def of(cls, scores: pd.DataFrame) -> Differences:
        loss = scores.logloss.where(scores.task == "clf", scores.crps)
        wide = scores.assign(loss=loss).pivot_table(index=["variant", "seed"], columns="dataset", values="loss")
        kind = scores.drop_duplicates("dataset").set_index("dataset").task.reindex(wide.columns)
        scale = wide.loc[FULL].mean().groupby(kind).transform("mean")
        names = [name for name in wide.index.unique("variant") if name != FULL]
        return cls(wide.columns, {v: (100 * (wide.loc[v] - wide.loc[FULL]) / scale).to_numpy() for v in names})

    def only(self, chosen: np.ndarray) -> Differences:
        """On these tables; `chosen`: (T,) bool."""
        return Differences(self.tables[chosen], {v: d_ST[:, chosen] for v, d_ST in self.values.items()})

    def means(self) -> dict[str, float]:
        return {variant: float(d_ST.mean()) for variant, d_ST in self.values.items()}

    def seed_spread(self) -> float:
        """Standard deviation of a variant's mean difference between seeds; pooled over the variants."""
        return float(np.sqrt(np.mean(self._seed_effects() ** 2)))

    def intervals(self, n_resamples: int = N_RESAMPLES, seed: int = 0) -> pd.DataFrame:
        """A row for each variant, from what helps to what harms: mean, 95% interval, and one for all V together.

        Tables are drawn with replacement. So are the seeds' deviations, out of those of all variants: two or three of
        one variant alone would say nothing about their spread. The interval `all_low` to `all_high` is Bonferroni's:
        with it, a false alarm anywhere in the table has a chance of at most 5%.
        """
        rng = np.random.default_rng(seed)
        pool, n_tables = self._seed_effects().ravel(), len(self.tables)
        share_NT = rng.multinomial(n_tables, np.full(n_tables, 1 / n_tables), n_resamples) / n_tables
        rows = {}
        for name, d_ST in self.values.items():
            of_seeds_N = pool[rng.integers(len(pool), size=(n_resamples, len(d_ST)))].mean(1)
            drawn = share_NT @ d_ST.mean(0) + of_seeds_N
            tail = 0.025 / len(self.values)
            low, high, all_low, all_high = np.quantile(drawn, [0.025, 0.975, tail, 1 - tail])
            rows[name] = {
                "mean": d_ST.mean(), "low": low, "high": high, "all_low": all_low, "all_high": all_high,
                "seeds": d_ST.mean(1),
            }  # fmt: skip
        return pd.DataFrame(rows).T.sort_values("mean", kind="stable")

    def _seed_effects(self) -> np.ndarray:
        """(V, S) deviations of the seeds' means, as wide as independent draws; 0 where there is one seed."""
        means_VS = np.array([d_ST.mean(1) for d_ST in self.values.values()])
        n_seeds = means_VS.shape[1]
        widened = np.sqrt(n_seeds / (n_seeds - 1)) if n_seeds > 1 else 0.0
        return widened * (means_VS - means_VS.mean(1, keepdims=True))
