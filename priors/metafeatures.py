"""What a table looks like in a few dozen numbers, computed the same way for real and for synthetic tables.

Units are left out on purpose: a model standardises columns and target, so only what survives that can tell it
anything. All statistics are of one table: X (R, F) with NaN for missing cells and codes for categories.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Group -> name -> what it says, in the words of the report.
GROUPS = {
    "types": {
        "categorical": "share of columns flagged categorical",
        "binary": "share of columns with two values",
        "few_values": "share of columns with 3-20 values",
        "cardinality": "log2 of the largest cardinality among categorical columns",
    },
    "resolution": {
        "distinct": "median over numeric columns of distinct values per row",
        "mode": "mean over numeric columns of the commonest value's share",
        "y_distinct": "distinct values of the target per row",
        "y_mode": "share of the target's commonest value",
    },
    "shape": {
        "skew": "median over numeric columns of absolute skewness (log1p)",
        "skew_max": "largest absolute skewness of a numeric column (log1p)",
        "kurtosis": "median over numeric columns of excess kurtosis (signed log1p)",
        "outliers": "mean share of values beyond 3 interquartile ranges of the median",
    },
    "missing cells": {
        "missing": "share of missing cells",
        "missing_columns": "share of columns with missing cells",
    },
    "dependence": {
        "correlation": "mean absolute correlation between columns",
        "correlation_max": "largest absolute correlation between two columns",
        "top_eigenvalue": "share of variance of the correlation matrix's first eigenvalue",
        "rank": "effective rank of the correlation matrix over its size",
    },
    "target": {
        "majority": "share of the largest class",
        "class_entropy": "entropy of the classes over its maximum",
        "n_classes": "log2 of the number of classes",
        "y_skew": "absolute skewness of the target (log1p)",
        "y_kurtosis": "excess kurtosis of the target (signed log1p)",
    },
    "signal": {
        "best_column": "largest association of a column with the target",
        "associated": "share of columns associated with the target (beyond 3 standard errors)",
        "forest": "skill of a forest: share of the null model's error that it removes",
        "linear": "skill of a ridge or logistic regression",
        "gap": "skill of the forest minus skill of the linear model",
        "neighbours": "skill of 10 nearest neighbours",
    },
}
MEANING = {name: text for group in GROUPS.values() for name, text in group.items()}


def meta_features(
    X: np.ndarray, y: np.ndarray, is_categorical: np.ndarray, classify: bool, rng: np.random.Generator
) -> dict[str, float]:
    """One number per key of MEANING; NaN where a question has no answer for this table.

    Args:
        X: (R, F) floats, NaN missing.
        y: (R,) class numbers 0.., or floats.
        is_categorical: (F,) flags.
        classify: whether y is a class.
        rng: splits rows for the skills and seeds the forest.
    """
    import numpy as np

    columns = [X[~np.isnan(X[:, j]), j] for j in range(X.shape[1])]
    n_values = np.array([len(np.unique(c)) for c in columns])
    flags = np.asarray(is_categorical, bool)
    numeric = [c for c, flag, k in zip(columns, flags, n_values) if not flag and k > 2]
    out: dict[str, float] = dict.fromkeys(MEANING, np.nan)
    out |= {
        "categorical": flags.mean(),
        "binary": float((n_values == 2).mean()),
        "few_values": float(((n_values > 2) & (n_values <= 20)).mean()),
        "missing": float(np.isnan(X).mean()),
        "missing_columns": float(np.isnan(X).any(0).mean()),
    }
    if flags.any():
        out["cardinality"] = np.log2(max(1, n_values[flags].max()))
    if numeric:
        moments = np.array([_moments(c) for c in numeric])
        out |= {
            "distinct": np.median([len(np.unique(c)) / len(c) for c in numeric]),
            "mode": float(np.mean([_mode_share(c) for c in numeric])),
            "skew": np.log1p(np.median(np.abs(moments[:, 0]))),
            "skew_max": np.log1p(np.abs(moments[:, 0]).max()),
            "kurtosis": _signed_log(np.median(moments[:, 1])),
            "outliers": float(np.mean([_outliers(c) for c in numeric])),
        }
    filled = _filled(X)
    out |= _spectrum(filled) | _target(y, classify) | _association(filled, flags, y, classify)
    return {name: float(value) for name, value in (out | _skills(filled, flags, y, classify, rng)).items()}


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Skewness and excess kurtosis; 0 for constants."""
    centred = values - values.mean()
    variance = (centred**2).mean()
    if variance <= 1e-12 * max(1.0, float((values**2).mean())):
        return 0.0, 0.0
    return float((centred**3).mean() / variance**1.5), float((centred**4).mean() / variance**2 - 3)


def _signed_log(value: float) -> float:
    import numpy as np

    return float(np.sign(value) * np.log1p(abs(value)))


def _mode_share(values: np.ndarray) -> float:
    import numpy as np

    return float(np.unique(values, return_counts=True)[1].max() / len(values))


def _outliers(values: np.ndarray) -> float:
    import numpy as np

    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float((np.abs(values - middle) > 3 * (high - low)).mean()) if high > low else 0.0


def _filled(X: np.ndarray) -> np.ndarray:
    """Column medians for missing cells, then each column to mean 0 and standard deviation 1, clipped at 10."""
    import numpy as np

    empty = np.isnan(X).all(0)
    X = np.where(empty, 0.0, X)
    X = np.where(np.isnan(X), np.nanmedian(X, axis=0), X)
    std = X.std(0)
    return np.clip((X - X.mean(0)) / np.where(std > 1e-12, std, 1), -10, 10)


def _spectrum(Z: np.ndarray) -> dict[str, float]:
    import numpy as np

    Z = Z[:, Z.std(0) > 1e-9]
    if Z.shape[1] < 2:
        return {}
    corr = np.corrcoef(Z.T)
    values = np.clip(np.linalg.eigvalsh(corr), 1e-12, None)
    share = values / values.sum()
    away = np.abs(corr[np.triu_indices_from(corr, 1)])
    return {
        "correlation": away.mean(),
        "correlation_max": away.max(),
        "top_eigenvalue": share.max(),
        "rank": np.exp(-(share * np.log(share)).sum()) / len(share),
    }


def _target(y: np.ndarray, classify: bool) -> dict[str, float]:
    import numpy as np

    if not classify:
        skew, kurtosis = _moments(y)
        shape = {"y_skew": np.log1p(abs(skew)), "y_kurtosis": _signed_log(kurtosis)}
        return shape | {"y_distinct": len(np.unique(y)) / len(y), "y_mode": _mode_share(y)}
    share = np.unique(y, return_counts=True)[1] / len(y)
    entropy = -(share * np.log(share)).sum() / np.log(max(2, len(share)))
    return {"majority": share.max(), "class_entropy": entropy, "n_classes": np.log2(len(share))}


def _association(Z: np.ndarray, flags: np.ndarray, y: np.ndarray, classify: bool) -> dict[str, float]:
    """Correlation ratio of each categorical column or class target; rank correlation of two numbers."""
    import numpy as np

    def ranks(v: np.ndarray) -> np.ndarray:
        return np.unique(v, return_inverse=True)[1].astype(float)

    def ratio(groups: np.ndarray, values: np.ndarray) -> float:
        """Share of the variance of `values` between groups, less what chance gives."""
        codes = np.unique(groups, return_inverse=True)[1]
        n, k = np.bincount(codes), codes.max() + 1
        between = (n * (np.bincount(codes, values) / n - values.mean()) ** 2).sum() / max(
            (values.var() * len(values)), 1e-12
        )
        return max(0.0, between - (k - 1) / max(len(values) - 1, 1))

    strength = []
    for z, flag in zip(Z.T, flags):
        if classify:
            groups, values = (y, ranks(z)) if not flag else (z, (y == np.bincount(y).argmax()).astype(float))
            strength.append(np.sqrt(ratio(groups, values)))
        elif flag:
            strength.append(np.sqrt(ratio(z, ranks(y))))
        else:
            pair = np.stack([ranks(z), ranks(y)])
            strength.append(abs(np.corrcoef(pair)[0, 1]) if pair.std(1).min() > 0 else 0.0)
    return {"best_column": max(strength), "associated": float(np.mean(np.array(strength) > 3 / np.sqrt(len(y))))}


def _skills(
    Z: np.ndarray, flags: np.ndarray, y: np.ndarray, classify: bool, rng: np.random.Generator
) -> dict[str, float]:
    """Skills on the 40 % of the rows that were held out."""
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    order = rng.permutation(len(y))
    fit, test = order[: int(0.6 * len(y))], order[int(0.6 * len(y)) :]
    linear_X = np.concatenate([Z] + [_indicators(z) for z in Z.T[flags]], 1)
    options = {"n_estimators": 30, "min_samples_leaf": 2, "random_state": int(rng.integers(2**31)), "n_jobs": 1}
    neighbours = {"n_neighbors": min(10, len(fit))}
    if classify:
        if len(np.unique(y[fit])) < 2:
            return {}
        linear = LogisticRegression(C=1.0, max_iter=1_000, tol=1e-3)
        models = (RandomForestClassifier(**options), linear, KNeighborsClassifier(**neighbours))
        null = 1 - (y[test] == np.bincount(y[fit]).argmax()).mean()
    else:
        models = (RandomForestRegressor(**options, max_features=0.5), Ridge(1.0), KNeighborsRegressor(**neighbours))
        # Skills are of the target's ranks: a squared error of heavy tails is ruled by a row or two.
        y = np.searchsorted(np.sort(y[fit]), y, side="left") / len(fit)
        null = ((y[test] - y[fit].mean()) ** 2).mean()
    if null < 1e-9:
        return {}
    skills = []
    for model, features in zip(models, (Z, linear_X, Z)):
        with warnings.catch_warnings():
            # A logistic regression that stops early still has a skill, and that is what is asked.
            warnings.simplefilter("ignore", ConvergenceWarning)
            answer = model.fit(features[fit], y[fit]).predict(features[test])
        error = (answer != y[test]).mean() if classify else ((answer - y[test]) ** 2).mean()
        skills.append(max(-0.5, 1 - error / null))
    forest, linear, near = skills
    return {"forest": forest, "linear": linear, "gap": forest - linear, "neighbours": near}


def _indicators(z: np.ndarray, limit: int = 12) -> np.ndarray:
    """0/1 columns of the commonest levels."""
    import numpy as np

    levels, counts = np.unique(z, return_counts=True)
    return (z[:, None] == levels[np.argsort(-counts)[:limit]]).astype(float)
