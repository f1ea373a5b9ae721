"""Many groups that borrow from one another, and disparities between few."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from icl.inference import Disparity, Mean, infer, shrink_groups
from icl.inference.results.groups import critical_value


def groups(seed: int, J: int = 60, spread: float = 0.5, n: int = 6, N: int = 30) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    mu = spread * rng.normal(size=J)
    table = pd.DataFrame({"g": np.repeat([f"g{j:03}" for j in range(J)], n + N)})
    truth = np.repeat(mu, n + N)
    y = truth + rng.normal(size=len(table))
    table["f"] = truth + 0.3 + 0.7 * rng.normal(size=len(table))
    table["y"] = np.where(np.tile(np.arange(n + N) < n, J), y, np.nan)
    return table, mu


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
def test_shrunken_means_err_less_and_are_covered_on_average(spread):
    raw, shrunken, covered = 0.0, 0.0, []
    for seed in range(3):
        table, mu = groups(seed, spread=spread)
        found = shrink_groups(infer(Mean("y", by="g"), table, predictions="f"), level=0.9).frame
        raw += ((found["raw"] - mu) ** 2).sum()
        shrunken += ((found["estimate"] - mu) ** 2).sum()
        covered.append(((found["lower"] <= mu) & (mu <= found["upper"])).mean())
    assert shrunken < raw
    assert np.mean(covered) > 0.9 - 4 * np.sqrt(0.09 / 180)


def test_one_critical_value_without_bias_and_the_published_one():
    """Armstrong et al. (2022): as the bias vanishes it is the normal one; it grows with the bias."""
    assert_allclose(critical_value(0.0, 0.05), norm.isf(0.025), atol=1e-6)
    values = [critical_value(m2, 0.05) for m2 in (0, 0.1, 1, 4)]
    assert values == sorted(values) and values[-1] < np.sqrt(4 / 0.05) + 2


def test_predictions_that_track_the_groups_are_the_target_and_a_picture_shows_all():
    table, _ = groups(1, spread=1.0)
    found = shrink_groups(infer(Mean("y", by="g"), table, predictions="f"))
    assert found.toward == "predictions" and len(found.plot().collections) == 2
    plain = shrink_groups(infer(Mean("y", by="g"), table))
    assert plain.toward == "mean" and plain.spread > found.spread
    with pytest.raises(ValueError, match="at least 5 groups"):
        shrink_groups(infer(Mean("y"), table))


def decisions(seed: int, n: int = 300, N: int = 1500) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n + N, p=[0.45, 0.55])
    x = rng.normal(size=n + N) + 0.3 * (sex == "m")
    repaid = (rng.random(n + N) < 1 / (1 + np.exp(-1.5 * x))) * 1.0
    approved = (x + 0.5 * rng.normal(size=n + N) > 0.2 - 0.3 * (sex == "m")) * 1.0
    table = pd.DataFrame({"sex": sex, "x": x, "approved": approved, "repaid": repaid})
    table.loc[n:, "repaid"] = np.nan
    return table


@pytest.mark.parametrize("metric", ["equal opportunity", "false positive rate", "predictive parity", "accuracy"])
def test_labels_alone_give_the_rates_by_counting(metric):
    table = decisions(0, 600, 0)
    result = infer(Disparity("approved", "sex", metric, "repaid", versus="m"), table)
    rates = {}
    for g, part in table.groupby("sex"):
        d, y = part["approved"], part["repaid"]
        rates[g] = {
            "equal opportunity": d[y == 1].mean(), "false positive rate": d[y == 0].mean(),
            "predictive parity": y[d == 1].mean(), "accuracy": (d == y).mean(),
        }[metric]  # fmt: skip
    assert_allclose(result.estimate["sex=f - sex=m"], rates["f"] - rates["m"])


def test_disparities_cover_and_gain_from_predicted_outcomes():
    estimand = Disparity("approved", "sex", "equal opportunity", "repaid", versus="m")
    truth = infer(estimand, decisions(99, 200_000, 0)).estimate.iloc[0]
    hits, gain = 0, []
    for seed in range(24):
        result = infer(estimand, decisions(seed), predictor=LogisticRegression(), features=["x"], level=0.9)
        low, high = result.interval().to_numpy()[0]
        hits += low <= truth <= high
        gain.append(result.gain.iloc[0])
    assert abs(hits / 24 - 0.9) < 4 * np.sqrt(0.09 / 24) and np.mean(gain) > 1.2
    with pytest.raises(ValueError, match="needs outcome="):
        Disparity("approved", "sex", "equal opportunity")
