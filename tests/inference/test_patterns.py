"""missing="patterns": the classical answer where there are no gaps, valid whatever is said of rows with gaps."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

from icl.inference import Logistic, Quantile, infer
from icl.inference.engine.patterns import correct_by_patterns


def table_with_gaps(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    x = 0.8 * z + 0.6 * rng.normal(size=n)
    table = pd.DataFrame({"x": x, "z": z, "g": rng.choice(["a", "b"], n), "y": x + 0.5 * z + rng.normal(size=n)})
    table.loc[rng.random(n) < 0.4, "x"] = np.nan
    table.loc[rng.random(n) < 0.2, "y"] = np.nan
    return table


def test_with_one_pattern_it_is_the_classical_answer():
    table = table_with_gaps(200, 0).dropna()
    classical = infer("ols: y ~ x + z + C(g)", table)
    ours = infer("ols: y ~ x + z + C(g)", table, missing="patterns")
    pd.testing.assert_series_equal(ours.estimate, classical.estimate)
    pd.testing.assert_frame_equal(ours.covariance, classical.covariance)
    pd.testing.assert_frame_equal(ours.interval(), classical.interval())
    assert ours.method == "classical" and ours.p_value().equals(classical.p_value())


def test_rows_with_gaps_narrow_what_they_know_of():
    table = table_with_gaps(600, 1)
    classical = infer("ols: y ~ x + z", table.dropna())
    ours = infer("ols: y ~ x + z", table, missing="patterns")
    assert {p.lacking for p in ours.patterns} == {("x",), ("y",), ("y", "x")}
    assert ours.std_error["z"] < 0.95 * classical.std_error["z"]
    assert (ours.std_error <= 1.02 * classical.std_error).all()
    assert (ours.n_effective > 0.95 * len(table.dropna())).all() and ours.n_effective["z"] > 1.1 * len(table.dropna())
    assert ours.weights.shape == (3, 3) and ours.method == "patterns"
    assert set(ours.compare().reset_index()["method"]) == {"classical", "patterns"}
    assert "gaps_at_random" in ours.summary() and "without x" in ours.to_markdown()
    again = infer("ols: y ~ x + z", table, missing="patterns")
    assert again.estimate.equals(ours.estimate)


@pytest.mark.parametrize("kind", ["useless", "biased", "good"])
def test_intervals_cover_whatever_is_said(kind):
    """A mean: m is noise, off by a constant factor and a shift, or nearly the outcome itself."""
    n_reps, hits, widths = 600, 0, np.zeros(2)
    for seed in range(n_reps):
        rng = np.random.default_rng([seed, 5])
        y, more = rng.normal(size=40), rng.normal(size=120)
        noise = rng.normal(size=160)
        says = {
            "useless": noise,
            "biased": 7 - 3 * np.concatenate([y, more]) + noise,
            "good": np.concatenate([y, more]) + 0.3 * noise,
        }[kind]
        influence = (y - y.mean())[:, None] / 40
        variance = y.var(ddof=1) / 40
        parts = [says[:40, None] / 40], [says[40:, None] / 40]
        answer = correct_by_patterns(np.array([y.mean()]), np.array([[variance]]), np.array([39.0]), influence, *parts)
        half = 2.025 * np.sqrt(answer.covariance[0, 0])
        hits += abs(answer.estimate[0]) < half
        widths += half, 2.023 * np.sqrt(variance)
    assert abs(hits / n_reps - 0.95) < 4 * np.sqrt(0.95 * 0.05 / n_reps)
    assert widths[0] < (1.05 if kind == "useless" else 0.75) * widths[1]


def test_other_estimands_and_predictors():
    table = table_with_gaps(400, 3)
    table["yes"] = np.where(table["y"].isna(), np.nan, table["y"] > 0)
    ours = infer(Logistic("yes ~ x + z"), table, missing="patterns")
    classical = infer(Logistic("yes ~ x + z"), table.dropna())
    assert np.allclose(ours.estimate, classical.estimate, atol=3 * classical.std_error)
    forest = RandomForestRegressor(20, min_samples_leaf=10, random_state=0)
    by_forest = infer("ols: y ~ x + z", table[["x", "z", "y"]], missing="patterns", predictor=forest)
    assert "RandomForestRegressor" in by_forest.summary()


def test_few_rows_of_a_pattern_are_told():
    table = table_with_gaps(200, 4).dropna().reset_index(drop=True)
    table.loc[:3, "x"] = np.nan
    ours = infer("ols: y ~ x + z", table, missing="patterns")
    assert [d.code for d in ours.diagnostics if "patterns" in d.code] == ["patterns_left_out"]
    assert ours.method == "classical"


def test_what_it_does_not_know_is_refused():
    table = table_with_gaps(100, 5)
    for wrong in ({"predictions": "z"}, {"labeled": table}, {"weight": 1}, {"weight": "ppi++"}):
        given = {"table": None if "labeled" in wrong else table, **wrong}
        with pytest.raises(ValueError, match="it takes table="):
            infer("ols: y ~ x", missing="patterns", **given)
    for folds in (1, 0, 2.5, True):
        with pytest.raises(ValueError, match=f"folds got {folds}; pass a whole number of at least 2"):
            infer("ols: y ~ x", table, missing="patterns", folds=folds)
    with pytest.raises(ValueError, match="nor missing="):
        infer("ols: y ~ x", table, missing="patterns", synthetic=table)
    with pytest.raises(ValueError, match="no influences of single rows"):
        infer(Quantile("y", 0.5), table, missing="patterns")
    with pytest.raises(ValueError, match="known are 'refuse' and 'patterns'"):
        infer("ols: y ~ x", table, missing="drop")
    with pytest.raises(ValueError, match="no row knows all"):
        infer("ols: y ~ x", table.assign(x=np.nan), missing="patterns")
    with pytest.raises(ValueError, match=r"icl\.impute\(table\).*missing='patterns'"):
        infer("ols: y ~ x", table)
