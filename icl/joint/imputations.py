"""The m completed tables: to iterate over, to pool analyses of, to look at."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from icl.inference.engine.rubin import Pooled, pool
from icl.joint.chains import Drawn
from icl.joint.layout import Layout
from icl.tables.strays import strays_beside

# Above this chains have not come to agree (Gelman-Rubin, split chains).
R_HAT_LIMIT = 1.1


@dataclass(frozen=True, repr=False, eq=False)
class Imputations:
    """What `icl.impute` returns.

    Attributes:
        table: as it came, with its gaps.
        m, seed, shift, keep: as asked.
        seconds: that it took.
    """

    table: pd.DataFrame
    layout: Layout
    drawn: Drawn
    m: int
    seed: int
    shift: Mapping[Hashable, Any]
    keep: tuple[Hashable, ...]
    seconds: float

    def __len__(self) -> int:
        return self.m

    def __getitem__(self, i: int) -> pd.DataFrame:
        """The completed table number i, in the row order, index and dtypes of `table`."""
        if not -self.m <= i < self.m:
            raise IndexError(f"there are {self.m} completed tables, 0 to {self.m - 1}; got {i}.")
        return self._completed({j: values[i] for j, values in self.drawn.values.items()})

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return (self[i] for i in range(self.m))

    def __repr__(self) -> str:
        names = {j: self.table.columns[j] for j in self.layout.incomplete if self.table.columns[j] not in self.keep}
        counts = {name: int(self.layout.missing[:, j].sum()) for j, name in names.items()}
        gaps = ", ".join(f"{name!r} {n}" for name, n in list(counts.items())[:6])
        more = f" and {len(counts) - 6} more columns" if len(counts) > 6 else ""
        rows, columns = self.table.shape
        return f"Imputations: {self.m} completed tables of {rows} rows and {columns} columns; drawn: {gaps}{more}"

    @property
    def imputed(self) -> pd.DataFrame:
        """Which cells were filled, a table of booleans."""
        filled = self.layout.missing.copy()
        filled[:, self.table.columns.isin(self.keep)] = False
        return pd.DataFrame(filled, self.table.index, self.table.columns)

    @property
    def drawn_outcomes(self) -> dict[Hashable, int]:
        """Cells that were filled, by column: what an analysis may want to know of its outcome."""
        counts = self.imputed.sum()
        return {name: int(n) for name, n in counts.items() if n}

    @property
    def unimputed_rows(self) -> pd.Index:
        """Names of the rows that show nothing, and stay as they are."""
        return self.table.index[self.layout.empty_rows]

    @property
    def unimputed_columns(self) -> dict[Hashable, str]:
        """Columns whose gaps stay, and why."""
        return dict(self.layout.left)

    @property
    def models(self) -> dict[Hashable, str]:
        """What drew each column: "network", or "quick" beyond the budget."""
        return {self.table.columns[j]: model for j, model in self.layout.models.items()}

    def to_frame(self) -> pd.DataFrame:
        """All completed tables under one another, with the number of the table as the first level of the index."""
        return pd.concat(list(self), keys=range(self.m), names=["imputation", *self.table.index.names])

    def mean(self) -> pd.DataFrame:
        """One table, each gap filled by the mean of its draws in the later half of the rounds, or the likeliest level.

        To look at or predict from, never to estimate from: it holds less spread than there is.
        """
        filled = {}
        for j, guess in self.drawn.guess.items():
            kind = self.layout.kinds[j]
            filled[j] = kind.snap(guess) if kind.levels is None else guess.argmax(axis=1).astype(np.float64)
        return self._completed(filled)

    def combine(self, analyse: Callable[[pd.DataFrame], Any], df: float = np.inf) -> Pooled:
        """Any analysis of one table, done with every table and pooled by Rubin's rules.

        Args:
            analyse: takes a completed table, returns (estimates, covariance or standard errors), or an object with
                `params` and `cov_params()`, as statsmodels and `infer` give.
            df: degrees of freedom that the analysis would have with no cell missing; "residual" ones, n - P. Read off
                `df_resid` of what `analyse` returns if it is not given.

        Examples:
            >>> import icl, numpy as np, pandas as pd
            >>> rng = np.random.default_rng(0)
            >>> table = pd.DataFrame({"x": rng.normal(size=50)}).assign(y=lambda t: t["x"] + rng.normal(size=50))
            >>> table.loc[:9, "x"] = np.nan
            >>> pooled = icl.impute(table, m=3).combine(lambda t: (t["x"].mean(), t["x"].sem()), df=49)
            >>> pooled.estimate.shape, bool(pooled.fraction_missing[0] < 0.9)
            ((1,), True)
        """
        return pool([analyse(table) for table in self], df)

    def r_hat(self) -> pd.Series:
        """Of each incomplete column, whether chains agree: 1 if they do, above 1.1 if they need more rounds.

        Of the means and of the spreads of what chains drew in the later half of the rounds, the larger one; NaN with
        fewer than four rounds, which are enough where one column has gaps.
        """
        values = {}
        for j in self.layout.incomplete:
            trace = self.drawn.trace[j]
            later = trace[len(trace) // 2 :]
            values[self.table.columns[j]] = max(_r_hat(later[..., k]) for k in (0, 1)) if len(trace) >= 4 else np.nan
        return pd.Series(values, name="r_hat", dtype=np.float64)

    def _chance_of_r_hat(self) -> pd.Series:
        """Of each column, the chance that chains that do agree differ as much as these do: few rounds say little."""
        n = len(next(iter(self.drawn.trace.values()))) if self.drawn.trace else 0
        n -= n // 2
        ratio = (self.r_hat() ** 2 - (n - 1) / max(n, 1)) * n
        return pd.Series(stats.f.sf(ratio, self.m - 1, self.m * max(n - 1, 1)), ratio.index)

    def _apart(self) -> pd.Series:
        """R-hat of the columns on which chains disagree by more than chance."""
        r_hat = self.r_hat()
        return r_hat[(r_hat > R_HAT_LIMIT) & (self._chance_of_r_hat() < 1e-3)]

    def agreement(self) -> str:
        """A sentence: whether chains agree, by `r_hat`; empty where there are too few rounds to tell."""
        r_hat = self.r_hat().dropna()
        if not len(r_hat):
            return ""
        if len(apart := self._apart()):
            return f"chains disagree on {len(apart)} of {len(r_hat)} columns (R-hat up to {apart.max():.2f})"
        if r_hat.max() > R_HAT_LIMIT:
            return f"too few rounds to tell whether chains agree (R-hat up to {r_hat.max():.2f}; pass more rounds=)"
        return f"chains agree (R-hat at most {r_hat.max():.2f})"

    def notes(self) -> list[str]:
        """What to know before using the tables; empty if nothing."""
        said = []
        if len(self.unimputed_rows):
            names = ", ".join(map(str, self.unimputed_rows[:8])) + (", ..." if len(self.unimputed_rows) > 8 else "")
            said.append(f"{len(self.unimputed_rows)} rows show no cell at all and stay as they are: {names}.")
        left = [f"{name!r} ({why})" for name, why in self.layout.left.items() if name not in self.keep]
        if left:
            said.append(f"gaps stay in {', '.join(left)}.")
        said += self.stray_notes()
        if len(apart := self._apart()):
            names = ", ".join(f"{name!r} ({value:.2f})" for name, value in apart.items())
            said.append(f"chains do not agree on {names} (R-hat above {R_HAT_LIMIT}); pass more rounds=.")
        return said

    def stray_notes(self) -> list[str]:
        """A sentence for each column that holds numbers far from all its others, which no other column tells apart."""
        return [self._stray(j) for j, kind in self.layout.kinds.items() if not kind.is_class and self._strays(j).any()]

    def _strays(self, j: int) -> np.ndarray:
        numbers = self.layout.kinds[j].numbers(self.table.iloc[:, j])
        rows = np.flatnonzero(np.isfinite(numbers))
        found = np.zeros(len(numbers), dtype=bool)
        found[rows] = strays_beside(self.table.iloc[rows, [k for k in self.layout.kinds if k != j]], numbers[rows])
        return found

    def _stray(self, j: int) -> str:
        counts = self.table.iloc[:, j][self._strays(j)].value_counts()
        cells = [f"{cell} in {n} rows" if n > 1 else f"{cell}" for cell, n in list(counts.items())[:4]]
        more = [f"{len(counts) - 4} more"] if len(counts) > 4 else []
        drawn = "; such numbers are drawn as often as they were seen" if j in self.layout.incomplete else ""
        return (
            f"column {self.table.columns[j]!r} holds {', '.join([*cells, *more])}, far from all its other numbers"
            f"{drawn}. Make missing before what is an error, or stands for something else."
        )

    def plot_trace(self, column: Hashable, ax: Any = None) -> Any:
        """Mean of what each chain drew, round by round: lines should mix and have no trend."""
        from icl.pages.chains import plot_trace

        j = self._position(column)
        return plot_trace(self.layout.kinds[j].measured(self.drawn.trace[j][..., 0]), column, ax)

    def plot_density(self, column: Hashable, ax: Any = None) -> Any:
        """What was observed and what was drawn, in one picture; they may differ, but for a reason."""
        from icl.pages.chains import plot_bars, plot_density

        j = self._position(column)
        kind = self.layout.kinds[j]
        seen = kind.numbers(self.table[column])
        seen, drawn = seen[~np.isnan(seen)], self.drawn.values[j]
        if kind.levels is None:
            return plot_density(kind.measured(seen), kind.measured(drawn), column, ax)
        return plot_bars(seen, drawn, [str(level) for level in kind.levels], column, ax)

    def _position(self, column: Hashable) -> int:
        names = {self.table.columns[j]: j for j in self.layout.incomplete}
        if column not in names:
            raise ValueError(f"no cell of {column!r} was drawn; columns that were are {list(names)}.")
        return names[column]

    def _completed(self, filled: Mapping[int, np.ndarray]) -> pd.DataFrame:
        columns = {}
        for j, name in enumerate(self.table.columns):
            cells = self.table.iloc[:, j]
            if j in filled and name not in self.keep:
                kind = self.layout.kinds[j]
                numbers = kind.numbers(cells)
                gaps = self.layout.missing[:, j]
                numbers[gaps] = filled[j]
                whole = kind.cells(numbers, self.table.index)
                # Observed cells stay what they were, to the bit.
                cells = kind.typed(cells.astype(whole.dtype).where(~gaps, whole), bool(whole.notna().all()))
            columns[name] = cells
        return pd.DataFrame(columns, index=self.table.index, columns=self.table.columns)


def _r_hat(chains_TM: np.ndarray) -> float:
    """Potential scale reduction of m chains of T rounds each."""
    n = len(chains_TM)
    chains_TM = chains_TM / max(np.abs(chains_TM).max(), np.finfo(float).tiny)
    within = chains_TM.var(axis=0, ddof=1).mean()
    between = n * chains_TM.mean(axis=0).var(ddof=1)
    if not within > 0:
        return 1.0 if not between > 0 else np.inf
    return float(np.sqrt((n - 1) / n + between / within / n))
