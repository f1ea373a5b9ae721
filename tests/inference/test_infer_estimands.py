"""Each estimand by its own laws: what it must equal, and what it must refuse."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from icl.inference import OLS, Estimand, Logistic, Mean, MEstimand, Multinomial, Poisson, Quantile, infer
from icl.inference.estimands.registry import example_table as draw

CASES = {
    "logistic": (Logistic("event ~ x"), "p"),
    "poisson": (Poisson("count ~ x"), "mu"),
    "multinomial": (Multinomial("level ~ x"), ["q0", "q1", "q2"]),
    "two means": (Mean(["y", "event"]), ["f", "p"]),
    "means by group": (Mean("y", by="group"), "f"),
    "m-estimand": (
        MEstimand(lambda t, X, y: X * (y - X @ t)[:, None], "y", ["x"], ["Intercept", "x"], intercept=True),
        "f",
    ),
    "median": (Quantile("y"), "f"),
}


@pytest.mark.parametrize("name", ["logistic", "poisson", "multinomial", "m-estimand", "median", "two means"])
def test_predictions_that_are_the_outcomes_are_worth_their_labels(name):
    """With f = Y on all rows the estimate from all rows is reached, and nearly its standard error."""
    estimand, f = CASES[name]
    truth = draw(n=720, N=0)
    copies = {"f": "y", "p": "event", "mu": "count"}
    for prediction, outcome in copies.items():
        truth[prediction] = truth[outcome]
    for k in range(3):
        truth[f"q{k}"] = (truth["level"] == k).astype(float)
    table = truth.copy()
    table.loc[120:, ["y", "event", "count", "level"]] = np.nan
    ours, full = infer(estimand, table, predictions=f), infer(estimand, truth)
    bound = np.sqrt(720 / 600) if ours.method == "ppi++" else 1.0  # PPI++ uses predictions of unlabeled rows only
    assert_allclose(ours.std_error / full.std_error, bound, rtol=0.25)
    assert np.abs((ours.estimate - full.estimate) / full.std_error).max() < (0.2 if bound == 1.0 else 1.0)


@pytest.mark.parametrize("estimand", [OLS("y ~ x + z"), Logistic("event ~ x + z"), Poisson("count ~ x + z")], ids=str)
@pytest.mark.parametrize("weight", ["matrix", "auto", 0, 1])
def test_other_coordinates_of_the_covariates_change_nothing(estimand, weight):
    """Under X -> X A the coefficients become A^-1 theta: exactly for a matrix weight and for one number."""
    f = {"y": "f", "event": "p", "count": "mu"}[estimand.outcome_columns[0]]
    table = draw()
    A = np.array([[1, 0.5, -2.0], [0, 2.0, 1.0], [0, -1.0, 3.0]])
    X = np.column_stack([np.ones(len(table)), table[["x", "z"]]]) @ A
    turned = table.assign(x=X[:, 1], z=X[:, 2])
    ours = infer(estimand, table, predictions=f, weight=weight)
    other = infer(estimand, turned, predictions=f, weight=weight)
    assert_allclose(A @ other.estimate, ours.estimate, rtol=1e-7, atol=1e-9)
    assert_allclose(A @ other.covariance.to_numpy() @ A.T, ours.covariance, rtol=1e-6, atol=1e-12)


def test_several_means_are_their_single_ones_with_a_covariance():
    table = draw()
    both = infer(Mean(["y", "event"]), table, predictions=["f", "p"], std_error="HC2")
    for column, f in (("y", "f"), ("event", "p")):
        alone = infer(Mean(column), table, predictions=f, std_error="HC2")
        assert_allclose(both.estimate[column], alone.estimate.iloc[0], rtol=1e-12)
        assert_allclose(both.std_error[column], alone.std_error.iloc[0], rtol=1e-9)
    assert abs(both.covariance.loc["y", "event"]) > 0.01 * both.std_error.prod()


def test_means_by_group_are_dummies_and_their_contrast_is_a_slope():
    table = draw()
    means = infer(Mean("y", by="group"), table, predictions="f", weight=1, std_error="HC3")
    slopes = infer(OLS("y ~ group"), table, predictions="f", weight=1)
    assert list(means.estimate.index) == ["group=a", "group=b", "group=c"]
    assert_allclose(means.estimate.diff().iloc[1], slopes.estimate["group[T.b]"], rtol=1e-10)
    test, alone = means.wald([[-1, 1, 0]]), slopes.wald(["group[T.b]"])
    assert_allclose(test.statistic, alone.statistic, rtol=1e-9)
    two = infer(Mean("y", by=["group", "half"]), table.assign(half=np.arange(720) % 2), predictions="f")
    assert len(two.estimate) == 6 and two.estimate.index[1] == "group=a, half=1"


def test_multinomial_of_two_classes_is_logistic():
    table = draw()
    classes = table.assign(p0=1 - table["p"], event=table["event"].map({0.0: "no", 1.0: "yes"}))
    for weight in ("auto", "ppi++", 0, 1):
        logistic = infer(Logistic("event ~ x"), table, predictions="p", weight=weight)
        multinomial = infer(Multinomial("event ~ x"), classes, predictions=["p0", "p"], weight=weight)
        assert_allclose(multinomial.estimate, logistic.estimate, rtol=1e-8)
        assert_allclose(multinomial.covariance, logistic.covariance, rtol=1e-7)
    turned = infer(Multinomial("event ~ x", base="yes"), classes, predictions=["p", "p0"], weight=1)
    assert_allclose(turned.estimate, -logistic.estimate, rtol=1e-8)
    named = infer(Logistic("event ~ x", event="yes"), classes, predictions="p", weight=1)
    assert_allclose(named.estimate, logistic.estimate, rtol=1e-12)


def test_own_scores_equal_the_built_in_ones():
    def scores(theta, X, y):
        return X * (y - 1 / (1 + np.exp(-X @ theta)))[:, None]

    mine = MEstimand(scores, "event", ["x"], ["Intercept", "x"], intercept=True)
    table = draw()
    for weight in (0, 1, "ppi++", "matrix"):
        ours = infer(mine, table, predictions="p", weight=weight, std_error="HC0")
        built_in = infer(Logistic("event ~ x"), table, predictions="p", weight=weight, std_error="HC0")
        assert_allclose(ours.estimate, built_in.estimate, rtol=1e-7)
        assert_allclose(ours.covariance, built_in.covariance, rtol=1e-6)


def test_splines_interactions_and_categories_reach_the_design():
    result = infer(OLS("y ~ bs(x, df=4) * group"), draw(n=200), predictions="f")
    assert len(result.estimate) == 15 and np.isfinite(result.std_error).all()
    assert infer(OLS("y ~ scale(x)"), draw(), predictions="f").estimate.index[1] == "scale(x)"


@pytest.mark.parametrize("q", [0.1, 0.5, 0.83])
def test_labeled_quantile_is_the_sample_quantile_and_mirrors(q):
    table = draw()
    y = table["y"].dropna().to_numpy()
    ours = infer(Quantile("y", q), table)
    assert_allclose(ours.estimate.iloc[0], np.quantile(y, q, method="averaged_inverted_cdf"))
    mirrored = infer(Quantile("y", 1 - q), table.assign(y=-table["y"]))
    assert_allclose(mirrored.interval().iloc[0, ::-1], -ours.interval().iloc[0], rtol=1e-12)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("weight", ["auto", "ppi++", 1])
def test_quantiles_follow_monotone_maps(q, weight):
    table = draw()
    ours = infer(Quantile("y", q), table, predictions="f", weight=weight).interval()
    mapped = table.assign(y=np.exp(table["y"]), f=np.exp(table["f"]))
    assert_allclose(infer(Quantile("y", q), mapped, predictions="f", weight=weight).interval(), np.exp(ours))


def test_a_quantile_has_an_interval_where_no_point_is_accepted_by_a_two_sided_test():
    """f = Y: F has no noise left of labeled rows, and the peer, which looks for p > alpha, finds nothing."""
    rng = np.random.default_rng(0)
    y = np.round(rng.normal(size=4_020), 0)
    table = pd.DataFrame({"y": np.where(np.arange(4_020) < 20, y, np.nan), "f": y})
    with pytest.raises(ValueError, match="accepts no point"):
        infer(Quantile("y"), table, predictions="f", weight=1, compat="ppi_py").interval()
    lower, upper = infer(Quantile("y"), table, predictions="f", weight=1).interval().iloc[0]
    assert lower <= 0 <= upper and upper - lower <= 1


def test_predictive_distributions_that_are_indicators_are_point_predictions():
    """P(Y <= t | x) = 1{f <= t} at the thresholds: the two routes give one answer where their grids agree."""
    from dataclasses import replace

    from icl.inference.engine.solve import Solver

    table = draw()
    problem = infer(Quantile("y"), table, predictions="f").problem
    knots = np.sort(np.concatenate([problem.f_labeled, problem.f_unlabeled, problem.y]))
    step = lambda f: (f[:, None] <= knots).astype(float)
    smooth = replace(
        problem.surrogate,
        thresholds=knots,
        cdf_labeled=step(problem.f_labeled),
        cdf_unlabeled=step(problem.f_unlabeled),
    )
    ours, other = (Solver(replace(problem, surrogate=s)).under(1.0) for s in (problem.surrogate, smooth))
    gap = np.diff(knots).max()
    assert_allclose(other.estimate, ours.estimate, atol=gap)
    assert_allclose(np.ravel(other.interval(0.9)), np.ravel(ours.interval(0.9)), atol=gap)


def test_a_calibrated_distribution_has_weight_one_where_point_predictions_say_nothing():
    """The spread of Y depends on x and its mean does not: only the distribution knows about the tail."""
    from scipy.stats import norm

    class Knows:
        """Predicts N(0, exp(x)), the truth; has nothing to learn."""

        def fit(self, X, y):
            return self

        def predict(self, X):
            return np.zeros(len(X))

        def predict_distribution(self, X):
            spread = np.exp(X["x"].to_numpy())

            class Normal:
                mean = np.zeros(len(X))

                def cdf(self, t):
                    return norm.cdf(t / spread)

            return Normal()

    rng = np.random.default_rng(1)
    x = rng.normal(size=2_200)
    table = pd.DataFrame({"x": x, "y": np.exp(x) * rng.normal(size=2_200)})
    truth = np.quantile(np.exp(rng.normal(size=10**6)) * rng.normal(size=10**6), 0.9)
    table.loc[200:, "y"] = np.nan
    result = infer(Quantile("y", 0.9), table, predictor=Knows(), features=["x"])
    lower, upper = result.interval().iloc[0]
    assert lower <= truth <= upper
    assert 0.5 < result.weight < 1.5


def separated() -> pd.DataFrame:
    table = draw()
    return table.assign(event=np.where(table["event"].isna(), np.nan, table["x"] > 0.2))


SEPARATED = "separate the outcomes perfectly"
REFUSED = {
    "separable": (Logistic("event ~ x"), separated(), "p", SEPARATED),
    "separable group": (
        Logistic("event ~ group"),
        draw().assign(event=lambda t: np.where(t["group"] == "a", t["event"] * 0, t["event"])),
        "p",
        SEPARATED,
    ),
    "counts of zero in a group": (
        Poisson("count ~ group"),
        draw().assign(count=lambda t: np.where(t["group"] == "a", t["count"] * 0, t["count"])),
        "mu",
        SEPARATED,
    ),
    "one class": (Logistic("event ~ x"), draw().assign(event=lambda t: t["event"] * 0), "p", "all 120 .* are 0"),
    "not binary": (Logistic("y ~ x"), draw(), "p", "must be 0 and 1"),
    "no probability": (Logistic("event ~ x"), draw(), "f", "outside .0, 1."),
    "negative count": (Poisson("y ~ x"), draw(), "mu", "negative"),
    "negative rate": (Poisson("count ~ x"), draw(), "f", "negative"),
    "absent class": (Multinomial("level ~ x", classes=(0, 1, 2, 3)), draw(), ["q0", "q1", "q2"], r"in \[3\]"),
    "numbers as classes": (Multinomial("y ~ x"), draw(), ["q0", "q1", "q2"], "use OLS"),
    "too few columns": (Multinomial("level ~ x"), draw(), "q0", r"\(120, 1\).*\(120, 3\)"),
    "no class probabilities": (Multinomial("level ~ x"), draw(), ["f", "x", "z"], "no class probabilities"),
    "event of two": (lambda: Mean(["y", "x"], event=1), draw(), None, "one column"),
    "percent": (lambda: Quantile("y", 50), draw(), "f", "write 0.9"),
    "unlabeled group": (Mean("y", by="group"), draw().assign(group=lambda t: np.where(t.index == 700, "d", t["group"])),
                        "f", "no labeled one"),
    "synsurr of scores": (CASES["m-estimand"][0], draw(), "f", "needs residuals"),
    "one prediction for two means": (Mean(["y", "event"]), draw(), "f", r"expected \(120, 2\)"),
    "matrix of few": (OLS("y ~ x + z + group"), draw(n=10), "f", "takes at least 12"),
    "scores of a wrong shape": (MEstimand(lambda t, X, y: y, "y"), draw(), "f", "gave shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_advice(name):
    estimand, table, predictions, message = REFUSED[name]
    weight = {"synsurr of scores": "synsurr", "matrix of few": "matrix"}.get(name, "auto")
    with pytest.raises(ValueError, match=message):
        infer(estimand if isinstance(estimand, Estimand) else estimand(), table,
              predictions=predictions, weight=weight)  # fmt: skip


def test_a_root_that_does_not_exist_is_refused():
    never = MEstimand(lambda t, X, y: 1 + t**2 + 0 * y[:, None], "y")
    with pytest.raises(ValueError, match=r"did not settle|not finite|not identified"):
        infer(never, draw())
