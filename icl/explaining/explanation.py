"""What explains predictions, in a form that tables, pictures and the `shap` package take.

Dimension key: M rows, F columns of the table, C outputs (one for a number, the classes for a classifier).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True, repr=False)
class Explanation:
    """Shapley values of predictions; `values`, `base_values`, `data` and `feature_names` are named as in `shap`.

    Attributes:
        values: (M, F), or (M, F, C) for a classifier: what each column adds to the prediction, in its units.
        base_values: (M,) or (M, C): the prediction if no column is known.
        predictions: as `base_values`: with all columns, `base_values` plus the sum of `values`.
        std_errors: like `values`: of sampling orders of columns; 0 where values are exact.
        data: (M, F) the rows.
        output_names: classes; None for a number.
        is_exact: whether all coalitions of columns were asked for.
    """

    values: np.ndarray
    base_values: np.ndarray
    predictions: np.ndarray
    std_errors: np.ndarray
    data: pd.DataFrame
    output_names: list | None
    is_exact: bool
    n_coalitions: int

    @property
    def feature_names(self) -> list[str]:
        return [str(name) for name in self.data.columns]

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        how = "exact" if self.is_exact else f"sampled, standard errors up to {self.std_errors.max(initial=0):.2g}"
        most = ", ".join(f"{name} {value:.3g}" for name, value in self.importance()["importance"].head(3).items())
        rows = f"{len(self)} row{'' if len(self) == 1 else 's'}"
        return f"Explanation of {rows} by {self.data.shape[1]} columns ({how}); mean sizes: {most}"

    def of(self, output: Any = None) -> Explanation:
        """For one output only.

        Args:
            output: a class; default: the last one, which of two is the event.
        """
        if self.output_names is None:
            return self
        names = list(self.output_names)
        if output is not None and output not in names:
            raise ValueError(f"output must be one of the classes {names}, got {output!r}.")
        at = len(names) - 1 if output is None else names.index(output)
        parts = (self.values[..., at], self.base_values[:, at], self.predictions[:, at], self.std_errors[..., at])
        return Explanation(*parts, self.data, None, self.is_exact, self.n_coalitions)

    def importance(self, output: Any = None) -> pd.DataFrame:
        """Columns by the mean size of their values over the rows, largest first.

        The column `std_error` says how much that mean varies between rows. Of a classifier the sizes are summed over
        classes, unless `output` names one.
        """
        sizes = np.abs(self.values if output is None else self.of(output).values)
        if sizes.ndim == 3:
            sizes = sizes.sum(2) / 2  # what one class gains others lose
        n = len(sizes)
        error = sizes.std(0, ddof=1) / np.sqrt(n) if n > 1 else np.full(sizes.shape[1], np.nan)
        found = pd.DataFrame({"importance": sizes.mean(0), "std_error": error}, index=self.data.columns)
        return found.sort_values("importance", ascending=False, kind="stable")

    def to_frame(self, row: int = 0, output: Any = None) -> pd.DataFrame:
        """One row's columns, largest value first: what the cell holds, what it adds, and the error of that.

        Of a classifier the columns are named "of CLASS": to the probability of that class.
        """
        one = self.of(output)
        found = pd.DataFrame(
            {
                "cell": self.data.iloc[row].to_numpy(dtype=object),
                "value": one.values[row],
                "std_error": one.std_errors[row],
            },
            index=self.data.columns,
        )
        if self.output_names is not None:
            found = found.rename_axis(columns=f"of {self.output_names[-1] if output is None else output}")
        return found.reindex(found["value"].abs().sort_values(ascending=False, kind="stable").index)

    def plot(self, ax: Any = None, row: int | None = None, output: Any = None, most: int = 12) -> Any:
        """Bars: of one row what each column adds, or of all rows the mean size."""
        from icl.pages.explained import plot_contributions

        if row is None:
            found = self.importance(output).head(most)
            values, errors, unit = found["importance"], found["std_error"].fillna(0.0), "mean size of what it adds"
        else:
            found = self.to_frame(row, output).head(most)
            values, errors = found["value"], found["std_error"]
            unit = f"what it adds to {float(self.of(output).base_values[row]):.3g}, the answer without any column"
            found = found.set_axis([f"{name} = {_cell(c)}" for name, c in found["cell"].items()], axis=0)
        return plot_contributions([str(name) for name in found.index], values.to_numpy(), errors.to_numpy(), ax, unit)

    def to_shap(self) -> Any:
        """The same as a `shap.Explanation`, for the plots of that package, which must be installed."""
        try:
            import shap
        except ImportError as error:
            raise ImportError("to_shap needs the package shap: pip install shap.") from error
        return shap.Explanation(
            values=self.values,
            base_values=self.base_values,
            data=self.data.to_numpy(),
            feature_names=self.feature_names,
            output_names=None if self.output_names is None else [str(name) for name in self.output_names],
        )


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 20 else text[:19] + "…"


@dataclass(frozen=True, repr=False)
class Dependence:
    """How the average prediction depends on one column.

    Attributes:
        column: which.
        frame: one row a grid value: `value`, `average`, `lower`, `upper` (the band), and `low_rows`, `high_rows`
            between which the curves of nine rows in ten lie.
        output: of which class the probability is; None for a number.
        coverage: nominal, of the band; None without one.
    """

    column: Any
    frame: pd.DataFrame
    output: Any
    coverage: float | None

    def __repr__(self) -> str:
        what = "prediction" if self.output is None else f"probability of {self.output!r}"
        return f"average {what} by {self.column}:\n{self.frame.to_string(index=False, float_format='{:.4g}'.format)}"

    def plot(self, ax: Any = None) -> Any:
        """Average, its band, and dotted where single rows lie."""
        from icl.pages.explained import plot_dependence

        f = self.frame
        band = None if self.coverage is None else (f["lower"].to_numpy(), f["upper"].to_numpy())
        what = "average prediction" if self.output is None else f"average probability of {self.output}"
        rows = (f["low_rows"].to_numpy(), f["high_rows"].to_numpy())
        return plot_dependence(f["value"].to_numpy(), f["average"].to_numpy(), band, rows, ax, str(self.column), what)
