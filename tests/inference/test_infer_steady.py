"""A tuned weight along unequal probabilities: oracles for its slopes, what leaves it alone, and coverage."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from icl.inference import OLS, Design, Logistic, Mean, Poisson, infer
from icl.inference.engine.steady import _log_probability, _slopes_given, slopes_of, steady
from icl.inference.engine.weights import decide_weight

LEVEL = 0.90


def draw(seed: int, low: float = 0.005, high: float = 0.5, n_rows: int = 600) -> pd.DataFrame:
    """Probabilities of being labeled rise with x; so does y, while `square` falls and rises."""
    rng = np.random.default_rng(seed)
    x, e, o = rng.normal(size=(3, n_rows))
    p = low * (high / low) ** (1 / (1 + np.exp(-1.5 * x)))
    y = np.where(rng.uniform(size=n_rows) < p, x + e, np.nan)
    table = pd.DataFrame({"y": y, "x": x, "z": o, "p": p, "square": x**2, "good": x + e + o})
    table["event"] = np.where(np.isnan(y), np.nan, (y > 0) * 1.0)
    table["chance"] = 1 / (1 + np.exp(-2 * x - e))
    table["count"] = np.where(np.isnan(y), np.nan, np.floor(np.exp(np.minimum(x, 1) + 0.1 * e + 0.5)))
    return table


def parts_of(estimand, f: str, design: Design, seed: int = 0):
    return infer(estimand, draw(seed), predictions=f, design=design, weight=0)._solver.parts


@pytest.mark.parametrize(
    ("estimand", "f"),
    [
        (Mean("y"), "square"),
        (OLS("y", covariates=["z"]), "good"),
        (Logistic("event", covariates=["z"]), "chance"),
        (Poisson("count", covariates=["z"]), "good"),
    ],
)
def test_slopes_given_the_probability_are_least_squares(estimand, f):
    table = draw(3).assign(good=lambda rows: rows["good"] - rows["good"].min())
    parts = infer(estimand, table, predictions=f, design=Design(probability="p"), weight=0)._solver.parts
    W, h = decide_weight(parts, "synsurr"), _log_probability(parts)
    found = _slopes_given(parts, W, h)
    root = np.sqrt(parts.problem.sampling.weights_labeled)
    X = np.column_stack([parts.residual_f[:, 0], h]) * root[:, None]
    r = parts.residual_y[:, 0] * root
    assert_allclose(found.value, np.linalg.lstsq(X, r, rcond=None)[0][:1], rtol=1e-8)
    if not parts.problem.model.is_linear:  # elsewhere to first order
        return
    whole = np.column_stack([table.loc[table["y"].notna(), [f, "p"]], parts.problem.X_labeled])
    whole[:, 1], y = np.log(whole[:, 1]), parts.problem.y
    fit = lambda i: np.linalg.lstsq(*(np.delete(v.T * root, i, -1).T for v in (whole, y)), rcond=None)[0][0]
    assert_allclose(found.without[:, 0], [fit(i) for i in range(len(y))], rtol=1e-7)


@pytest.mark.parametrize("design", [Design(), Design(probability=np.full(600, 0.2)), Design(weights="p")])
def test_without_unequal_probabilities_slopes_are_left_alone(design):
    parts = parts_of(Mean("y"), "square", design)
    slopes = slopes_of(parts, decide_weight(parts, "synsurr"))
    assert steady(parts, slopes) is slopes


def test_a_design_that_says_the_probabilities_needs_no_more():
    for covariate, is_left_alone in (("x", True), ("z", False)):
        parts = parts_of(OLS("y", covariates=[covariate]), "square", Design(probability="p"))
        slopes = slopes_of(parts, decide_weight(parts, "synsurr"))
        assert (steady(parts, slopes) is slopes) == is_left_alone


def test_a_slope_that_holds_along_the_probabilities_stays_and_another_goes():
    kept = {"good": [], "square": []}
    for seed in range(40):
        for f, shares in kept.items():
            parts = parts_of(Mean("y"), f, Design(probability="p"), seed)
            slopes = slopes_of(parts, decide_weight(parts, "synsurr"))
            shares.append((steady(parts, slopes).value[0], slopes.value[0]))
    after, before = np.abs(np.mean(kept["square"], axis=0))
    assert after < 0.5 * before  # of no slope in the population
    after, before = np.mean(kept["good"], axis=0)
    assert after > 0.8 * before


@pytest.mark.parametrize("estimand", [Mean("y"), OLS("y", covariates=["z"])])
def test_units_and_order_do_not_matter(estimand):
    table, design = draw(1), Design(probability="p")
    one = infer(estimand, table, predictions="square", design=design)
    scaled = table.assign(square=1e6 - 1e3 * table["square"], z=1e-5 * table["z"])
    other = infer(estimand, scaled.sample(frac=1, random_state=0), predictions="square", design=design)
    assert_allclose(other.interval().iloc[0], one.interval().iloc[0], rtol=1e-7)


def test_quadratic_predictions_cost_no_coverage_and_good_ones_keep_their_gain():
    """Before: .065 less than labels alone, of which this would see .03."""
    gap, wide = [], {"square": [], "good": []}
    for seed in range(200):
        for f, widths in list(wide.items())[: 1 + (seed < 40)]:
            result = infer(Mean("y"), draw(seed), predictions=f, design=Design(probability="p"))
            pair = [np.ravel(a.interval(LEVEL)) for a in (result._answer, result._solver.under(0.0))]
            widths.append([b - a for a, b in pair])
            if f == "square":
                gap.append(np.subtract(*[float(a <= 0 <= b) for a, b in pair]))
    assert np.mean(gap) > -0.03
    ratio = {f: np.divide(*np.mean(widths, axis=0)) for f, widths in wide.items()}
    assert ratio["square"] < 1.08 and ratio["good"] < 0.75
