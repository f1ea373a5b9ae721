"""Pairs of `test_infer_guard_pairs` for effects and transport: what deserves a finding, and what does not."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from icl.inference import Effect, Mean, Transport


def arms(strength: float, seed: int = 0, n: int = 400) -> pd.DataFrame:
    """Treatment follows x by a logit of this slope."""
    rng = np.random.default_rng(seed)
    x, e = rng.normal(size=(2, n))
    t = (rng.random(n) < 1 / (1 + np.exp(-strength * x))) * 1
    return pd.DataFrame({"x": x, "t": t, "y": x + t + e})


def effect(table: pd.DataFrame, **options) -> dict:
    return {"estimand": Effect("y", "t", ["x"], **options), "table": table, "predictor": LinearRegression()}


def coin(share: float) -> dict:
    t = (np.arange(400) < 400 * share) * 1
    return effect(arms(0).assign(t=t), randomised=0.5)


def shifted(d: float) -> dict:
    rng = np.random.default_rng(0)
    x = rng.normal(size=900) + d * (np.arange(900) >= 300)
    table = pd.DataFrame({"x": x, "y": np.where(np.arange(900) < 300, x + rng.normal(size=900), np.nan)})
    return {"estimand": Mean("y"), "table": table, "predictor": LinearRegression(), "design": Transport()}


def rare_arm(p: float) -> pd.DataFrame:
    """One treated row that hardly ever would have been."""
    table = arms(0).assign(p=0.5)
    table.loc[7, ["t", "p"]] = [1, p]
    return table


class Flat:
    """A classifier that has learned nothing about the treatment."""

    classes_ = np.array([0, 1])

    def __init__(self):
        pass

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)


MORE = {
    "arm_overlap": (effect(arms(2.2)), effect(arms(0.5))),
    "trimmed": (effect(arms(1.0), where="trimmed"), effect(arms(1.0))),
    "assignment": (coin(0.62), coin(0.52)),
    "unbalanced_arms": (effect(arms(1.0), propensity=Flat()), effect(arms(1.0))),
    "e_value": (effect(arms(0.5)), effect(arms(0.0), randomised=0.5)),
    "heavy_row": tuple(effect(rare_arm(p), randomised="p") for p in (0.003, 0.2)),
    "combined_predictions": tuple(
        {"estimand": Mean("y"), "table": shifted(0)["table"].assign(f=lambda t: t.x, g=lambda t: t.x**2),
         "predictions": names} for names in (["f", "g"], "f")
    ),
    "transport_overlap": (shifted(1.0), shifted(0.2)),
}  # fmt: skip
