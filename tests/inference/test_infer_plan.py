"""Planning: the published power calculation, optimality by brute force, and that planned widths come true."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from icl.inference import OLS, Mean, choose, infer, plan
from icl.inference.results.choose import water_level
from icl.inference.results.plan import effective_size, labels_needed


def draw(n: int, N: int, seed: int = 0, noise: float = 0.5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, e, u = rng.normal(size=(3, n + N))
    table = pd.DataFrame({"x": x, "y": 1 + x + e, "f": x + e + noise * u})
    table.loc[n:, "y"] = np.nan
    return table


def test_published_power_calculation():
    # Broska et al.: correlation .9, prediction 0.1, label 1, budget 1,000.
    n, N = labels_needed(1926.363, 0.9, cost_ratio=0.1)
    assert_allclose([n, N], [604.987, 3345.145], atol=1e-3)
    assert_allclose(effective_size(n, N, 0.9), 1926.363)
    assert_allclose(n + 0.1 * (n + N), 1000, rtol=1e-6)


@pytest.mark.parametrize(("rho", "ratio"), [(0.9, 0.1), (0.6, 0.02), (0.3, 0.01), (0.5, 0.5), (0.95, 2.0)])
def test_no_other_allocation_is_cheaper(rho, ratio):
    m = 500.0
    n, N = labels_needed(m, rho, cost_ratio=ratio)
    price = n + ratio * (n + N) if N else n
    tried = np.linspace((1 - rho**2) * m + 1e-6, m - 1e-6, 20_001)
    others = tried * (m - tried) / (tried - (1 - rho**2) * m)
    assert price <= min(m, (tried + ratio * (tried + others)).min()) + 1e-6


def test_given_rows_are_used_up():
    n, N = labels_needed(300, 0.8, n_rows=5_000)
    assert_allclose(n + N, 5_000)
    assert_allclose(effective_size(n, N, 0.8), 300)
    assert labels_needed(300, 0.0, n_rows=5_000)[0] == pytest.approx(300)
    assert labels_needed(300, 0.8, n_rows=300) == (300, 0)


def test_planned_width_comes_true():
    pilot = infer(Mean("y"), draw(80, 4_000), predictions="f", level=0.9)
    wanted = float(np.ptp(pilot.interval().to_numpy())) / 2
    planned = plan(pilot, wanted)
    assert planned.feasible and planned.n_labeled + planned.n_unlabeled == 4_080
    assert planned.width <= wanted and planned.n_labeled < planned.n_classical
    widths = [
        np.ptp(infer(Mean("y"), draw(planned.n_labeled, planned.n_unlabeled, s), predictions="f", level=0.9).interval())
        for s in range(1, 41)
    ]
    # The pilot knows the standard deviation of 80 residuals to 8 %, the forty widths theirs to far less.
    assert abs(np.mean(widths) / wanted - 1) < 4 * 0.08
    one_less = plan(pilot, wanted * (1 + 1e-9))
    assert one_less.n_labeled <= planned.n_labeled


def test_half_of_the_draws_reach_the_width_and_more_where_asked():
    reached, reached_80, said = [], [], []
    for seed in range(60):
        pilot = infer(Mean("y"), draw(60, 2_000, seed), predictions="f", level=0.9)
        wanted = 0.7 * float(np.ptp(pilot.interval().to_numpy()))
        median, likely = plan(pilot, wanted), plan(pilot, wanted, chance=0.8)
        assert likely.chance >= 0.8 > median.chance and likely.n_labeled > median.n_labeled
        for planned, hits in ((median, reached), (likely, reached_80)):
            later = draw(planned.n_labeled, planned.n_unlabeled, 1_000 + seed)
            hits.append(np.ptp(infer(Mean("y"), later, predictions="f", level=0.9).interval().to_numpy()) <= wanted)
        said.append(median.chance)
    assert "at the median" in str(median) and f"is {median.chance:.0%}." in str(median)
    for rate, chance in ((np.mean(reached), np.mean(said)), (np.mean(reached_80), 0.8)):
        assert abs(rate - chance) < 3 * np.sqrt(chance * (1 - chance) / 60)
    assert 0.4 < np.mean(said) < 0.55


def test_variances_are_worth_a_degree_of_freedom_for_a_normal_row():
    rng = np.random.default_rng(0)
    normal, even, heavy = rng.normal(size=4_000), rng.choice([-1.0, 1.0], 4_000), rng.standard_t(5, size=4_000)
    worth = [infer(Mean("y"), {"y": y}).df_of_variance.iloc[0] / 4_000 for y in (normal, even, heavy)]
    assert worth[0] == pytest.approx(1, abs=0.1)  # 2 / (3 - 1)
    assert worth[1] > 100 and worth[2] < 0.6  # the variance of a fair coin is known; kurtosis 9 gives 2 / 8


def test_plan_speaks_and_notices_the_impossible():
    pilot = infer(OLS("y ~ x"), draw(60, 500), predictions="f")
    assert "labels and" in str(plan(pilot, 0.2, term="x"))
    hopeless = plan(pilot, 1e-3, term="x")
    assert not hopeless.feasible and "no number of labels" in str(hopeless) and hopeless.width > 1e-3
    priced = plan(pilot, 0.02, term="x", cost_label=1, cost_prediction=0.01)
    assert priced.feasible and priced.n_unlabeled > 560 and priced.cost < priced.n_classical
    dear = plan(pilot, 0.02, term="x", cost_label=1, cost_prediction=100)
    assert dear.n_unlabeled == 0 and dear.n_labeled == dear.n_classical == dear.cost
    with pytest.raises(ValueError, match=r"write 0.8 for 80%"):
        plan(pilot, 0.2, term="x", chance=80)
    for options, words in (
        (dict(width=0), "positive"),
        (dict(width=1), "say which of"),
        (dict(width=1, term="age"), "'age'"),
    ):
        with pytest.raises(ValueError, match=words):
            plan(pilot, **options)
    with pytest.raises(ValueError, match="no best number"):
        labels_needed(100, 0.5)


def test_water_filling_is_the_minimum():
    rng = np.random.default_rng(1)
    value = rng.lognormal(sigma=1.5, size=60)
    p = np.minimum(water_level(value, 20) * value, 1)
    assert_allclose(p.sum(), 20)
    assert (p == 1).any() and (p < 1).any()
    best = (value**2 / p).sum()
    for _ in range(300):  # any feasible move makes it worse
        i, j = rng.choice(60, 2, replace=False)
        step = 0.1 * min(p[i], 1 - p[j])
        moved = p.copy()
        moved[i] -= step
        moved[j] += step
        assert step == 0 or (value**2 / moved).sum() >= best
    assert_allclose(np.minimum(water_level(value, 60) * value, 1), 1)


def test_choice_has_its_size_its_probabilities_and_its_seed():
    table = draw(50, 400)
    result = infer(Mean("y"), table.sample(frac=1, random_state=0), predictions="f")
    choice, again, other = (choose(result, 70, seed) for seed in (1, 1, 2))
    assert np.array_equal(choice.rows, again.rows) and not np.array_equal(choice.rows, other.rows)
    shuffled = table.sample(frac=1, random_state=0).reset_index(drop=True)
    assert len(set(choice.rows)) == 70 and shuffled.loc[choice.rows, "y"].isna().all()
    unlabeled = shuffled["y"].isna().to_numpy()
    before = 50 / 450
    assert_allclose(((choice.probability[unlabeled] - before) / (1 - before)).sum(), 70)
    counts = np.zeros(450)
    for seed in range(400):
        counts[choose(result, 70, seed).rows] += 1
    expected = (choice.probability - before) / (1 - before)
    z = (counts / 400 - expected)[unlabeled] / np.sqrt(expected * (1 - expected) / 400)[unlabeled]
    assert np.abs(z).max() < 4.5 and 0.8 < z.std() < 1.2


def test_chosen_rows_are_the_doubtful_ones():
    rng = np.random.default_rng(0)
    f = rng.uniform(size=600)
    table = pd.DataFrame({"f": f, "y": (rng.uniform(size=600) < f).astype(float)})
    table.loc[100:, "y"] = np.nan
    choice = choose(infer(Mean("y"), table, predictions="f"), 100, 0, uniform=0.01)
    sure = np.abs(f - 0.5) > 0.45
    assert choice.probability[sure].mean() < choice.probability[~sure].mean() - 0.08
    told = choose(infer(Mean("y"), table, predictions="f"), 100, 0, uncertainty=np.arange(600.0))
    assert np.corrcoef(told.probability, np.arange(600))[0, 1] > 0.95


def test_choose_refuses_what_makes_no_sense():
    result = infer(Mean("y"), draw(50, 100), predictions="f")
    for options, words in (
        (dict(budget=0), "from 1 to 100"),
        (dict(budget=101), "from 1 to 100"),
        (dict(budget=9, uniform=0), "uniform"),
        (dict(budget=9, uncertainty=np.ones(3)), "150 finite numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            choose(result, seed=0, **options)
    with pytest.raises(ValueError, match="no predictions"):
        choose(infer(Mean("y"), draw(50, 100)), 9, 0)
