"""Penalised likelihood: closed forms of tables, a general optimiser, separation, invariance, coverage."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, gammaln

from icl.inference import Design, Logistic, Poisson, Probit, infer
from icl.inference.estimands.reading import read_estimand

KINDS = [(Logistic, "logistic"), (Poisson, "poisson")]


def draw(kind, seed=0, n=40):
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, n))
    eta = -1.5 + 0.7 * x
    y = rng.random(n) < expit(eta) if kind == "logistic" else rng.poisson(np.exp(eta))
    return {"x": x, "z": z, "y": y * 1.0}


def firth(kind, table, covariates=("x", "z"), **options):
    return infer(dict((name, k) for k, name in KINDS)[kind]("y", list(covariates), method="firth"), table, **options)


def loss(kind, X, y):
    """Minus the penalised likelihood, written out apart from the package."""

    def of(theta):
        eta = X @ theta
        weight = expit(eta) * expit(-eta) if kind == "logistic" else np.exp(eta)
        likelihood = y @ eta - (np.logaddexp(0, eta) if kind == "logistic" else np.exp(eta) + gammaln(y + 1)).sum()
        return -likelihood - np.linalg.slogdet(X.T @ (X * weight[:, None]))[1] / 2

    return of


@pytest.mark.parametrize("table", [(5, 0, 3, 8), (1, 9, 4, 6), (0, 12, 7, 1)])
def test_a_table_of_four_has_half_an_event_added_to_each_cell(table):
    a, b, c, d = table
    rows = {"x": np.repeat([1.0, 1, 0, 0], table), "y": np.repeat([1.0, 0, 1, 0], table)}
    slope = firth("logistic", rows, ["x"]).estimate["x"]
    assert slope == pytest.approx(np.log((a + 0.5) * (d + 0.5) / ((b + 0.5) * (c + 0.5))), abs=1e-6)


def test_counts_of_groups_have_half_an_event_added():
    rows = {"g": np.repeat([0.0, 1], [10, 12]), "y": np.zeros(22)}
    rows["y"][3] = 1  # no event in the second group
    estimate = firth("poisson", rows, ["g"]).estimate
    assert estimate.to_numpy() == pytest.approx([np.log(1.5 / 10), np.log(0.5 / 12) - np.log(1.5 / 10)], abs=1e-6)


@pytest.mark.parametrize("kind", ["logistic", "poisson"])
@pytest.mark.parametrize("seed", range(3))
def test_estimate_and_bounds_are_those_of_a_general_optimiser(kind, seed):
    table = draw(kind, seed)
    X = np.column_stack([np.ones(40), table["x"], table["z"]])
    of, result = loss(kind, X, table["y"]), firth(kind, table)
    best = minimize(of, np.zeros(3), tol=1e-12)
    assert result.estimate.to_numpy() == pytest.approx(best.x, abs=1e-4)
    for bound in result.interval(0.95).loc["x"]:
        at = minimize(lambda rest, bound=bound: of(np.array([rest[0], bound, rest[1]])), best.x[[0, 2]], tol=1e-12)
        assert 2 * (at.fun - best.fun) == pytest.approx(3.841459, abs=1e-4)  # the quantile of chi-squared
        assert result.p_value(bound)["x"] == pytest.approx(0.05, abs=1e-4)
    assert result.p_value(result.interval(0.9, "larger").loc["x", "lower"], "larger")["x"] == pytest.approx(0.1)


def test_separated_outcomes_have_a_finite_answer():
    x = np.linspace(-1, 1, 20)
    table = {"x": x, "y": (x > 0.3) * 1.0}
    with pytest.raises(ValueError, match="method='firth'"):
        infer(Logistic("y", ["x"]), table)
    result = firth("logistic", table, ["x"])
    assert np.isfinite(result.interval().to_numpy()).all()
    assert result.interval().loc["x", "lower"] > 0
    assert "penalised likelihood" in result.summary()


@pytest.mark.parametrize("kind", ["logistic", "poisson"])
def test_units_and_origin_of_covariates_do_not_matter(kind):
    table = draw(kind)
    one = firth(kind, table)
    other = firth(kind, table | {"x": 1e6 * table["x"] + 3e7})
    both = (one.interval().loc["x"] / 1e6, other.interval().loc["x"])
    assert both[1].to_numpy() == pytest.approx(both[0].to_numpy(), rel=1e-6)
    assert other.p_value()["x"] == pytest.approx(one.p_value()["x"], rel=1e-5)
    flipped = firth(kind, table | {"z": -table["z"]}).interval().loc["z"]
    assert flipped[["upper", "lower"]].to_numpy() == pytest.approx(-one.interval().loc["z"].to_numpy(), abs=1e-8)


def test_many_events_give_the_answer_of_likelihood():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    table = {"x": x, "y": (rng.random(20_000) < expit(x)) * 1.0}
    likelihood, penalised = infer(Logistic("y", ["x"]), table), firth("logistic", table, ["x"])
    gap = (penalised.interval() - likelihood.interval()).abs().to_numpy() / likelihood.std_error.to_numpy()[:, None]
    assert gap.max() < 0.05


def test_predictions_and_designs_have_no_likelihood():
    table = draw("logistic")
    table["y"][30:] = np.nan
    table["f"] = expit(table["x"])
    with pytest.raises(ValueError, match="labels alone"):
        firth("logistic", table, predictions="f")
    assert firth("logistic", table, predictions="f", weight=0).estimate.to_numpy() == pytest.approx(
        firth("logistic", table).estimate.to_numpy()
    )
    with pytest.raises(ValueError, match="method='ml'"):
        firth("logistic", table | {"g": np.arange(40) % 15}, design=Design(clusters="g"))
    with pytest.raises(ValueError, match="written for canonical links"):
        Probit("y ~ x", method="firth")
    with pytest.raises(ValueError, match="known are 'ml', 'firth'"):
        Logistic("y ~ x", method="bayes")


def test_a_line_of_text_can_ask_for_it():
    assert read_estimand("firth poisson: visits ~ age") == Poisson("visits ~ age", method="firth")
    assert read_estimand("firth logistic: y ~ x", event="yes") == Logistic("y ~ x", event="yes", method="firth")


def test_covers_where_wald_does_not():
    """Null slope, 60 rows, three events expected, nominal .95: Wald .79 (benchmarks/rare_events.md)."""
    rng, inside = np.random.default_rng(0), []
    while len(inside) < 150:
        table = {"x": rng.normal(size=60), "y": (rng.random(60) < 0.05) * 1.0}
        if table["y"].any():
            inside.append(firth("logistic", table, ["x"]).p_value(0)["x"] >= 0.05)
    assert abs(np.mean(inside) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 150)
