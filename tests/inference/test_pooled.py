"""Rubin's rules: against formulas by hand, statsmodels and rates; every estimand pools; unlabeled rows count too."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.linear_model import LinearRegression

from icl.inference import Mean, infer
from icl.inference.engine.rubin import barnard_rubin, pool
from icl.inference.estimands import registry
from icl.inference.inputs.completed import completed_tables


def normal_draws(table: pd.DataFrame, m: int, seed: int) -> list[pd.DataFrame]:
    """Proper imputation of x from z and y under a normal linear model: parameters from their posterior, then cells."""
    rng = np.random.default_rng(seed)
    gaps = table["x"].isna().to_numpy()
    Z = np.column_stack([np.ones(len(table)), table["z"], table["y"]])
    seen, x = Z[~gaps], table["x"][~gaps].to_numpy()
    inverse = np.linalg.inv(seen.T @ seen)
    slopes = inverse @ seen.T @ x
    rest = float(((x - seen @ slopes) ** 2).sum())
    out = []
    for _ in range(m):
        sigma = np.sqrt(rest / rng.chisquare(len(seen) - 3))
        drawn = rng.multivariate_normal(slopes, sigma**2 * inverse)
        whole = table.copy()
        whole.loc[gaps, "x"] = Z[gaps] @ drawn + sigma * rng.normal(size=gaps.sum())
        out.append(whole)
    return out


def linear_table(n: int, seed: int, share: float = 0.4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    x = 0.5 * z + np.sqrt(0.75) * rng.normal(size=n)
    y = x + 0.5 * z + rng.normal(size=n)
    p = 1 / (1 + np.exp(-(np.log(share / (1 - share)) + 1.2 * z)))
    return pd.DataFrame({"x": np.where(rng.random(n) < p, np.nan, x), "z": z, "y": y})


def test_the_rules_by_hand():
    estimates, variances = np.array([1.0, 1.2, 0.9, 1.1]), np.array([0.04, 0.05, 0.045, 0.041])
    m, nu_com = 4, 27.0
    U, B = variances.mean(), estimates.var(ddof=1)
    T = U + (1 + 1 / m) * B
    lam = (1 + 1 / m) * B / T
    old = (m - 1) / lam**2
    observed = (nu_com + 1) / (nu_com + 3) * nu_com * (1 - lam)
    nu = old * observed / (old + observed)
    r = (1 + 1 / m) * B / U
    pooled = pool([(e, np.sqrt(v)) for e, v in zip(estimates, variances)], nu_com)
    assert pooled.estimate[0] == pytest.approx(1.05) and pooled.covariance[0, 0] == pytest.approx(T)
    assert pooled.df[0] == pytest.approx(nu) and pooled.df[0] < nu_com
    assert pooled.fraction_missing[0] == pytest.approx((r + 2 / (nu + 3)) / (r + 1))
    half = stats.t.ppf(0.975, nu) * np.sqrt(T)
    assert pooled.interval()[0] == pytest.approx([1.05 - half, 1.05 + half])
    assert pooled.p_value()[0] == pytest.approx(2 * stats.t.sf(1.05 / np.sqrt(T), nu))


def test_tables_that_agree_give_the_answer_of_one():
    table = linear_table(60, 0).dropna()
    one, same = infer("ols: y ~ x + z", table), infer("ols: y ~ x + z", [table] * 5)
    pd.testing.assert_series_equal(one.estimate, same.estimate)
    pd.testing.assert_frame_equal(one.covariance, same.covariance)
    assert (same.fraction_missing == 0).all() and same.diagnostics == []
    # Barnard and Rubin count (df + 1) / (df + 3) of the degrees of freedom even then.
    assert np.allclose(same.df_terms, one.df * (one.df + 1) / (one.df + 3))


def test_the_formula_of_degrees_of_freedom_has_its_limits():
    share = np.array([0.0, 0.3, 0.3, 1.0])
    found = barnard_rubin(share, 20, np.array([np.inf, np.inf, 1e9, 30.0]))
    assert np.isinf(found[0]) and found[1] == pytest.approx(19 / 0.09)
    assert found[2] == pytest.approx(19 / 0.09, rel=1e-4) and found[3] == 0


def test_it_is_what_statsmodels_pools():
    tables = normal_draws(linear_table(80, 1), 10, 0)
    ours = pool([sm.OLS(t["y"], sm.add_constant(t[["x", "z"]])).fit() for t in tables])
    from statsmodels.imputation.mice import MICE

    class Given:
        """What MICE asks of its data: the next completed table."""

        def __init__(self):
            self._left = iter(tables)

        def update_all(self, n_iter=1):
            if n_iter:
                self.data = next(self._left)

    theirs = MICE("y ~ x + z", sm.OLS, Given(), n_skip=0).fit(n_burnin=0, n_imputations=10)
    assert ours.estimate == pytest.approx(np.asarray(theirs.params), rel=1e-10)
    assert ours.std_error == pytest.approx(np.asarray(theirs.bse), rel=1e-8)
    assert ours.terms == ("const", "x", "z")


def test_intervals_cover_and_a_single_draw_does_not():
    """The control of the reference page: proper draws cover at their rate, one draw taken as data covers too rarely."""
    n_reps, hits = 300, np.zeros(2)

    def slopes(table):
        X = np.column_stack([np.ones(len(table)), table["x"], table["z"]])
        inverse, y = np.linalg.inv(X.T @ X), table["y"].to_numpy()
        found = inverse @ X.T @ y
        return found, ((y - X @ found) ** 2).sum() / (len(table) - 3) * inverse

    for seed in range(n_reps):
        each = [slopes(table) for table in normal_draws(linear_table(100, seed), 10, seed)]
        for k, part in enumerate((each, each[:1] * 2)):
            low, high = pool(part, 97).interval()[1]
            hits[k] += low <= 1.0 <= high
    rate = hits / n_reps
    assert abs(rate[0] - 0.95) < 4 * np.sqrt(0.95 * 0.05 / n_reps) and rate[1] < 0.91


def noisy(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Another completed version: the same table with covariates drawn anew in some rows."""
    rng = np.random.default_rng(seed)
    rows = rng.random(len(table)) < 0.1
    return table.assign(x=table["x"] + 0.3 * rows * rng.normal(size=len(table)))


EXAMPLES = [kind.examples()[0] for kind in registry.registered() if kind.examples()]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: type(e.estimand).__name__)
def test_every_estimand_pools(example):
    table = registry.example_table(3, n=150, N=0)
    versions = [noisy(table, seed) for seed in range(3)]
    pooled = infer(example.estimand, versions)
    each = [infer(example.estimand, version) for version in versions]
    assert np.allclose(pooled.estimate, np.mean([r.estimate for r in each], axis=0))
    inside = np.mean([np.diag(r.covariance) for r in each], axis=0)
    assert (np.diag(pooled.covariance) >= inside * (1 - 1e-12)).all()
    assert "completed tables" in pooled.summary() and len(pooled.to_frame()) == len(pooled.estimate)
    assert pooled.compare().shape[0] >= len(pooled.estimate)


def test_unlabeled_rows_and_a_predictor():
    tables = normal_draws(linear_table(200, 5), 4, 0)
    rng = np.random.default_rng(0)
    gone = rng.random(200) < 0.5
    for table in tables:
        table["hint"] = table["y"] + 0.3 * np.random.default_rng(1).normal(size=200)
        table.loc[gone, "y"] = np.nan
    result = infer("ols: y ~ x + z", tables, predictor=LinearRegression())
    alone = infer("ols: y ~ x + z", tables)
    assert result.n_unlabeled == gone.sum() and result.has_predictions
    assert (result.std_error < alone.std_error)[1:].all() and (result.n_effective > result.n_labeled * 0.8).all()
    assert {"classical", "imputed", "ppi"} <= set(result.compare().reset_index()["method"])


def test_it_reads_like_any_result():
    result = infer("ols: y ~ x + z", normal_draws(linear_table(80, 2), 5, 0))
    assert result.contrast({"gap": {"x": 1, "z": -1}}).loc["gap", "estimate"] == pytest.approx(
        result.estimate["x"] - result.estimate["z"]
    )
    single = result.contrast({"only": {"x": 1}})
    assert single.loc["only", "std.error"] == pytest.approx(result.std_error["x"])
    assert single.loc["only", "conf.low"] == pytest.approx(result.interval().loc["x", "lower"])
    assert result.wald(["x"]).p_value == pytest.approx(result.p_value()["x"])
    assert result.params is result.estimate and result.to_dict()["m"] == 5
    assert "missing" in result.summary() and "imputation" in result.to_markdown() and "<table" in result.to_html()
    assert result.plot() is not None
    assert any(d.code == "few_imputations" for d in result.diagnostics)


def test_high_fractions_are_told():
    tables = normal_draws(linear_table(60, 4, share=0.8), 20, 0)
    found = infer("ols: y ~ x + z", tables)
    assert found.fraction_missing["x"] > 0.5
    assert "missing_information" in [d.code for d in found.diagnostics if d.severity == "warning"]


def test_what_is_no_multiple_imputation():
    table = linear_table(40, 0).dropna()
    assert completed_tables(table) is None and completed_tables({"a": [1]}) is None
    with pytest.raises(ValueError, match="at least two, of one shape"):
        infer(Mean("y"), [table])
    with pytest.raises(ValueError, match="at least two, of one shape"):
        infer(Mean("y"), [table, table.iloc[1:]])
    with pytest.raises(ValueError, match="put all rows into the table"):
        infer(Mean("y"), [table, table], unlabeled=table)
    with pytest.raises(ValueError, match="differ in their parameters"):
        levels = [table.assign(g=["a", "b"] * (len(table) // 2) + ["a"] * (len(table) % 2)) for _ in range(2)]
        levels[1]["g"] = levels[1]["g"].where(np.arange(len(table)) > 3, "c")
        infer("ols: y ~ C(g)", levels)
