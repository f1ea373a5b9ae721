"""One answer from the analyses of several completed tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.rubin import Pooled, pool
from icl.inference.inputs.completed import Completed
from icl.inference.results.composed import Composed
from icl.inference.results.result import InferenceResult

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.estimands import Estimand

# From here on the answer is more the imputation's than the data's.
HIGH_FRACTION = 0.5


class PooledResult(Composed):
    """Rubin's pooled answer; reads like an `InferenceResult`.

    Attributes:
        results: the answer of each completed table.
        pooled: estimates, within and between covariance, degrees of freedom (`icl.inference.engine.rubin.Pooled`).
    """

    def __init__(self, results: Sequence[InferenceResult], pooled: Pooled, diagnostics: list[Diagnostic]):
        super().__init__(results[0], pooled, diagnostics)
        self.results, self.pooled = results, pooled
        weights = np.mean([np.asarray(result.weight, dtype=float) for result in results], axis=0)
        self.weight = weights if weights.ndim else float(weights)

    @property
    def fraction_missing(self) -> pd.Series:
        """(P,) fraction of missing information: how much of what complete cells would tell is not there."""
        return self._series(self.pooled.fraction_missing, "fraction_missing")

    @property
    def n_effective(self) -> pd.Series:
        """(P,) labeled rows without gaps that would give the same standard error without predictions."""
        classical = np.mean([result.gain * result.std_error**2 for result in self.results], axis=0)
        return self._series(self.n_labeled * classical / np.diag(self.pooled.covariance), "n_effective")

    @property
    def more_facts(self) -> list[tuple[str, str]]:
        most = self.fraction_missing.max()
        return [("imputation", f"{self.pooled.m} completed tables; at most {most:.0%} of the information is missing")]

    @property
    def assumes_also(self) -> str:
        return "that cells are missing at random given those that are observed, and are drawn from a right model"

    def _combined(self, R: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Each combination pooled by itself, with its own share of missing information.
        each = [(R @ r.estimate.to_numpy(), R @ r.covariance.to_numpy() @ R.T) for r in self.results]
        pooled = pool(each, np.where(R != 0, _complete_df(self.results), np.inf).min(axis=1))
        return pooled.estimate, pooled.std_error, pooled.df

    def compare(self, level: float | None = None) -> pd.DataFrame:
        """Every method, each pooled over the completed tables; see `InferenceResult.compare`."""
        from icl.inference.results.comparison import Comparison

        level = self._at(level)
        frames = [result.compare(level) for result in self.results]
        first = frames[0]
        estimates, errors = (np.stack([f[name].to_numpy() for f in frames]) for name in ("estimate", "std_error"))
        terms = first.reset_index()["term"]
        df = terms.map(dict(zip(self.estimate.index, _complete_df(self.results), strict=True))).to_numpy(dtype=float)
        each = [(estimate, np.diag(error**2)) for estimate, error in zip(estimates, errors, strict=True)]
        pooled = pool(each, df)
        lower, upper = pooled.interval(level).T
        share = np.mean(errors**2, axis=0) / np.diag(pooled.covariance)
        out = Comparison(first.copy()).assign(
            estimate=pooled.estimate,
            std_error=pooled.std_error,
            lower=lower,
            upper=upper,
            weight=np.mean([f["weight"] for f in frames], axis=0),
            n_effective=np.mean([f["n_effective"] for f in frames], axis=0) * share,
        )
        out = Comparison(out)
        out.attrs.update(first.attrs)
        return out

    def to_frame(self, level: float | None = None, null: float = 0.0) -> pd.DataFrame:
        """One row for each term as of an `InferenceResult`, and the fraction of missing information."""
        frame = super().to_frame(level, null)
        frame.insert(7, "fraction.missing", self.pooled.fraction_missing)
        return frame

    def to_dict(self, level: float | None = None) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON."""
        return {**super().to_dict(level), "m": self.pooled.m}


def infer_pooled(
    analyse: Callable[[pd.DataFrame], InferenceResult], completed: Completed, estimand: Estimand, predicts: bool
) -> PooledResult:
    """Analyse each completed table and pool by Rubin's rules.

    Raises:
        ValueError: if the tables give answers about different terms.
    """
    results = [analyse(table) for table in completed.tables(estimand, predicts)]
    each = [(result.estimate, result.covariance.to_numpy()) for result in results]
    pooled = pool(each, _complete_df(results))
    notes = [*completed.notes(estimand, predicts), *_findings(pooled), *_common(results)]
    return PooledResult(results, pooled, notes)


def _complete_df(results: Sequence[InferenceResult]) -> np.ndarray:
    """(P,) degrees of freedom that the analysis has with no cell missing; the first, where tables differ in P."""
    if len({len(result.estimate) for result in results}) > 1:
        results = results[:1]
    return np.min([result.df_terms.to_numpy(dtype=float) for result in results], axis=0)


def _findings(pooled: Pooled) -> list[Diagnostic]:
    terms = pooled.terms or tuple(map(str, range(len(pooled.estimate))))
    high = {t: f for t, f in zip(terms, pooled.fraction_missing, strict=True) if f > HIGH_FRACTION}
    found = []
    if high:
        words = ", ".join(f"{term} {share:.0%}" for term, share in high.items())
        found.append(
            Diagnostic(
                "missing_information",
                f"more than half of the information is missing on {words}: the answer rests on the imputation more "
                "than on the data. Ask how it changes under impute(..., shift=...), icl.tipping_point, and beside it "
                "infer(..., missing='patterns'), which trusts no imputation.",
                "warning",
            )
        )
    most = float(pooled.fraction_missing.max())
    if pooled.m < 100 * most and most > 0.05:
        found.append(
            Diagnostic(
                "few_imputations",
                f"with m={pooled.m} tables another seed moves the ends of the interval visibly; "
                f"m={np.ceil(100 * most):g} (a table for each percent of missing information) makes them repeatable.",
            )
        )
    return found


def _common(results: Sequence[InferenceResult]) -> list[Diagnostic]:
    """Findings of the single analyses, each said once."""
    found: dict[str, tuple[Diagnostic, int]] = {}
    for result in results:
        for code in dict.fromkeys(d.code for d in result.diagnostics):
            first = next(d for d in result.diagnostics if d.code == code)
            found[code] = found.get(code, (first, 0))[0], found.get(code, (first, 0))[1] + 1
    return [
        d if n == len(results) else Diagnostic(d.code, f"in {n} of {len(results)} tables: {d.message}", d.severity)
        for d, n in found.values()
    ]
