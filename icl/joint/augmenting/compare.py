"""`icl.compare_augmentation`: does a model learn better from more rows? Paired nested cross-validation, and a verdict.

Every way of making rows meets the same folds, makes its rows of the learning rows alone, and is asked about the same
real rows. How many rows it makes is chosen inside the learning rows. Probabilities are put right for the changed shares
of the classes, so that log loss compares models and not shares.

Source:
    Interval of a difference over folds that share rows: Nadeau & Bengio (2003), doi:10.1023/A:1024068626366.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from icl.inference.checks import check_level
from icl.joint.augmenting.augment import METHODS, Rarest, augment, labelled_table, recalibrated
from icl.network.metrics import class_scores
from icl.pages.table import Row, Table

METRICS = {"log_loss": -1, "auc": 1, "accuracy": 1}
"""The metrics, and whether more is better (1) or worse (-1)."""
_INNER_FOLDS = 3


@dataclass(frozen=True, repr=False, eq=False)
class AugmentationComparison:
    """What `compare_augmentation` found.

    Attributes:
        verdict: the method to use; "none" unless a method is better beyond chance.
        frame: one row for each method: mean `log_loss`, `auc`, `accuracy`, and for the metric of the verdict the
            `gain` over no augmentation (positive is better), its `lower` and `upper`, `p_value` (Holm).
        scores: of every fold: method, fold, rows added, the metrics.
    """

    verdict: str
    frame: pd.DataFrame
    scores: pd.DataFrame
    metric: str
    level: float

    def to_table(self) -> Table:
        rows = []
        for name, row in self.frame.iterrows():
            gain = "" if name == "none" else f"{row['gain']:+.4f} [{row['lower']:+.4f}, {row['upper']:+.4f}]"
            p = "" if name == "none" else f"{row['p_value']:.3f}"
            cells = [str(name), *(f"{row[metric]:.4f}" for metric in METRICS), gain, p]
            rows.append(Row(cells, style="chosen" if name == self.verdict else ""))
        note = (
            f"Verdict: {self.verdict}. Gain in {self.metric} over none, positive is better; {self.level:.0%} intervals."
        )
        return Table("", ["rows made by", *METRICS, f"gain in {self.metric}", "p (Holm)"], rows, note=note)

    def __repr__(self) -> str:
        return self.to_table().to_text()


def compare_augmentation(
    model: Any,
    X: pd.DataFrame,
    y: Any,
    methods: Sequence[str] = METHODS,
    *,
    where: str | None = None,
    amounts: Sequence[float] = (0.5, 1.0),
    metric: str = "log_loss",
    folds: int = 5,
    repeats: int = 1,
    recalibrate: bool = True,
    level: float = 0.95,
    seed: int = 0,
    **options: Any,
) -> AugmentationComparison:
    """Does a classifier learn better if rows of a rare kind are added to those that it learns from?

    Args:
        model: a scikit-learn classifier with `predict_proba` that takes X as it is, gaps and levels included.
        X, y: labelled rows.
        methods: of `icl.augment`, beside none.
        where: the kind of rows to add, as for `icl.augment`; None is the rarest class.
        amounts: rows to add, as shares of what the rarest class lacks to the most frequent one; of several, each fold
            chooses by cross-validation of the rows it learns from.
        metric: of the verdict: "log_loss", "auc" or "accuracy".
        folds, repeats: of the outer cross-validation.
        recalibrate: whether probabilities are put right for the changed class shares.
        level: of the intervals, and of the verdict.
        seed: of folds and rows.
        **options: for `icl.augment` with method "icl", such as `orders=1`.

    Examples:
        >>> import icl, numpy as np, pandas as pd
        >>> from sklearn.linear_model import LogisticRegression
        >>> rng = np.random.default_rng(0)
        >>> X = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
        >>> y = X["a"] + rng.normal(size=200) > 1.5
        >>> icl.compare_augmentation(LogisticRegression(), X, y, ["mixup"], amounts=[1.0]).verdict
        'none'
    """
    table, target = labelled_table(X, y)
    check_level(level)
    for name, number, least in (("folds", folds, 2), ("repeats", repeats, 1)):
        if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {number!r}.")
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(map(repr, METRICS))}, got {metric!r}.")
    if not len(methods) or any(name not in METHODS for name in methods):
        raise ValueError(f"methods must be among {', '.join(map(repr, METHODS))}, got {list(methods) or 'none'}.")
    if not amounts or min(amounts) <= 0:
        raise ValueError(f"amounts must be positive shares such as (0.5, 1.0), got {amounts!r}.")
    X, y = table.drop(columns=target), table[target]
    classes = np.array(sorted(y.unique()))
    counts = y.value_counts()
    if len(classes) < 2 or counts.min() < 2 * folds:
        raise ValueError(
            f"the rarest class has {counts.min()} rows, which {folds} folds cannot share out; use fewer folds, at most "
            f"{max(counts.min() // 2, 2)}."
        )
    study = _Study(model, classes, where, recalibrate, metric, options)
    found = []
    for repeat in range(repeats):
        dealt = StratifiedKFold(folds, shuffle=True, random_state=seed + repeat).split(X, y)
        for fold, (learnt, asked) in enumerate(dealt):
            own = seed + 1000 * repeat + fold
            parts = X.iloc[learnt], y.iloc[learnt], X.iloc[asked], y.iloc[asked]
            for name in ("none", *methods):
                amount = study.amount(name, parts[0], parts[1], amounts, own)
                of_fold = study.scores(name, amount, parts, own)
                found.append({"method": name, "repeat": repeat, "fold": fold, "amount": amount, **of_fold})
    scores = pd.DataFrame(found)
    frame = gains(scores, methods, metric, level)
    better = frame.drop(index="none").query("gain > 0 and p_value < @risk", local_dict={"risk": 1 - level})
    verdict = "none" if better.empty else str(better["gain"].idxmax())
    return AugmentationComparison(verdict, frame, scores, metric, level)


@dataclass(frozen=True)
class _Study:
    model: Any
    classes: np.ndarray
    where: str | None
    recalibrate: bool
    metric: str
    options: dict[str, Any]

    def amount(self, name: str, X: pd.DataFrame, y: pd.Series, amounts: Sequence[float], seed: int) -> float:
        """The share that does best inside these rows."""
        if name == "none":
            return 0.0
        if len(amounts) == 1:
            return float(amounts[0])
        totals = np.zeros(len(amounts))
        for learnt, asked in StratifiedKFold(_INNER_FOLDS, shuffle=True, random_state=seed).split(X, y):
            parts = X.iloc[learnt], y.iloc[learnt], X.iloc[asked], y.iloc[asked]
            for k, amount in enumerate(amounts):
                totals[k] += METRICS[self.metric] * self.scores(name, amount, parts, seed)[self.metric]
        return float(amounts[int(totals.argmax())])

    def scores(self, name: str, amount: float, parts: tuple, seed: int) -> dict[str, float]:
        X, y, X_asked, y_asked = parts
        more = X.reset_index(drop=True), y.reset_index(drop=True)
        if name != "none":
            rows = max(round(amount * Rarest(y).n_lacking), 1)
            options = self.options if name == "icl" else {}
            more = augment(X, y, self.where, rows, name, seed, **options)
        fitted = clone(self.model).fit(*more)
        probs = np.zeros((len(X_asked), len(self.classes)))
        probs[:, np.searchsorted(self.classes, fitted.classes_)] = fitted.predict_proba(X_asked)
        if self.recalibrate and name != "none":
            shares = [np.array([(labels == c).sum() for c in self.classes]) for labels in (more[1], y)]
            probs = recalibrated(probs, np.maximum(shares[0], 1), shares[1])
        return class_scores(probs, np.searchsorted(self.classes, y_asked.to_numpy()))


def gains(scores: pd.DataFrame, methods: Sequence[str], metric: str, level: float) -> pd.DataFrame:
    """Means of every method, and the gain of each over none with its interval and p-value."""
    frame = scores.groupby("method", sort=False)[list(METRICS)].mean()
    wide = scores.pivot(index=["repeat", "fold"], columns="method", values=metric)
    n, folds = len(wide), scores["fold"].nunique()
    for name in methods:
        gain = METRICS[metric] * (wide[name] - wide["none"])
        # Learning rows are shared between folds: the plain variance over folds is too small.
        error = np.sqrt((1 / n + 1 / (folds - 1)) * gain.var(ddof=1))
        reach = student.ppf((1 + level) / 2, n - 1) * error
        frame.loc[name, ["gain", "lower", "upper"]] = gain.mean(), gain.mean() - reach, gain.mean() + reach
        frame.loc[name, "p_value"] = 2 * student.sf(abs(gain.mean()) / error, n - 1) if error > 0 else 1.0
    ordered = frame.loc[list(methods), "p_value"].sort_values(kind="stable")
    raised = np.maximum.accumulate(ordered.to_numpy() * np.arange(len(ordered), 0, -1))
    frame.loc[ordered.index, "p_value"] = np.minimum(raised, 1.0)
    return frame
