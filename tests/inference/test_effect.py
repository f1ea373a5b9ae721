"""Effects of a treatment: classical estimators at the ends, published figures, coverage with one model wrong."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from light_models import Line, Odds
from numpy.testing import assert_allclose
from scipy.stats import ttest_ind
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from icl.inference import Design, Effect, infer, plan


def trial(n: int = 300, seed: int = 0, share: float = 0.4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, z, e = rng.normal(size=(3, n))
    t = (rng.random(n) < share) * 1
    y = 1 + 2 * x + z + t * (1 + 0.5 * x) + e * (1 + t)
    return pd.DataFrame({"y": y, "t": t, "x": x, "z": z, "site": np.resize(list("abc"), n)})


def confounded(n: int, seed: int, missing: bool = False) -> tuple[pd.DataFrame, float]:
    """Effect 1 + x; both treatment and outcome follow x."""
    rng = np.random.default_rng(seed)
    x, e = rng.normal(size=(2, n))
    p = 1 / (1 + np.exp(-0.8 * x))
    t = (rng.random(n) < p) * 1
    y = 1 + x + t * (1 + 0.5 * x) + e
    if missing:
        y = np.where(rng.random(n) < 1 / (1 + np.exp(-1 - 0.5 * x)), y, np.nan)
    return pd.DataFrame({"y": y, "t": t, "x": x}), 1.0


def test_without_predictions_a_trial_gives_welch():
    table = trial()
    ours = infer(Effect("y", "t", randomised=0.4), table)
    theirs = ttest_ind(table["y"][table["t"] == 1], table["y"][table["t"] == 0], equal_var=False)
    low, high = theirs.confidence_interval(0.95)
    assert_allclose(ours.interval(), [[low, high]], rtol=1e-9)
    assert_allclose(ours.p_value(), theirs.pvalue, rtol=1e-8)


def test_regression_beside_is_least_squares_hc2():
    table = trial()
    compared = infer(Effect("y", "t", ["x", "z"], randomised=0.4), table, predictor=LinearRegression()).compare()
    fit = sm.OLS(table["y"], sm.add_constant(table[["t", "x", "z"]])).fit(cov_type="HC2")
    ours = compared.loc["regression"].iloc[0]
    assert_allclose([ours["estimate"], ours["std_error"]], [fit.params["t"], fit.bse["t"]], rtol=1e-9)
    assert ours["valid"]


def test_weight_one_is_the_textbook_formula():
    """Of normalised AIPW, from the probabilities and predictions that the result shows."""
    table, _ = confounded(400, 0)
    result = infer(Effect("y", "t"), table, predictor=LinearRegression())
    arms, y = result.arms, table["y"].to_numpy()[result.order]
    T, e, mu = arms.is_treated, arms.probability, arms.predicted
    one, zero = T / e, (1 - T) / (1 - e)
    by_hand = (
        (mu[:, 1] - mu[:, 0]).mean()
        + (one * (y - mu[:, 1])).sum() / one.sum()
        - (zero * (y - mu[:, 0])).sum() / zero.sum()
    )
    assert_allclose(result.estimate.iloc[0], by_hand, rtol=1e-10)
    assert result.method == "aipw" and abs(result.balance()["after"].iloc[0]) < 0.1 < result.balance()["before"].iloc[0]


def test_groups_are_effects_of_their_own_rows():
    table = trial()
    ours = infer(Effect("y", "t", kind="cate by site", randomised=0.4), table)
    alone = [infer(Effect("y", "t", randomised=0.4), part) for _, part in table.groupby("site")]
    assert_allclose(ours.estimate, [r.estimate.iloc[0] for r in alone])
    assert_allclose(ours.std_error, [r.std_error.iloc[0] for r in alone])
    assert list(ours.estimate.index) == ["site=a", "site=b", "site=c"]


def test_swapped_arms_swap_the_sign():
    table, _ = confounded(300, 1)
    one = infer(Effect("y", "t", where="overlap"), table, predictor=LinearRegression())
    other = infer(Effect("y", "t", where="overlap", treated=0), table, predictor=LinearRegression())
    assert_allclose(other.estimate, -one.estimate, rtol=0.02)  # logistic regressions of T and 1 - T agree to rounding
    assert_allclose(other.std_error, one.std_error, rtol=0.02)


def test_integer_weights_are_repeated_rows():
    table = trial()
    table = table.assign(times=np.resize([1, 2, 3], len(table)), row=np.arange(len(table)), f=table.x)
    estimand = Effect("y", "t", ["x"], randomised=0.4)
    weighted = infer(estimand, table, predictions="f", design=Design(weights="times"), weight=1, std_error="HC0")
    again = table.loc[table.index.repeat(table["times"])]
    clustered = infer(estimand, again, predictions="f", design=Design(clusters="row"), weight=1, std_error="HC0")
    assert_allclose(weighted.estimate, clustered.estimate, rtol=1e-10)
    G = len(table)
    assert_allclose(weighted.std_error * np.sqrt(G / (G - 1)), clustered.std_error, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_a_trial_gains_from_good_predictions_and_loses_nothing_from_bad_ones(seed):
    table = trial(200, seed)
    noise = np.random.default_rng(9).normal(size=200)
    table = table.assign(good=2 * table.x + table.z, bad=noise)
    estimand = Effect("y", "t", ["x"], randomised=0.4)
    good, bad = (infer(estimand, table, predictions=f) for f in ("good", "bad"))
    plain = infer(estimand, table)
    assert good.std_error.iloc[0] < 0.8 * plain.std_error.iloc[0]
    assert bad.std_error.iloc[0] < 1.05 * plain.std_error.iloc[0]


def study(draw, estimand, n_reps: int, predictor, level: float = 0.9, **options) -> tuple[float, float]:
    hits, z = 0, []
    for seed in range(n_reps):
        table, truth = draw(seed)
        result = infer(estimand, table, predictor=predictor, level=level, **options)
        low, high = result.interval().to_numpy()[0]
        hits += low <= truth <= high
        z.append(result.estimate.iloc[0] - truth)
    return hits / n_reps, float(np.mean(z) / np.std(z) * np.sqrt(n_reps))


@pytest.mark.parametrize(
    "outcome, treatment",
    [
        (Line(), Odds()),
        (Line(constant=True), Odds()),
        (Line(), Odds(constant=True)),
    ],
    ids=["both right", "wrong outcome", "wrong treatment"],
)
def test_covers_with_one_model_wrong(outcome, treatment):
    estimand = Effect("y", "t", ["x"], propensity=treatment)
    rate, bias = study(lambda s: confounded(300, s), estimand, 60, outcome, folds=2)
    assert abs(rate - 0.9) < 4 * np.sqrt(0.09 / 60) and abs(bias) < 4


def test_naive_difference_is_biased_there_and_said_to_be():
    table, _ = confounded(1000, 0)
    compared = infer(Effect("y", "t"), table, predictor=LinearRegression()).compare()
    naive = compared.loc["difference in means"].iloc[0]
    assert naive["lower"] > 1.3 and not naive["valid"] and "INVALID" in repr(compared)
    assert compared.loc["aipw", "valid"].all()


def test_missing_outcomes_are_made_up_for():
    design = Design(propensity=Odds())
    estimand = Effect("y", "t", ["x"], propensity=Odds())
    options = {"design": design, "folds": 2}
    rate, bias = study(lambda s: confounded(300, s, missing=True), estimand, 25, Line(), **options)
    assert abs(rate - 0.9) < 4 * np.sqrt(0.09 / 25) and abs(bias) < 4


def test_no_overlap_is_refused_and_the_overlap_population_answered():
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    t = (x + 0.1 * rng.normal(size=600) > 0) * 1
    table = pd.DataFrame({"x": x, "t": t, "y": x + t + rng.normal(size=600)})
    with pytest.raises(ValueError, match="where='overlap'"):
        infer(Effect("y", "t"), table, predictor=LinearRegression())
    table.loc[:, "t"] = (x + 3 * rng.normal(size=600) > 0) * 1
    result = infer(Effect("y", "t"), table, predictor=LinearRegression())
    assert "arm_overlap" not in {d.code for d in result.diagnostics}


def test_e_value_of_a_risk_ratio():
    """VanderWeele & Ding's example: a ratio of 3.9 with lower limit 1.8 has E-values 7.26 and 3.0."""
    from icl.inference.results.effects import evidence_value

    assert_allclose([evidence_value(3.9), evidence_value(1.8)], [7.26, 3.0], atol=0.01)
    assert_allclose(evidence_value(1 / 3.9), evidence_value(3.9))


def test_what_cannot_be_answered_is_refused():
    table = trial()
    with pytest.raises(ValueError, match="must be 0 and 1"):
        infer(Effect("y", "site", ["x"]), table)
    with pytest.raises(ValueError, match="who is treated"):
        infer(Effect("y", "t"), table, predictor=LinearRegression(), features=["x", "t"])
    with pytest.raises(ValueError, match="randomised"):
        infer(Effect("y", "t", ["x"]), table, predictor=LinearRegression(), weight="ppi++")
    with pytest.raises(ValueError, match="kind"):
        Effect("y", "t", kind="late")


def test_lines_of_text_and_plan():
    table = trial()
    line = infer("effect: y ~ t + x + z, randomised=0.4", table, predictor=LinearRegression())
    ours = infer(Effect("y", "t", ["x", "z"], randomised=0.4), table, predictor=LinearRegression())
    assert_allclose(line.estimate, ours.estimate)
    assert "was assigned at random" in ours.summary()
    width = float(np.ptp(ours.interval().to_numpy()))
    assert 1100 < plan(ours, width / 2, n_rows=10_000).n_labeled < 1300  # half the width, four times the rows


def test_estimated_logistic_probabilities_are_not_charged_as_if_known():
    """The textbook's: influence of IPW less its projection on the scores of the logistic likelihood."""
    table, _ = confounded(2000, 0)
    estimand = Effect("y", "t", ["x"], propensity=LogisticRegression(C=1e6))
    ours = infer(estimand, table, predictor=DummyRegressor(), std_error="HC0")
    as_known = infer(estimand, table, predictor=DummyRegressor(), std_error="HC0", folds=2)
    assert ours.std_error.iloc[0] < 0.8 * as_known.std_error.iloc[0]
    right = [infer(estimand, table, predictor=LinearRegression(), folds=k).std_error.iloc[0] for k in (5, 2)]
    assert_allclose(right[0], right[1], rtol=0.05)
