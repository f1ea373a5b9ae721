"""`posterior`: what a predictor believes of an estimand, and what is left of it after the labels have spoken.

A predictor that draws an outcome from the rows seen so far, again and again, ends in a population; the estimand of many
such populations is its posterior (a martingale posterior). It is right if the predictor's prior is. The one-step
correction adds to each draw the mean influence of the real rows, under the weights of a Bayesian bootstrap: what the
predictor gets wrong is taken out to first order, and intervals cover as the data allow.

Source:
    Fong, Holmes & Walker (2023), doi:10.1093/jrsssb/qkad005; with in-context models: arXiv:2510.25154; the correction:
    Yiu, Fong, Holmes & Rousseau (2023), arXiv:2306.06059; arXiv:2603.12037.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.analysis import infer
from icl.inference.checks import check_level
from icl.inference.engine.contributions import fit_on
from icl.inference.engine.problem import as_columns
from icl.inference.engine.rows import Rows
from icl.inference.estimands import Estimand
from icl.inference.estimands.reading import read_estimand
from icl.inference.frames import as_frame, require_columns, with_column

if TYPE_CHECKING:
    import pandas as pd

# Rolled rows for each real one.
_TIMES = 20
# Of the width of what was rolled, at least: a predictor without any doubt still leaves a picture.
_NARROWEST = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class Posterior:
    """What `posterior` returns.

    Attributes:
        draws: (B, P) corrected draws, a column for each term.
        believed: (B, P) the same before the correction: the predictor's own posterior.
        level: of the intervals by default.
    """

    estimand: Estimand
    draws: pd.DataFrame
    believed: pd.DataFrame
    level: float
    n_labeled: int

    def interval(self, level: float | None = None, corrected: bool = True) -> pd.DataFrame:
        """Equal-tailed credible interval of each term: columns lower, upper."""
        import pandas as pd

        tail = (1 - check_level(self.level if level is None else level)) / 2
        chosen = self.draws if corrected else self.believed
        # Of B draws, k / (B + 1) of the distribution lie below the k-th on average: other quantiles of 200 draws make
        # intervals of 90 % one part in forty too narrow.
        ends = np.quantile(chosen.to_numpy(), [tail, 1 - tail], axis=0, method="weibull")
        return pd.DataFrame({"lower": ends[0], "upper": ends[1]}, chosen.columns)

    def to_frame(self, level: float | None = None) -> pd.DataFrame:
        """A row for each term: mean and interval, corrected, and as the predictor believes."""
        parts: dict[str, Any] = {}
        for name, chosen in (("", self.draws), ("believed.", self.believed)):
            ends = self.interval(level, corrected=not name)
            parts |= {f"{name}mean": chosen.mean(), f"{name}low": ends["lower"], f"{name}high": ends["upper"]}
        import pandas as pd

        return pd.DataFrame(parts).rename_axis("term").reset_index()

    def __repr__(self) -> str:
        said = f"Posterior of {self.estimand}: {len(self.draws)} draws, {self.n_labeled} labeled rows"
        return f"{said}, {100 * self.level:g}% intervals\n{self.to_frame().round(4).to_string(index=False)}"

    def plot(self, term: str | None = None, ax: Any = None) -> Any:
        """Both posteriors of a term as histograms: the predictor's belief in grey, the corrected one in blue."""
        import matplotlib.pyplot as plt

        term = self.draws.columns[-1] if term is None else term
        ax = plt.subplots(figsize=(5, 3), layout="constrained")[1] if ax is None else ax
        edges = np.histogram_bin_edges(np.concatenate([self.draws[term], self.believed[term]]), bins=30)
        ax.hist(self.believed[term], edges, density=True, color="0.8", label="as the predictor believes")
        ax.hist(self.draws[term], edges, density=True, histtype="step", color="tab:blue", label="corrected")
        ax.set(xlabel=str(term), ylabel="density")
        ax.legend(frameon=False)
        return ax


def posterior(
    estimand: Estimand | str,
    table: Any,
    predictor: Any,
    *,
    draws: int = 200,
    rows: int | None = None,
    blocks: int = 1,
    features: Sequence[str] | None = None,
    seed: int = 0,
    level: float = 0.9,
) -> Posterior:
    """Posterior of an estimand by predictive resampling, and its one-step correction by the real labels.

    Args:
        estimand: one that is solved from scores, such as `Mean("y")` or "ols: y ~ x", with one outcome.
        table: labeled rows; `infer` is for tables with unlabeled ones.
        predictor: cloned and fitted on the rows so far for every block of every draw. It has `draw(X, rng)`, outcomes
            for all rows of X together; or `predict_distribution(X)` that can be sampled (`icl.ICLRegressor`), or
            `predict_proba(X)`.
        draws: from the posterior.
        rows: that are rolled in each draw, covariates taken from the table at random; default: 20 times the table's.
        blocks: in which they are rolled; the predictor is fitted anew before each. A predictor that draws rows
            independently knows too much about itself with one block: for such take ten or more.
        features: columns that the predictor sees; default: all but the outcome.
        seed: of all draws.
        level: of intervals.
    Raises:
        ValueError: for unlabeled rows, or an estimand that is not solved from scores.
    """
    import pandas as pd
    from sklearn.base import clone

    if isinstance(estimand, str):
        estimand = read_estimand(estimand, table=table)
    check_level(level)
    table = as_frame(table, "table").reset_index(drop=True)
    outcome = _outcome_of(estimand)
    require_columns(table, [outcome, *estimand.covariate_columns], "rows of table=", f"of {str(estimand)!r}")
    gaps = table[[outcome, *estimand.covariate_columns]].isna().sum()
    if gaps.any():
        where = ", ".join(f"{n} in {name!r}" for name, n in gaps[gaps > 0].items())
        raise ValueError(
            f"posterior got rows with gaps ({where}); it takes labeled rows with complete covariates only. Drop these "
            f"rows, or use infer(), which takes unlabeled ones too."
        )
    if blocks < 1 or draws < 2:
        raise ValueError(f"draws got {draws!r} and blocks {blocks!r}; pass at least 2 and 1.")
    seen = [name for name in table.columns if name != outcome] if features is None else list(features)
    given, n = table[seen], len(table)
    n_rolled = _TIMES * n if rows is None else rows
    if isinstance(n_rolled, bool) or not isinstance(n_rolled, Integral) or n_rolled < 1:
        raise ValueError(f"rows got {rows!r}; pass a whole number of at least 1.")
    real = infer(estimand, labeled=table)  # checked, and with levels and design of the real rows
    problem, own = real.problem, real.estimate.to_numpy()
    n_blocks = min(blocks, int(n_rolled))  # a predictor is not asked for no rows
    believed, corrected, sampling = [], [], []
    for b in range(draws):
        rng = np.random.default_rng([seed, b])
        places = rng.integers(n, size=n_rolled)
        rows_so_far, y = given, table[outcome]
        for k, part in enumerate(np.array_split(np.arange(n_rolled), n_blocks)):
            model = clone(predictor).fit(rows_so_far, y)
            new = given.take(places[part]).set_axis(part)
            y = pd.concat([y, pd.Series(_drawn(model, new, rng), name=outcome)], ignore_index=True)
            if k + 1 < n_blocks:
                rows_so_far = pd.concat([rows_so_far, new], ignore_index=True)
        whole = with_column(pd.concat([table, table.take(places)], ignore_index=True), outcome, y)
        X = np.concatenate([problem.X_labeled, problem.X_labeled[places]])
        Y = as_columns(problem.estimand.outcome(whole))
        fit = fit_on(problem, Rows(X, Y), "real and rolled")
        influence = len(whole) * fit.influence(Rows(X, Y))
        corrected.append(fit.estimate + rng.dirichlet(np.ones(n)) @ influence[:n])
        believed.append(fit.estimate + n / n_rolled * (fit.estimate - own))
        sampling.append((influence[n:] ** 2).mean(axis=0) / n_rolled)
    limit = _in_the_limit(np.array(believed), np.mean(sampling, axis=0))
    after, before = (pd.DataFrame(values, columns=problem.terms) for values in (np.array(corrected), limit))
    return Posterior(estimand, after, before, level, n)


def _in_the_limit(rolled: np.ndarray, sampling: np.ndarray) -> np.ndarray:
    """(B, P) estimates of rolled populations, real rows taken out, as if these were without end.

    Rows rolled on and on would leave only what the predictor does not know. So many rows add the variance with which an
    estimate scatters about the truth of its own population, (P,) `sampling`; draws are drawn in towards their mean.
    """
    mean, total = rolled.mean(axis=0), rolled.var(axis=0, ddof=1)
    left = 1 - np.divide(sampling, total, out=np.zeros_like(total), where=total > 0)
    return mean + np.sqrt(np.maximum(left, _NARROWEST**2)) * (rolled - mean)


def _outcome_of(estimand: Estimand) -> str:
    if estimand.solver != "scores" or len(estimand.outcome_columns) != 1:
        raise ValueError(
            f"posterior got {str(estimand)!r}; it takes an estimand of one outcome that is solved from scores: a mean, "
            "or a regression."
        )
    return estimand.outcome_columns[0]


def _drawn(model: Any, X: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """One outcome for each row."""
    if hasattr(model, "draw"):
        return np.asarray(model.draw(X, rng))
    if hasattr(model, "classes_"):
        cumulative = np.asarray(model.predict_proba(X)).cumsum(axis=1)
        place = (rng.random(len(X))[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
        return np.asarray(model.classes_)[place]
    if hasattr(model, "predict_distribution"):
        return np.asarray(model.predict_distribution(X).sample(1, random_state=rng)[0], dtype=float)
    raise ValueError(
        f"posterior got a {type(model).__name__}, which only predicts a number; it needs draws: give it a method "
        "draw(X, rng), or pass icl.ICLRegressor() or a classifier."
    )
