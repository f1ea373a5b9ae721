"""Several predictions of one outcome become one: the linear combination that says most about it, learned out of fold.

With F the K predictions of a row, in deviations of all rows, the best weights for a mean are Var(F)^-1 Cov(F, y), the
variance from all rows, labeled or not, and the covariance from labeled ones. Ridge regression with these moments,

    b = (R + lambda I)^-1 c,   R the correlation of the predictions, c their covariance with y,

holds back what few labels cannot tell: lambda is the best of a grid by its error on rows that were left out. Each
labeled row is combined by weights from the other folds, so that the combination is a prediction that has not seen the
label, and everything that holds for one prediction holds for it: how much of it enters is decided afterwards, shrunk.

Source: the optimal weight of several predictions, arXiv:2509.21707, W = N / (n + N) Cov(Y, F) Var(F)^-1, for n far
above K; the ridge and the folds are what makes it safe at n = 30 (benchmarks/estimands.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.surrogate import Surrogate
from icl.inference.estimands import Estimand
from icl.inference.inputs.folds import deal

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
MOST_FOLDS = 20


def are_several(estimand: Estimand, predictor: Any, predictions: Any) -> bool:
    """Whether one outcome has several predictions, or predictors."""
    if isinstance(predictor, (list, tuple)):
        return True
    one_outcome = estimand.n_responses == 1 and estimand.surrogate != "classes"
    return one_outcome and isinstance(predictions, list) and len(predictions) > 1


def combine(
    y: np.ndarray,
    parts: Sequence[Surrogate],
    names: Sequence[str],
    seed: int,
    *,
    groups: np.ndarray | None = None,
    groups_unlabeled: np.ndarray | None = None,
    bounds: tuple[float, float] | None = None,
) -> tuple[Surrogate, list[Diagnostic]]:
    """One prediction of each row, and the weights as a note.

    Args:
        parts: of each prediction, labeled (n,) and unlabeled (N,).
        groups, groups_unlabeled: as in `cross_fit`.
        bounds: of what a prediction may be, as a probability.
    """
    L, U = (np.column_stack([getattr(p, side) for p in parts]) for side in ("f_labeled", "f_unlabeled"))
    n, N, K = len(y), len(U), L.shape[1]
    everyone = np.vstack([L, U])
    center, spread = everyone.mean(axis=0), everyone.std(axis=0)
    spread = np.where(spread > 1e-12 * np.maximum(np.abs(center), 1e-300), spread, np.inf)
    z_L, z_U = (L - center) / spread, (U - center) / spread
    R = (z_L.T @ z_L + z_U.T @ z_U) / (n + N)
    most = n if groups is None else len(np.unique(groups))
    folds = deal(n, N, min(MOST_FOLDS, most), seed, groups=groups, groups_unlabeled=groups_unlabeled)
    # All of them, with every ridge, and each by itself.
    plans = [(np.arange(K), ridge) for ridge in RIDGES] + [(np.array([k]), RIDGES[0]) for k in range(K)]
    held = np.empty((len(plans), n))
    kept: list[list[tuple[float, np.ndarray]]] = [[] for _ in plans]
    for _, out in folds:
        for r, plan in enumerate(plans):
            weights = _weights(y[~out], z_L[~out], R, *plan)
            kept[r].append(weights)
            held[r, out] = weights[0] + z_L[out] @ weights[1]
    best = _choose((y - held) ** 2, len(RIDGES))
    by_model = np.array([mean + z_U @ b for mean, b in kept[best]])
    f_labeled, f_unlabeled = held[best], (folds.share * by_model).sum(axis=0)
    if bounds is not None:
        f_labeled, f_unlabeled, by_model = (np.clip(v, *bounds) for v in (f_labeled, f_unlabeled, by_model))
    by_fold = folds.of_row, np.where(folds.share > 0, by_model, np.nan)
    used, ridge = plans[best]
    _, b = _weights(y, z_L, R, used, ridge)
    told = ", ".join(f"{name} {w:.3g}" for name, w in zip(names, b / spread, strict=True))
    note = Diagnostic(
        "combined_predictions",
        f"{K} predictions were combined into one, in units of each: {told} (ridge {ridge:g}, chosen on rows "
        "that were left out); result.compare() is about the combination.",
    )
    source = f"{' + '.join(names)}, combined out of fold"
    return Surrogate(f_labeled, f_unlabeled, source, by_fold=by_fold, is_cross_fitted=True), [note]


def _choose(errors: np.ndarray, n_joint: int) -> int:
    """The plan with the smallest squared errors (plans, n); all together only if they beat the best single one by half
    a standard error of the difference: at n = 30, two useless companions of a good prediction then cost 4% of the
    width in place of 10."""
    joint = int(errors[:n_joint].sum(axis=1).argmin())
    single = n_joint + int(errors[n_joint:].sum(axis=1).argmin())
    gain = errors[single] - errors[joint]
    return joint if gain.sum() > 0.5 * np.sqrt(len(gain)) * gain.std() else single


def _weights(y: np.ndarray, z: np.ndarray, R: np.ndarray, used: np.ndarray, ridge: float) -> tuple[float, np.ndarray]:
    """Mean of y where all predictions are average, and weights of standardised predictions; 0 for those not used."""
    centered = (z - z.mean(axis=0))[:, used]
    c = centered.T @ (y - y.mean()) / len(y)
    # All rows know the variance best; that of labeled rows fits their covariance, and outliers among them.
    own, share = centered.T @ centered / len(y), len(y) / (len(y) + 100.0)
    total = R[np.ix_(used, used)] * (1 - share) + own * share
    b = np.zeros(z.shape[1])
    b[used] = np.linalg.solve(total + ridge * np.eye(len(used)) / np.sqrt(len(y)), c)
    return float(y.mean() - z.mean(axis=0) @ b), b
