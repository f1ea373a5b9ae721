"""Symmetries that hold for every method: they need no reference program."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from icl.inference import OLS, Mean, Quantile, infer

ESTIMANDS = [Mean("y"), OLS("y ~ x + C(group)"), OLS("y", covariates=["x"])]
TUNED, ALL = ["auto", "ppi++", "synsurr"], ["auto", "ppi++", "synsurr", 0, 1, 0.3]


def draw(seed: int = 0, n: int = 60, N: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, group = rng.normal(size=n + N), rng.choice(list("abc"), n + N)
    y = 1 + 0.5 * x + (group == "b") + (1 + 0.5 * np.abs(x)) * rng.normal(size=n + N)
    f = 0.6 * y + 0.3 * x**2 + rng.normal(size=n + N)
    y[rng.permutation(n + N)[:N]] = np.nan
    return pd.DataFrame({"y": y, "x": x, "group": group, "f": f})


def numbers(result) -> np.ndarray:
    return result.to_frame(null=0.4).drop(columns="term").to_numpy()


@pytest.mark.parametrize("estimand", ESTIMANDS, ids=str)
@pytest.mark.parametrize("weight", ALL)
def test_the_three_ways_to_pass_rows_and_predictions_agree(estimand, weight):
    table = draw()
    is_labeled = table["y"].notna()
    labeled, unlabeled = table[is_labeled], table[~is_labeled].drop(columns="y")
    by_column = numbers(infer(estimand, table, predictions="f", weight=weight))
    by_array = numbers(infer(estimand, table, predictions=table["f"].to_numpy(), weight=weight))
    pair = (labeled["f"].to_numpy(), unlabeled["f"].to_numpy())
    by_pair = numbers(infer(estimand, labeled=labeled, unlabeled=unlabeled, predictions=pair, weight=weight))
    assert_allclose(by_array, by_column, rtol=1e-12)
    assert_allclose(by_pair, by_column, rtol=1e-12)


@pytest.mark.parametrize("estimand", ESTIMANDS, ids=str)
@pytest.mark.parametrize("weight", TUNED)
@pytest.mark.parametrize("constant", [0.0, 7.3, -1e6])
def test_constant_predictions_give_the_classical_estimate(estimand, weight, constant):
    table = draw().assign(f=constant)
    ours, classical = infer(estimand, table, predictions="f", weight=weight), infer(estimand, table)
    assert_allclose(ours.estimate, classical.estimate, rtol=1e-12)
    assert_allclose(ours.std_error, classical.std_error, rtol=1e-12 if ours.df == classical.df else 0.01)
    assert "no_information" in [d.code for d in ours.diagnostics]


@pytest.mark.parametrize("estimand", ESTIMANDS, ids=str)
@pytest.mark.parametrize("weight", TUNED)
@pytest.mark.parametrize(("a", "b"), [(5.0, 1.0), (0.0, 0.01), (-3.0, -20.0)])
def test_affine_predictions_change_nothing_under_a_tuned_weight(estimand, weight, a, b):
    table = draw()
    ours = infer(estimand, table, predictions="f", weight=weight)
    moved = infer(estimand, table.assign(f=a + b * table["f"]), predictions="f", weight=weight)
    assert_allclose(numbers(moved), numbers(ours), rtol=1e-8)
    assert_allclose(moved.weight * b, ours.weight, rtol=1e-8)


@pytest.mark.parametrize("weight", ["synsurr", 0, 1])
def test_rescaled_covariates_rescale_their_coefficients(weight):
    table = draw()
    ours = infer(OLS("y ~ x"), table, predictions="f", weight=weight)
    scaled = infer(OLS("y ~ x"), table.assign(x=1000 * table["x"]), predictions="f", weight=weight)
    assert_allclose(scaled.estimate * [1, 1000], ours.estimate, rtol=1e-9)
    assert_allclose(scaled.std_error * [1, 1000], ours.std_error, rtol=1e-9)


@pytest.mark.parametrize("N", [300, 200_000])
@pytest.mark.parametrize("weight", ALL)
def test_a_far_away_origin_costs_no_digits(weight, N):
    """A mean of 1e8 with standard deviation 1: sums of squares would leave no digit of the variance."""
    table = draw(n=60, N=N)
    table[["y", "f"]] = np.round(table[["y", "f"]] * 2**20) / 2**20  # so that the shift itself rounds nothing
    near = infer(Mean("y"), table, predictions="f", weight=weight)
    far = infer(Mean("y"), table.assign(y=1e8 + table["y"], f=1e8 + table["f"]), predictions="f", weight=weight)
    assert_allclose(far.estimate - 1e8, near.estimate, atol=1e-7)
    assert_allclose(far.std_error, near.std_error, rtol=1e-8)


@pytest.mark.parametrize(
    ("weight", "compat"), [*((w, None) for w in ALL), *((w, "ppi_py") for w in ALL if w != "synsurr")]
)
def test_one_sided_bounds_are_tighter_than_two_sided_ones(weight, compat):
    result = infer(Mean("y"), draw(), predictions="f", weight=weight, compat=compat)
    both = result.interval(0.9)
    lower, upper = result.interval(0.9, "larger"), result.interval(0.9, "smaller")
    assert (lower["lower"] > both["lower"]).all() and np.isposinf(lower["upper"]).all()
    assert (upper["upper"] < both["upper"]).all() and np.isneginf(upper["lower"]).all()
    assert_allclose(lower["lower"], result.interval(0.8)["lower"])  # 90% on one side is 80% on two


@pytest.mark.parametrize("estimand", ESTIMANDS, ids=str)
def test_perfect_predictions_are_nearly_worth_all_labels(estimand):
    rng = np.random.default_rng(3)
    truth = draw(seed=2, n=360, N=0)
    table = truth.assign(f=truth["y"] + 1e-6 * rng.normal(size=360))
    table.loc[table.index[60:], "y"] = np.nan
    full = infer(estimand, truth)
    for weight in ("synsurr", "ppi++", 1):
        ours = infer(estimand, table, predictions="f", weight=weight)
        pays = 1.0 if weight == "synsurr" else np.sqrt(360 / 300)  # PPI does not use predictions of labeled rows twice
        assert_allclose(ours.std_error / full.std_error, pays, rtol=0.15)
        if weight == "synsurr":
            assert_allclose(ours.estimate, full.estimate, atol=1e-3)


@pytest.mark.parametrize("estimand", ESTIMANDS[1:], ids=str)
def test_wald_test_of_one_term_is_its_p_value(estimand):
    result = infer(estimand, draw(), predictions="f")
    assert_allclose(result.wald(["x"], 0.4).p_value, result.p_value(0.4)["x"], rtol=1e-8)


def test_linear_predictions_on_the_same_covariates_carry_no_information():
    table = draw()
    table["f"] = 3 - 2 * table["x"]
    result = infer(OLS("y ~ x"), table, predictions="f")
    assert "no_information" in [d.code for d in result.diagnostics]
    assert_allclose(result.estimate, infer(OLS("y ~ x"), table).estimate, rtol=1e-10)


@pytest.mark.parametrize("constant", [-50.0, 50.0])
def test_predictions_on_one_side_of_a_quantile_change_nothing(constant):
    """They tell no rows below the quantile from rows above: the classical answer, degrees of freedom included."""
    table = draw()
    ours = infer(Quantile("y"), table.assign(f=constant + table["f"]), predictions="f")
    assert_allclose(numbers(ours), numbers(infer(Quantile("y"), table)), rtol=1e-12)
    assert "no_information" in [d.code for d in ours.diagnostics]
