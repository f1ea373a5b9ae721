"""Links that are not canonical, and instruments: statsmodels' answers, closed forms."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy.special import chdtrc

from icl.inference import Cloglog, Gamma, MEstimand, NegativeBinomial, Poisson, Probit, TwoStage, infer
from icl.inference.estimands.strength import FirstStage


def draw(n: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, hidden, z = rng.normal(size=(3, n))
    dose = z + hidden + 0.5 * rng.normal(size=n)
    return pd.DataFrame({
        "x": x, "z": z, "z2": z + rng.normal(size=n), "dose": dose,
        "y": 1 + 2 * dose + x - 2 * hidden + rng.normal(size=n),
        "event": (rng.random(n) < 1 / (1 + np.exp(-x))) * 1.0, "amount": np.exp(0.5 * x) * rng.gamma(2, 0.5, n),
        "count": rng.negative_binomial(2, 2 / (2 + np.exp(0.5 * x))) * 1.0,
    })  # fmt: skip


FAMILIES = sm.families
LINKS = FAMILIES.links


@pytest.mark.parametrize(
    "estimand, family",
    [
        (Probit("event ~ x"), FAMILIES.Binomial(LINKS.Probit())),
        (Cloglog("event ~ x"), FAMILIES.Binomial(LINKS.CLogLog())),
        (Gamma("amount ~ x"), FAMILIES.Gamma(LINKS.Log())),
        (NegativeBinomial("count ~ x", alpha=0.5), FAMILIES.NegativeBinomial(alpha=0.5)),
    ],
)
def test_labels_alone_are_statsmodels(estimand, family):
    table = draw()
    fit = sm.GLM(table[estimand.outcome_columns[0]], sm.add_constant(table[["x"]]), family=family).fit(
        tol=1e-12, maxiter=200, optim_hessian="oim", method="newton", cov_type="HC0", disp=0
    )
    ours = infer(estimand, table, std_error="HC0")
    assert_allclose(ours.estimate, fit.params, rtol=1e-6)
    assert_allclose(ours.std_error, fit.bse, rtol=1e-5)


def test_a_small_dispersion_is_poisson():
    table = draw()
    ours, limit = infer(NegativeBinomial("count ~ x", alpha=1e-9), table), infer(Poisson("count ~ x"), table)
    assert_allclose(ours.estimate, limit.estimate, rtol=1e-6)


def test_two_stage_least_squares_is_its_closed_form():
    table = draw()
    ours = infer(TwoStage("y ~ dose + x", {"dose": ["z", "z2"]}), table, std_error="HC0")
    X = np.column_stack([np.ones(400), table[["dose", "x"]]])
    Z = np.column_stack([np.ones(400), table[["x", "z", "z2"]]])
    W = Z @ np.linalg.lstsq(Z, X, rcond=None)[0]
    beta = np.linalg.solve(W.T @ X, W.T @ table["y"])
    move = (W * (table["y"].to_numpy() - X @ beta)[:, None]) @ np.linalg.inv(W.T @ X).T
    assert_allclose(ours.estimate, beta, rtol=1e-9)
    assert_allclose(ours.covariance, move.T @ move, rtol=1e-8)
    assert abs(ours.estimate["dose"] - 2) < 4 * ours.std_error["dose"]


def test_predictions_narrow_it_and_instruments_of_nothing_are_refused():
    table = draw(1500)
    table = table.assign(f=table["y"] + np.random.default_rng(0).normal(size=1500))
    table.loc[200:, "y"] = np.nan
    ours = infer(TwoStage("y ~ dose + x", {"dose": "z"}), table, predictions="f")
    assert ours.gain["dose"] > 1.5 and "exclusion" in ours.summary()
    with pytest.raises(ValueError, match="first-stage F"):
        infer(
            TwoStage("y ~ dose + x", {"dose": "noise"}), table.assign(noise=np.random.default_rng(1).normal(size=1500))
        )


def stage(table: pd.DataFrame, endogenous: list[str], instruments: list[str]) -> FirstStage:
    exogenous = np.column_stack([np.ones(len(table)), table["x"]])
    is_endogenous = np.arange(2 + len(endogenous)) >= 2
    return FirstStage(
        np.hstack([exogenous, table[endogenous]]), np.hstack([exogenous, table[instruments]]), is_endogenous
    )


def test_first_stage_statistics_are_those_of_the_regression():
    table = draw().assign(again=lambda t: 2 * t["z"] + 1)
    full, base = (sm.OLS(table["dose"], sm.add_constant(table[c])).fit() for c in (["x", "z", "z2"], ["x"]))
    assert_allclose(stage(table, ["dose"], ["z", "z2"]).F(2), full.compare_f_test(base)[0])
    assert_allclose(stage(table, ["dose"], ["z", "z2", "again"]).F(2), full.compare_f_test(base)[0])  # says nothing new
    robust = sm.OLS(table["dose"], sm.add_constant(table[["x", "z"]])).fit(cov_type="HC1").tvalues["z"] ** 2
    assert_allclose(stage(table, ["dose"], ["z"]).F(2, robust=True), robust)


def test_instruments_that_move_two_treatments_alike_tell_neither_apart():
    """Each first-stage F is large, the conditional one is not: the second treatment is the first, and noise."""
    noise = np.random.default_rng(3).normal(size=400)
    table = draw().assign(twin=lambda t: t["dose"] + 0.3 * noise)
    both = stage(table, ["dose", "twin"], ["z", "z2"])
    assert min(stage(table, [name], ["z", "z2"]).F(2) for name in ("dose", "twin")) > 50 > 10 > both.F(2)
    with pytest.raises(ValueError, match="first-stage F"):
        infer(TwoStage("y ~ dose + twin + x", {"dose": ["z", "z2"], "twin": ["z", "z2"]}), table)


def test_instruments_that_agree_disagree_at_the_level_of_the_test():
    n_reps, p, everyone = 200, [], draw(200 * 200)
    for k in range(n_reps):
        table = everyone[200 * k : 200 * (k + 1)]
        p.append(chdtrc(1, stage(table, ["dose"], ["z", "z2"]).disagreement(table["y"].to_numpy())[0]))
    assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / n_reps)
    assert stage(table, ["dose"], ["z"]).disagreement(table["y"].to_numpy()) == (0.0, 0)


def test_a_hessian_that_is_not_symmetric_has_the_right_sandwich():
    """The same two-stage estimate through MEstimand, whose Hessian Z'X is not symmetric."""
    table = draw()

    def scores(theta, X, y):
        rest = y - theta[0] - X[:, 0] * theta[1] - X[:, 1] * theta[2]
        return np.column_stack([np.ones(len(X)), X[:, 1:]]) * rest[:, None]

    by_hand = MEstimand(scores, "y", ["dose", "x", "z"], ["a", "dose", "x"])
    theirs = infer(by_hand, table, std_error="HC0")
    ours = infer(TwoStage("y ~ dose + x", {"dose": "z"}), table, std_error="HC0")
    assert_allclose(theirs.estimate, ours.estimate, rtol=1e-6)
    assert_allclose(theirs.std_error, ours.std_error, rtol=1e-5)


def test_lines_of_text_are_the_estimands_they_spell():
    from icl.inference import Cox, Disparity, Distribution, Survival
    from icl.inference.estimands.reading import read_estimand

    lines = {
        "cvar: 0.9: loss": Distribution("loss", "cvar", 0.9),
        "gini: income": Distribution("income", "gini"),
        "top: 0.25: income": Distribution("income", "share", (0.75, 1.0)),
        "below: 12000: income": Distribution("income", "below", 12_000.0),
        "survival: 365: days, died": Survival("days", "died", 365.0),
        "cox: days, died ~ age + C(sex)": Cox("days", "died", "age + C(sex)"),
        "2sls: wage ~ school + age, school=near+far": TwoStage("wage ~ school + age", {"school": ["near", "far"]}),
        "probit: won ~ age": Probit("won ~ age"),
        "disparity: equal opportunity: ok by sex, outcome=paid": Disparity("ok", "sex", "equal opportunity", "paid"),
        "negative-binomial: visits ~ age": NegativeBinomial("visits ~ age"),
    }
    for line, expected in lines.items():
        assert repr(read_estimand(line)) == repr(expected)
    for wrong, words in (("cvar: loss", "no number"), ("2sls: y ~ x", "instrument"), ("cox: t ~ x", "two columns")):
        with pytest.raises(ValueError, match=words):
            read_estimand(wrong)


@pytest.mark.parametrize("kind", ["str", "category", "datetime"])
def test_instruments_that_are_no_numbers_are_named(kind):
    z = np.arange(60) % 2
    made = {
        "str": np.where(z > 0, "a", "b"),
        "category": pd.Categorical(np.where(z > 0, "a", "b")),
        "datetime": pd.to_datetime(z, unit="D"),
    }[kind]
    table = pd.DataFrame({"y": z + np.sin(np.arange(60)), "dose": z + np.cos(np.arange(60)), "z": made})
    with pytest.raises(ValueError, match="Count from a day" if kind == "datetime" else "Use numbers as instruments"):
        infer(TwoStage("y ~ dose", {"dose": "z"}), table)
