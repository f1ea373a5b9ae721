"""The answer about an effect: beside the numbers, what shows whether the arms can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.effect import Arms, RectifiedEffect
from icl.inference.engine.problem import Problem
from icl.inference.engine.solve import Solver
from icl.inference.estimands.effect import Effect
from icl.inference.inputs.arms import effect_features, read_arms
from icl.inference.inputs.design import Design
from icl.inference.inputs.sample import Sample
from icl.inference.results.result import InferenceResult

if TYPE_CHECKING:
    import pandas as pd

UNBALANCED = 0.1
"""Standardised difference of a covariate between weighted arms beyond which they differ (Austin 2009)."""


@dataclass(frozen=True, repr=False, eq=False)
class EffectResult(InferenceResult):
    """An `InferenceResult` with the diagnostics of an `Effect`."""

    @property
    def arms(self) -> Arms:
        """Probabilities, weights and predictions of all rows, labeled first."""
        return self.problem.arms

    @property
    def arm_means(self) -> pd.DataFrame:
        """Mean outcome without and with treatment, for each term."""
        import pandas as pd

        answer = self._answer
        assert isinstance(answer, RectifiedEffect) and answer.means is not None
        return pd.DataFrame(answer.means.T, self.estimate.index, ["untreated", "treated"])

    def overlap(self) -> pd.DataFrame:
        """For each arm: rows with an outcome, the equal rows that these count for, and quantiles of P(treated)."""
        import pandas as pd

        arms, n = self.arms, self.n_labeled
        rows = []
        for a in (0, 1):
            own = arms.is_treated[:n] == bool(a)
            e = arms.probability[:n][own]
            low, middle, high = np.quantile(e, [0, 0.5, 1])
            rows.append([int(own.sum()), arms.worth(a, n), low, middle, high])
        columns = ["n", "n_effective", "p_min", "p_median", "p_max"]
        return pd.DataFrame(rows, pd.Index(["untreated", "treated"], name="arm"), columns)

    def balance(self) -> pd.DataFrame:
        """Standardised difference of each covariate between the arms, before and after weighting.

        In standard deviations of the unweighted arms, root of their mean variance: beyond .1 they differ.
        """
        import pandas as pd

        arms, n = self.arms, self.n_labeled
        if arms.covariates is None:
            return pd.DataFrame({"before": [], "after": []})
        X, T = arms.covariates[:n], arms.is_treated[:n]
        spread = np.sqrt((X[T].var(axis=0, ddof=1) + X[~T].var(axis=0, ddof=1)) / 2)
        h = [arms.share(a, n) for a in (0, 1)]
        size = [v.sum(axis=1) / v.sum() for v in h]
        before, after = X[T].mean(axis=0) - X[~T].mean(axis=0), size[1] @ X - size[0] @ X
        safe = np.where(spread > 0, spread, np.inf)
        return pd.DataFrame({"before": before / safe, "after": after / safe}, pd.Index(arms.names, name="covariate"))

    def e_value(self) -> pd.DataFrame:
        """How strong unmeasured confounding would have to be to explain an effect away, and its interval.

        On the scale of risk ratios: a confounder associated with treatment and outcome by a ratio of this size each,
        beyond the covariates, could do it; a weaker one could not. Differences of an outcome that is not 0 and 1 are
        turned into approximate ratios, exp(.91 d) with d in standard deviations of the outcome; a ratio of shares keeps
        the share of the untreated arm. 1 for an interval that holds zero. Not the e-value of a
        monitor, which is evidence.
        Source: VanderWeele & Ding (2017), doi:10.7326/M16-2607.
        """
        import pandas as pd

        y = self.problem.y
        interval = self.interval()
        values = []
        bases = self.arm_means["untreated"].to_numpy()
        for base, *ends in zip(bases, self.estimate, interval["lower"], interval["upper"], strict=True):
            is_share = bool(np.isin(y, (0, 1)).all()) and 0 < base < 1
            ratios = [max((base + d) / base, 1e-9) if is_share else float(np.exp(0.91 * d / y.std())) for d in ends]
            nearest = 1.0 if ends[1] <= 0 <= ends[2] else ratios[1] if ends[1] > 0 else ratios[2]
            values.append([evidence_value(ratios[0]), evidence_value(nearest)])
        return pd.DataFrame(values, self.estimate.index, ["estimate", "interval"])

    def plot_overlap(self, ax: Any = None) -> Any:
        """Histograms of the probability of treatment, treated rows upwards and untreated ones downwards."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6, 3))[1] if ax is None else ax
        e, T = self.arms.probability, self.arms.is_treated
        edges = np.linspace(0, 1, 41)
        for own, sign, color, name in ((T, 1, "tab:blue", "treated"), (~T, -1, "tab:grey", "untreated")):
            counts = np.histogram(e[own], edges)[0]
            ax.bar(edges[:-1], sign * counts, np.diff(edges), align="edge", color=color, label=name)
        ax.axhline(0, color="black", lw=1)
        ax.set(xlabel="estimated probability of treatment", ylabel="rows (untreated downwards)", xlim=(0, 1))
        ax.legend(frameon=False)
        return ax


def effect_findings(result: EffectResult) -> list[Diagnostic]:
    """Covariates that weighting leaves unbalanced, and how much hidden bias it would take to undo the answer."""
    found = []
    if not result.arms.is_randomised:
        after = result.balance()["after"].abs()
        guilty = after[after > UNBALANCED].sort_values(ascending=False)
        if len(guilty):
            names = ", ".join(f"{name} ({value:.2f})" for name, value in guilty.head(6).items())
            found.append(
                Diagnostic(
                    "unbalanced_arms",
                    f"weighted by the probabilities of treatment, the arms still differ by more than {UNBALANCED} "
                    f"standard deviations in {names}: the answer rests on the predictions there.",
                )
            )
        strongest = result.e_value()["interval"]
        words = ", ".join(f"{v:.2f}" for v in strongest)
        found.append(
            Diagnostic(
                "e_value",
                f"E-value of the interval: {words}. Unmeasured confounding associated with treatment and outcome by "
                "risk ratios of at least that, beyond the covariates, could explain the effect away (1: none is "
                "needed); result.e_value() has that of the estimate.",
            )
        )
    return found


def effect_diagnostics(solver: Solver) -> list[Diagnostic]:
    """Findings that need no result: one row that decides an arm."""
    arms, n = solver.problem.arms, len(solver.problem.y)
    heaviest = max(float(arms.share(a, n).max()) for a in (0, 1))
    if heaviest <= 0.25:
        return []
    return [
        Diagnostic(
            "heavy_row",
            f"one row has {heaviest:.0%} of the weight of its arm (or group); the interval rests on it.",
            "warning",
        )
    ]


def evidence_value(ratio: float) -> float:
    """The E-value of a risk ratio."""
    ratio = 1 / ratio if ratio < 1 else ratio
    return float(ratio + np.sqrt(ratio * (ratio - 1)))


def infer_effect(
    estimand: Effect,
    sample: Sample,
    y: np.ndarray,
    design: Design,
    models: tuple[Any, Any, Any, int, int, str | float],
    settings: tuple[str, str, float],
    notes: list[Diagnostic],
) -> EffectResult:
    """The answer about an effect: arms in place of a surrogate.

    Args:
        models: predictor, predictions, features, folds, seed and weight, as `infer` takes them.
        settings: std_error, reference, level.
    """
    predictor, predictions, features, folds, seed, weight = models
    if sample.stream is not None or design.strata is not None:
        raise ValueError("an Effect needs unlabeled= in memory, and no strata=; give the stratum as a covariate.")
    seen = effect_features(sample, estimand, features, design)
    drawn = design.resolve(sample, [*seen, estimand.treatment], folds, seed)
    X_labeled, X_unlabeled, columns = estimand.designs(sample.labeled, sample.unlabeled)
    groups = np.concatenate([X_labeled, X_unlabeled])
    asked = (predictor, predictions, seen, folds, seed)
    arms, surrogate, more = read_arms(estimand, sample, y, groups, design, drawn, *asked)
    std_error, reference, level = settings
    terms = estimand.parameters(columns)
    problem = Problem(
        estimand, terms, columns, y, X_labeled, X_unlabeled, surrogate, drawn.sampling, std_error, reference, seed=seed,
        arms=arms,
    )  # fmt: skip
    solver = Solver(problem)
    answer = solver.under(0.0 if surrogate is None else weight)
    source = "none" if surrogate is None else surrogate.source
    found = [*notes, *drawn.notes, *more, *effect_diagnostics(solver)]
    result = EffectResult.of(
        solver, answer, level=level, source=source, diagnostics=found, design=design, order=sample.order,
        inclusion=drawn.inclusion,
    )  # fmt: skip
    found.extend(effect_findings(result))
    return result
