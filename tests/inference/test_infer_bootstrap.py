"""The bootstrap agrees with formulas where there are formulas, and covers where there are none."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from icl.inference import OLS, Design, Mean, Statistic, infer


def draw(seed: int = 0, n: int = 80, N: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, e, other = rng.normal(size=(3, n + N))
    table = pd.DataFrame({"x": x, "y": 1 + 0.5 * x + e, "school": np.arange(n + N) // 4})
    table["f"] = 0.7 * table["y"] + 0.5 * other
    table.loc[n:, "y"] = np.nan
    return table


def slope(table: pd.DataFrame) -> np.ndarray:
    return np.polyfit(table["x"].to_numpy(), table["y"].to_numpy(), 1)[::-1]


def correlation_of(table: pd.DataFrame) -> float:
    """Of y and x: `np.corrcoef` takes twice as long, and the tests of coverage call this 40,000 times."""
    y, x = (column - column.mean() for column in (table["y"].to_numpy(), table["x"].to_numpy()))
    return (y @ x) / np.sqrt((y @ y) * (x @ x))


@pytest.mark.parametrize("weight", [0, 1, 0.4])
def test_fixed_weights_are_those_of_the_engine(weight):
    table = draw()
    boot = infer(Statistic(slope, "y", ["x"], ["a", "b"], n_draws=400), table, predictions="f", weight=weight)
    exact = infer(OLS("y ~ x"), table, predictions="f", weight=weight, std_error="HC1", reference="normal")
    assert_allclose(boot.estimate, exact.estimate, rtol=1e-9)
    assert_allclose(boot.std_error, exact.std_error, rtol=0.2)
    assert_allclose(boot.interval().to_numpy(), exact.interval(), atol=0.5 * exact.std_error.max())


@pytest.mark.parametrize(("weight", "same"), [("ppi++", "ppi++"), ("coordinate", "coordinate"), ("matrix", "matrix")])
def test_tuned_weights_approach_those_of_the_engine(weight, same):
    table = draw(n=400, N=2_000)
    boot = infer(Statistic(slope, "y", ["x"], ["a", "b"], n_draws=400), table, predictions="f", weight=weight)
    exact = infer(OLS("y ~ x"), table, predictions="f", weight=same, std_error="HC1")
    assert boot.method == weight
    assert_allclose(boot.weight, exact.weight, atol=0.2)
    assert np.abs((boot.estimate.to_numpy() - exact.estimate.to_numpy()) / exact.std_error.to_numpy()).max() < 0.5
    assert_allclose(boot.std_error, exact.std_error, rtol=0.15)


def test_seed_decides_and_p_values_are_dual():
    table = draw()
    statistic = Statistic(lambda d: d["y"].std(), "y", n_draws=999, name="spread")
    first, again = (infer(statistic, table, predictions="f", seed=4) for _ in range(2))
    assert first.interval().equals(again.interval())
    assert not first.interval().equals(infer(statistic, table, predictions="f", seed=5).interval())
    for alternative in ("two-sided", "larger", "smaller"):
        for side, outwards in (("lower", -np.inf), ("upper", np.inf)):
            edge = first.interval(0.9, alternative)[side].to_numpy()
            if np.isfinite(edge).all():
                at, beyond = (first.p_value(v, alternative).iloc[0] for v in (edge, np.nextafter(edge, outwards)))
                assert beyond <= at and abs(at - 0.1) < 0.02


def test_clusters_are_resampled_as_a_whole():
    rng = np.random.default_rng(0)
    table = draw(n=160)
    table["y"] += np.repeat(rng.normal(size=len(table) // 4), 4) * 2
    mean = Statistic(lambda d: d["y"].mean(), "y", n_draws=400)
    alone = infer(mean, table)
    whole = infer(mean, table, design=Design(clusters="school"))
    exact = infer(Mean("y"), table, design=Design(clusters="school"))
    assert whole.std_error.iloc[0] > 1.4 * alone.std_error.iloc[0]
    assert_allclose(whole.std_error.iloc[0], exact.std_error.iloc[0], rtol=0.2)


def test_correlation_covers_at_its_nominal_rate():
    """No scores, no formula: the correlation of y and x, whose truth is 0.5 / sqrt(1.25)."""
    hits, correlation = [], Statistic(correlation_of, "y", ["x"], n_draws=100)
    for seed in range(60):
        lower, upper = infer(correlation, draw(seed, 40, 120), predictions="f", level=0.8).interval().iloc[0]
        hits.append(lower <= 0.5 / np.sqrt(1.25) <= upper)
    assert abs(np.mean(hits) - 0.8) < 4 * np.sqrt(0.8 * 0.2 / len(hits))


def test_refused_with_advice():
    table = draw().assign(w=1.0 + np.arange(480) % 2)
    mean = Statistic(lambda d: d["y"].mean(), "y", n_draws=100)
    fails = Statistic(lambda d: np.nan if d["y"].iloc[0] > 1 else 1.0, "y", n_draws=100)
    for statistic, options, message in (
        (mean, dict(weight="synsurr"), "needs residuals"),
        (mean, dict(design=Design(weights="w")), "count alike"),
        (Statistic(lambda d: [1.0, 2.0], "y", n_draws=100), {}, "one number for each"),
        (fails, {}, "not finite on"),
    ):
        with pytest.raises(ValueError, match=message):
            infer(statistic, table, predictions="f", **options)
    with pytest.raises(ValueError, match="raise n_draws"):
        infer(mean, table, predictions="f").interval(0.999)
    for wrong in (lambda: Statistic(3, "y"), lambda: Statistic(np.mean, "y", n_draws=5)):
        with pytest.raises(ValueError, match=r"pass a function|too few"):
            wrong()


def test_intervals_from_few_labels_cover():
    """Percentiles of draws covered .855 for the mean of 15 and .845 for a correlation of 20."""
    statistics = (
        (lambda d: d["y"].to_numpy().mean(), 0.0, 15),
        (correlation_of, 0.5, 20),
    )
    for function, truth, n in statistics:
        statistic, hits = Statistic(function, "y", ["x"], n_draws=199), []
        for seed in range(60):
            rng = np.random.default_rng([n, seed])
            x, noise = rng.normal(size=(2, n))
            table = {"x": x, "y": 0.5 * x + np.sqrt(0.75) * noise}
            lower, upper = infer(statistic, table, level=0.9).interval().iloc[0]
            hits.append(lower <= truth <= upper)
        assert abs(np.mean(hits) - 0.9) < 4 * np.sqrt(0.09 / len(hits))
    longer = infer(statistic, table, level=0.9)._answer
    plain = replace(longer, bias=0.0, acceleration=0.0, n_units=np.inf)
    # Percentiles are what is left: beyond the ninth of 199 draws (9 + 1) / 200 each side falls below .05.
    assert_allclose(plain.interval(0.9)[0], np.sort(longer.draws[:, 0])[8])
